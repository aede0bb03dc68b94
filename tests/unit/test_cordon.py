"""Cordon: suspect nodes take no new pods, what runs there goes on, and one node is always left."""

import asyncio
from typing import Any

import pytest

import world
from builders import INCIDENT
from fake_api import FakeApi, Fault, Hold, Obj
from firebreak.api.playbook import Approval
from firebreak.api.status import ChangeState
from firebreak.engine.permit import gate
from firebreak.evidence.store import EvidenceStore
from firebreak.model.facts import Nodes
from firebreak.steps.cordon import judge, outline, plan, schedulable
from harness import replica
from world import incident, shop, web_pod


def node(name: str, *, ready: str = "True", **spec: Any) -> Obj:
    made = world.node(name, **spec)
    made["metadata"]["uid"] = f"uid-{name}"
    made["status"]["conditions"][0]["status"] = ready
    return made


def facts(*nodes: Obj, suspect: tuple[str, ...] = ("a",)) -> Nodes:
    return Nodes(INCIDENT, suspect, nodes)


def test_a_suspect_node_is_closed_and_nothing_else_of_it_is_touched() -> None:
    (change,) = plan(facts(node("a", podCIDR="10.0.0.0/24"), node("b")))
    assert (change.id, change.target.uid) == ("patch Node a", "uid-a")
    assert change.body == {"spec": {"unschedulable": True}}
    assert change.undo == "close the incident, then: kubectl uncordon a"
    assert change.refusal is None


def test_what_is_read_of_nodes_is_enough_to_decide_and_leaves_out_what_makes_them_large() -> None:
    taints = [{"key": "k", "effect": "NoSchedule"}]
    nodes = (node("a"), node("b", unschedulable=True), node("c", taints=taints), node("d", ready="False"), node("e"))
    for each in nodes:
        each["status"]["images"] = [{"names": ["x" * 1000]}]
    lean = facts(*map(outline, nodes), suspect=("a", "b", "c", "d", "e"))
    assert list(plan(lean)) == list(plan(facts(*nodes, suspect=("a", "b", "c", "d", "e"))))
    assert judge(lean) == judge(facts(*nodes, suspect=("a", "b", "c", "d", "e")))
    assert len(str(lean)) < 2000


def test_closing_a_node_reaches_beyond_the_namespace_and_so_waits_for_a_person() -> None:
    (change,) = plan(facts(node("a"), node("b")))
    assert str(change.risk) == "reversible, beyond the namespace"
    assert gate(change, Approval.WHEN_RISKY) is ChangeState.WAITING


def test_the_last_node_is_left_open_and_a_person_is_told() -> None:
    (change,) = plan(facts(node("a")))
    assert gate(change, Approval.NEVER) is ChangeState.MANUAL
    assert change.refusal == (
        "it would leave no schedulable node; add a node, then cordon it by hand or wait for the next look"
    )
    assert judge(facts(node("a"))).reason == "ByHand"


@pytest.mark.parametrize(
    "other",
    [
        node("b", unschedulable=True),
        node("b", ready="False"),
        node("b", ready="Unknown"),
        node("b", taints=[{"key": "control-plane", "effect": "NoSchedule"}]),
        node("b", taints=[{"key": "gone", "effect": "NoExecute"}]),
        {"metadata": {"name": "b"}},
        {"metadata": {"name": "b"}, "spec": "odd", "status": {"conditions": [7]}},
    ],
    ids=["cordoned", "not ready", "unknown", "tainted", "evicting", "bare", "odd"],
)
def test_a_node_that_takes_no_ordinary_pod_does_not_count_as_one_that_is_left(other: Obj) -> None:
    assert not schedulable(other)
    (change,) = plan(facts(node("a"), other))
    assert change.refusal is not None


def test_a_preference_against_a_node_is_no_bar() -> None:
    assert schedulable(node("b", taints=[{"key": "spot", "effect": "PreferNoSchedule"}]))


def test_of_several_suspects_all_but_one_are_closed() -> None:
    found = list(plan(facts(node("c"), node("a"), node("b"), suspect=("a", "b", "c"))))
    assert [(c.target.name, c.refusal is None) for c in found] == [("a", True), ("b", True), ("c", False)]


def test_what_is_closed_already_needs_nothing_and_is_verified() -> None:
    closed = facts(node("a", unschedulable=True), node("b"))
    assert list(plan(closed)) == []
    assert (judge(closed).status, judge(closed).message) == (
        "True",
        "a take no new pods; what runs there goes on",
    )


def test_a_node_that_is_open_is_named() -> None:
    verdict = judge(facts(node("a"), node("b")))
    assert (verdict.status, verdict.reason, verdict.message) == ("False", "NotCordoned", "a still take new pods")


def test_a_node_that_left_the_cluster_takes_no_pods() -> None:
    assert list(plan(facts(node("b")))) == []
    assert judge(facts(node("b"))).holds


def test_pods_without_a_way_to_their_node_close_nothing() -> None:
    assert judge(facts(node("a"), suspect=())).reason == "NoneSuspect"


def privileged(fake: FakeApi, approval: str) -> None:
    """The shop, with a pod that has a way to its node, and a playbook with the step."""
    shop(fake)
    pod = web_pod()
    pod["spec"]["hostPID"] = True
    fake.put(pod)
    fake.put(world.node("node2"))
    steps = {"approval": approval, "steps": [{"cordon": {}}, {"capture": {}}]}
    fake.put(world.playbook("cordoning") | {"spec": steps})


async def test_a_running_firebreak_closes_the_node_before_it_has_copied_anything(
    fake: FakeApi, store: EvidenceStore
) -> None:
    privileged(fake, "Never")
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="cordoning"))
        await firebreak.condition("shell", "NodeCordoned", "True", "Cordoned")
        found = await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        firebreak.controller.wake_all()
        suspect = await firebreak.until("shell", lambda s: "(cordoned)" in str(s.get("conditions")))
    assert fake.get("Node", "", "node1")["spec"] == {"unschedulable": True}
    assert fake.get("Node", "", "node2")["spec"] == {}
    assert found["status"]["steps"]["cordon"]["changes"]["patch Node node1"]["undo"].endswith("kubectl uncordon node1")
    (words,) = [c["message"] for c in suspect["status"]["conditions"] if c["type"] == "NodeSuspect"]
    assert "Pods on it: node1 (cordoned): " in words


async def test_two_incidents_at_once_leave_the_last_node_open(fake: FakeApi, store: EvidenceStore) -> None:
    """Each would close one of the last two: whoever comes second sees that only one is left."""
    privileged(fake, "Never")
    pod = web_pod("web-2")
    pod["spec"] |= {"hostPID": True, "nodeName": "node2"}
    fake.put(pod)
    release = asyncio.Event()
    fake.faults.add(Fault(when=lambda c: c.is_write and c.resource == "nodes", how=Hold(release)))
    async with replica(fake, store) as firebreak:
        for name in ("web-1", "web-2"):
            fake.put(incident(name, f"uid-{name}", target={"pod": name}, playbook="cordoning"))
        for name in ("web-1", "web-2"):  # both are in the step now, or wait for their turn
            await firebreak.until(name, lambda s: bool((s.get("evidence") or {}).get("seal")))
        release.set()
        for name in ("web-1", "web-2"):
            await firebreak.until(name, lambda s: "finishedAt" in s["steps"].get("cordon", {}))
        conditions = [c for name in ("web-1", "web-2") for c in firebreak.incident(name)["status"]["conditions"]]
    assert sorted(c["reason"] for c in conditions if c["type"] == "NodeCordoned") == ["ByHand", "Cordoned"]
    assert [fake.get("Node", "", name)["spec"] for name in ("node1", "node2")].count({"unschedulable": True}) == 1


async def test_by_default_the_node_is_closed_by_nobody_but_a_person(fake: FakeApi, store: EvidenceStore) -> None:
    privileged(fake, "WhenRisky")
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="cordoning"))
        await firebreak.condition("shell", "NodeCordoned", "False", "AwaitingApproval")
    assert fake.get("Node", "", "node1")["spec"] == {}


async def test_without_the_tier_the_step_says_so_and_the_node_stays_suspect(
    fake: FakeApi, store: EvidenceStore
) -> None:
    privileged(fake, "Never")

    def no_nodes(spec: Obj) -> tuple[bool, str]:
        asked = spec["resourceAttributes"]
        return (asked["verb"], asked["resource"]) != ("patch", "nodes"), ""

    fake.authorize("SelfSubjectAccessReview", no_nodes)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="cordoning"))
        found = await firebreak.condition("shell", "NodeCordoned", "False", "RightsMissing")
        await firebreak.condition("shell", "NodeSuspect", "True", "WayToNode")
    (words,) = [c["message"] for c in found["status"]["conditions"] if c["type"] == "NodeCordoned"]
    assert words.endswith("(patch nodes in all namespaces): kubectl apply -k manifests/components/tier-node")
