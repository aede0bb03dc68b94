"""Cordon on a real cluster of one node: the deployed operator names it, does not close it, and asks a person."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.provider import ClusterInfo
from conftest import Kubectl
from incidents import Place, container, place, pod

TIER = Path(__file__).parents[2] / "manifests" / "components" / "tier-node"
NAME = "test-cordon"
PLAYBOOK = {
    "apiVersion": "firebreak.dev/v1alpha1",
    "kind": "Playbook",
    "metadata": {"name": NAME},
    "spec": {"approval": "Never", "steps": [{"quarantine": {}}, {"cordon": {}}, {"capture": {"paths": []}}]},
}


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "cordon") as found:
        yield found


@pytest.fixture
def node_tier(firebreak: str, kubectl: Kubectl) -> Iterator[None]:
    """The tier `node`, granted while the test runs."""
    granted = kubectl("get", "clusterrole", "firebreak-node", "--ignore-not-found", "--output", "name")
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(TIER))
    kubectl("apply", "--filename", "-", stdin=json.dumps(PLAYBOOK))
    yield
    kubectl("delete", "playbook", NAME, "--ignore-not-found")
    if not granted:
        kubectl("delete", "-k", str(TIER), "--ignore-not-found")


def schedulable(kubectl: Kubectl) -> list[str]:
    nodes = json.loads(kubectl("get", "nodes", "--output", "json"))["items"]
    return [node["metadata"]["name"] for node in nodes if not node["spec"].get("unschedulable")]


def test_the_last_schedulable_node_is_not_closed_and_a_person_is_asked_to(
    where: Place, node_tier: None, kubectl: Kubectl
) -> None:
    before = schedulable(kubectl)
    if len(before) != 1:
        pytest.skip("this cluster has more than one node to schedule to")
    where.apply(pod("agent", container("touch /ready; exec sleep 1000000"), hostPID=True))
    where.ready("pod/agent")
    where.open("agent", "agent", playbook=NAME)

    where.condition("agent", "NodeSuspect", "True/WayToNode")
    words = where.condition("agent", "NodeCordoned", "False/ByHand")
    assert words == f"{before[0]} still take new pods: closing the last one would leave no schedulable node"
    (change,) = where.status("agent").steps["cordon"].changes.values()
    assert (change.object, change.state, change.undo) == (
        f"Node {before[0]}",
        "Manual",
        f"close the incident, then: kubectl uncordon {before[0]}",
    )
    where.condition("agent", "ActionRequired", "True")
    where.condition("agent", "Contained", "True/Enforced")
    assert schedulable(kubectl) == before
