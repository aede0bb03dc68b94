"""While service accounts flood the API server it serves containment, by the FlowSchemas that Firebreak comes with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from flood import Flood, allowed_to, certify
from incidents import IDLE, Place, container, place, pod

pytestmark = pytest.mark.slow

FLOW = "firebreak-containment"


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    if cluster.provider != "local":
        pytest.skip("the API server must reach a webhook on this machine: only the local cluster's can")
    with place(cluster, kubectl, "priority") as found:
        found.apply(*allowed_to(found.namespace))
        found.apply(pod("served", container(IDLE)), pod("queued", container(IDLE)))
        found.ready("pod/served", "pod/queued")
        yield found


@pytest.fixture
def unranked(kubectl: Kubectl) -> Iterator[None]:
    """Containment in the level that all service accounts share, as without Firebreak's own; it is put back."""
    level = json.loads(kubectl("get", "flowschema", FLOW, "--output", "json"))["spec"]["priorityLevelConfiguration"]
    try:
        _rank(kubectl, {"name": "workload-low"})
        yield
    finally:
        _rank(kubectl, level)


def _rank(kubectl: Kubectl, level: dict[str, str]) -> None:
    patch = json.dumps({"spec": {"priorityLevelConfiguration": level}})
    kubectl("patch", "flowschema", FLOW, "--type", "merge", "--patch", patch)


def is_cut(where: Place, name: str) -> bool:
    labels = where.get(f"pod/{name}")["metadata"].get("labels") or {}
    return any(key.startswith("quarantine.firebreak.dev/") for key in labels)


def test_containment_is_served_while_a_flood_of_service_accounts_stands_in_the_queue(
    where: Place, cluster: ClusterInfo, kubectl: Kubectl, cut_playbook: str, tmp_path: Path
) -> None:
    with Flood(cluster, kubectl, where.namespace).standing(*certify(tmp_path)) as flood:
        where.open("served", "served", playbook=cut_playbook)
        where.condition("served", "Contained", "True", seconds=25)
        assert flood.queued(priority_level="workload-low") > 0
        assert not flood.moved, "the flood did not stand still, and proves nothing"


def test_without_a_level_of_its_own_containment_waits_behind_the_flood(
    where: Place, cluster: ClusterInfo, kubectl: Kubectl, cut_playbook: str, unranked: None, tmp_path: Path
) -> None:
    with Flood(cluster, kubectl, where.namespace).standing(*certify(tmp_path)) as flood:
        where.open("queued", "queued", playbook=cut_playbook)
        wait_until(
            lambda: flood.queued(flow_schema=FLOW) >= 4,  # the two calls, and the Lease of both replicas
            timeout=25,
            otherwise="no call of Firebreak waits in the API server's queues",
        )
        cut_early, moved = is_cut(where, "queued"), flood.moved
        flood.move()
        where.condition("queued", "Contained", "True")
    assert (cut_early, moved) == (False, False)
