"""Firebreak's own tokens replaced by the kubelet, and dead before their time: it says so, waits, and goes on."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

import pytest

from audited import AuditLog, answered, code
from cluster import control
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.engine.known import REFUSED, TAKEN
from incidents import IDLE, Place, container, place, pod
from killing import Leadership
from scraping import PORT, scrape
from stamps import GENEROUS, slowest, stamps

pytestmark = pytest.mark.slow

INCIDENTS = 4  # of one test
OFTEN = 8.0  # calls a second of one replica that are refused: more would be a loop without a pause
EXTRA = "authentication.kubernetes.io"


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, breakable: None) -> Iterator[Place]:
    with place(cluster, kubectl, "tokens") as found:
        names = [f"web-{number}" for number in range(INCIDENTS)]
        found.apply(*(pod(name, container(IDLE)) for name in names))
        found.ready(*(f"pod/{name}" for name in names))
        yield found


@pytest.fixture
def home(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Place:
    """Firebreak's own namespace."""
    return Place(cluster, kubectl, firebreak)


def tokens(log: AuditLog) -> dict[str, set[str]]:
    """The ids of the tokens that each replica used, by its pod's name."""
    found: dict[str, set[str]] = defaultdict(set)
    for event in log.seen("system:serviceaccount:firebreak:firebreak"):
        extra = event["user"].get("extra") or {}
        if f"{EXTRA}/pod-name" in extra:
            found[extra[f"{EXTRA}/pod-name"][0]].update(extra[f"{EXTRA}/credential-id"])
    return found


def refused(log: AuditLog, address: str) -> list[datetime]:
    """When calls from an address were answered 401."""
    return [answered(event) for event in log.seen(f'"{address}"') if code(event) == HTTPStatus.UNAUTHORIZED]


def issued(log: AuditLog) -> datetime:
    """When the first token for Firebreak was issued."""
    return min(
        answered(event) for event in log.seen("/serviceaccounts/firebreak/token") if code(event) == HTTPStatus.CREATED
    )


def restart_kubelet() -> None:
    """It forgets which tokens it has, and gets and mounts new ones."""
    control.kill("kubelet")
    control.start("kubelet")


def test_a_token_that_the_kubelet_replaced_is_used_from_then_on(
    where: Place, home: Place, log: AuditLog, leadership: Leadership
) -> None:
    replicas = leadership.replicas()
    wait_until(lambda: set(tokens(log)) >= set(replicas), timeout=30, otherwise="not every replica calls")
    before = tokens(log)
    restart_kubelet()
    wait_until(
        lambda: all(tokens(log)[replica] - before[replica] for replica in replicas),
        timeout=120,
        otherwise="a replica still uses the token that was replaced",
    )
    where.open("shell-0", "web-0")
    where.condition("shell-0", "Contained", "True/Enforced")
    where.condition("shell-0", "EvidencePreserved", "True/Sealed")
    assert slowest(where, log) < GENEROUS
    assert all(not refused(log, each) for each in addresses(home).values())


def test_while_no_replica_is_known_each_says_so_and_when_they_are_what_came_is_contained(
    where: Place, home: Place, log: AuditLog, kubectl: Kubectl, leadership: Leadership
) -> None:
    """The account is made anew: no token of the old one is taken any more."""
    replicas = leadership.replicas()
    before = {each: restarts(home, each) for each in replicas}
    anew(home, "serviceaccount/firebreak")
    for replica in replicas:
        home.wait(f"pod/{replica}", "condition=Ready=false", seconds=60)
    for number in range(INCIDENTS):
        where.open(f"shell-{number}", f"web-{number}")
    for replica in replicas:
        seen = scrape(kubectl, home.namespace, replica)
        assert seen.value("firebreak_credentials_refused") == 1
        assert REFUSED in home.kubectl("logs", replica, "-n", home.namespace)
        assert healthy(home, replica)
    restart_kubelet()
    for number in range(INCIDENTS):
        where.condition(f"shell-{number}", "Contained", "True/Enforced")
    renewed = issued(log)
    _, cut = stamps(log, where.namespace)
    late = sorted((at - renewed).total_seconds() for at in cut.values())
    print("token issued to contained, seconds:", late)  # noqa: T201 - the measure
    assert late[-1] < GENEROUS
    for number in range(INCIDENTS):
        where.condition(f"shell-{number}", "EvidencePreserved", "True/Sealed", seconds=90)
    home.ready("deployment/firebreak")
    for replica, address in addresses(home).items():
        assert TAKEN in home.kubectl("logs", replica, "-n", home.namespace)
        times = refused(log, address)
        rate = len(times) / (times[-1] - times[0]).total_seconds()
        print(f"{replica}: refused calls a second: {rate:.1f}")  # noqa: T201 - the measure
        assert rate < OFTEN
    assert {each: restarts(home, each) for each in replicas} == before


def test_containment_goes_on_while_the_leader_is_not_known(
    where: Place, home: Place, log: AuditLog, leadership: Leadership
) -> None:
    """Its pod is deleted while its node's kubelet is away: its process lives on with a token that is dead."""
    leader = leadership.leader()
    address = addresses(home)[leader]
    with control.stopped("kubelet"):
        home.kubectl("delete", "pod", leader, "-n", home.namespace, "--force", "--grace-period=0")
        wait_until(lambda: refused(log, address), timeout=60, otherwise="the leader's token is still taken")
        for number in range(INCIDENTS):
            where.open(f"shell-{number}", f"web-{number}")
        for number in range(INCIDENTS):
            where.wait(f"pod/web-{number}", "jsonpath={.metadata.labels.quarantine}=true")
    for number in range(INCIDENTS):
        where.condition(f"shell-{number}", "Contained", "True/Enforced", seconds=60)
        where.condition(f"shell-{number}", "EvidencePreserved", "True/Sealed", seconds=90)
    assert slowest(where, log) < GENEROUS
    assert leadership.leader() != leader
    home.ready("deployment/firebreak")


def anew(home: Place, what: str) -> None:
    """Delete an object and make it again: the same, with another uid."""
    found = home.get(what)
    for name in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        found["metadata"].pop(name, None)
    home.kubectl("delete", what, "-n", home.namespace)
    home.kubectl("create", "-n", home.namespace, "-f", "-", stdin=json.dumps(found))


def addresses(home: Place) -> dict[str, str]:
    """Where each replica calls from."""
    pods = home.get("pods", "--selector", "app.kubernetes.io/name=firebreak")["items"]
    return {each["metadata"]["name"]: each["status"]["podIP"] for each in pods if "podIP" in each["status"]}


def restarts(home: Place, replica: str) -> int:
    """How often a replica's container was started again."""
    (status,) = home.get("pod", replica)["status"]["containerStatuses"]
    return int(status["restartCount"])


def healthy(home: Place, replica: str) -> bool:
    """Whether its liveness probe would pass."""
    path = f"/api/v1/namespaces/{home.namespace}/pods/{replica}:{PORT}/proxy/healthz"
    return home.kubectl("get", "--raw", path).strip() == "ok"
