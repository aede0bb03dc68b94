"""What a pod's spec says about its node."""

from typing import Any

import pytest

from builders import pod
from firebreak.api.status import IncidentStatus, PodRecord
from firebreak.engine.case import pin
from firebreak.model.verdict import Verdict
from firebreak.steps.suspicion import escapes, node, suspects


def record(name: str = "web-1", *ways: str) -> PodRecord:
    return PodRecord(name=name, node="node-1", escapes=list(ways))


@pytest.mark.parametrize(
    ("spec", "ways"),
    [
        ({}, []),
        ({"hostPID": True, "hostNetwork": True, "hostIPC": True}, ["hostPID", "hostNetwork", "hostIPC"]),
        ({"hostPID": False}, []),
        (
            {"containers": [{"name": "web", "securityContext": {"privileged": True}}]},
            ["container web is privileged"],
        ),
        (
            {"initContainers": [{"name": "setup", "securityContext": {"privileged": True}}]},
            ["container setup is privileged"],
        ),
        (
            {"ephemeralContainers": [{"name": "debug", "securityContext": {"privileged": True}}]},
            ["container debug is privileged"],
        ),
        ({"containers": [{"name": "web", "securityContext": {"privileged": False}}]}, []),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, ["hostPath /"]),
        (
            {"volumes": [{"name": "run", "hostPath": {"path": "/run/containerd/containerd.sock"}}]},
            ["runtime socket /run/containerd/containerd.sock"],
        ),
        ({"volumes": [{"name": "data", "emptyDir": {}}]}, []),
    ],
)
def test_the_ways_to_the_node_are_those_that_the_spec_opens(spec: dict[str, Any], ways: list[str]) -> None:
    assert list(escapes(pod(**spec))) == ways


def test_pods_without_a_way_to_their_node_are_confined() -> None:
    assert node((record(),), {}, set()) == Verdict(
        "NodeSuspect", "False", "Confined", "no pod of the incident has a way to its node by its spec"
    )


def test_a_way_to_the_node_makes_it_suspect_and_names_who_else_is_there() -> None:
    pods = (record("web-1"), record("agent-1", "hostPID"))
    assert node(pods, {"node-1": ["shop/web-1", "shop/agent-1", "bank/ledger-0"]}, set()) == Verdict(
        "NodeSuspect",
        "True",
        "WayToNode",
        "agent-1 on node-1: hostPID. Pods on it: node-1: shop/web-1, shop/agent-1, bank/ledger-0",
    )


def test_of_a_crowded_node_twenty_pods_are_named() -> None:
    crowd = [f"bank/ledger-{n}" for n in range(100)]
    words = node((record("web-1", "hostPID"),), {"node-1": crowd}, set()).message
    assert words.count("bank/") == 20


def test_a_node_that_takes_no_new_pods_is_said_to() -> None:
    words = node((record("agent-1", "hostPID"),), {"node-1": ["shop/agent-1"]}, {"node-1"}).message
    assert words == "agent-1 on node-1: hostPID. Pods on it: node-1 (cordoned): shop/agent-1"


def test_a_node_stays_suspect_when_the_pod_that_had_a_way_to_it_is_gone() -> None:
    pinned = pin(IncidentStatus(), (pod("agent-1", hostPID=True), pod("web-1")))
    gone = pin(pinned, (pod("web-1"),))
    assert suspects(gone.pods.values()) == ["node-1"]
    assert node(gone.pods.values(), {}, set()).status == "True"


def test_a_way_that_an_ephemeral_container_opens_later_counts_and_ways_are_bounded() -> None:
    pinned = pin(IncidentStatus(), (pod("web-1"),))
    opened = [{"name": f"debug{n}", "securityContext": {"privileged": True}} for n in range(9)]
    later = pin(pinned, (pod("web-1", ephemeralContainers=opened),))
    assert later.pods["uid-web-1"].escapes == [f"container debug{n} is privileged" for n in range(4)]
