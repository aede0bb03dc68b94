"""What the running replicas of Firebreak tell Prometheus about an incident."""

from collections.abc import Iterator

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import GATED, Place, container, place, pod
from killing import Leadership
from scraping import scrape


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "metrics") as found:
        yield found


def test_an_incident_is_measured_while_it_is_open_and_not_counted_when_it_is_closed(
    where: Place, firebreak: str, kubectl: Kubectl, leadership: Leadership, cut_playbook: str
) -> None:
    where.apply(pod("web", container(GATED)))
    where.ready("pod/web")
    leader, *others = leadership.replicas()
    before = scrape(kubectl, firebreak, leader)
    where.open("shell", "web", playbook=cut_playbook)
    where.condition("shell", "Contained", "True")
    during = scrape(kubectl, firebreak, leader)
    where.exec("web", "touch", "/gate")
    where.condition("shell", "Ready", "True")
    after = scrape(kubectl, firebreak, leader)

    def more(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert during.value("firebreak_jobs") >= 1, "the capture waits in the pod's shell"
    assert more("firebreak_contain_seconds_count") == 1
    assert more("firebreak_contain_seconds_bucket", le="1.0") == 1
    for step in ("quarantine", "capture"):
        assert more("firebreak_step_seconds_count", step=step) >= 1
        assert more("firebreak_step_seconds_sum", step=step) > 0
        assert more("firebreak_step_results_total", step=step, result="error") == 0
    assert more("firebreak_step_results_total", step="capture", result="settled") >= 1
    report = where.status("shell").evidence
    assert report is not None
    assert more("firebreak_evidence_bytes_total") == report.bytes
    leading = [scrape(kubectl, firebreak, replica).value("firebreak_leader") for replica in (leader, *others)]
    assert leading == [1, *(0 for _ in others)]
    assert where.namespace in open_incidents(kubectl)
    counts_the_open_ones(kubectl, firebreak, leader)

    closed = where.firebreak("close", "shell", "--verdict", "Exercise")
    assert closed.code == 0, closed.err
    assert where.namespace not in open_incidents(kubectl)
    counts_the_open_ones(kubectl, firebreak, leader)


def open_incidents(kubectl: Kubectl) -> list[str]:
    """The namespace of every open incident of the cluster: other tests' may end meanwhile."""
    wish = ("--all-namespaces", "--field-selector", "status.phase!=Closed", "--output")
    return kubectl("get", "incidents", *wish, "jsonpath={.items[*].metadata.namespace}").split()


def counts_the_open_ones(kubectl: Kubectl, firebreak: str, leader: str) -> None:
    """Wait until the gauge shows as many incidents as are open."""

    def now() -> tuple[float, int]:
        return scrape(kubectl, firebreak, leader).value("firebreak_incidents"), len(open_incidents(kubectl))

    def equal() -> bool:
        counted, there = now()
        return counted == there

    wait_until(equal, timeout=20, otherwise=lambda: "firebreak_incidents and open incidents: {} and {}".format(*now()))
