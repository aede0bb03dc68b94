"""Cordon: keep new pods off the nodes that a pod of the incident had a way to. What runs there goes on.

Nothing is drained: that would end pods, and with them what they could tell. It never closes the last node.
"""

from collections.abc import Iterator

from firebreak.api.base import Json
from firebreak.model.change import Change, Ref, Risk, Verb
from firebreak.model.facts import Nodes
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.verdict import CORDONED, Verdict
from firebreak.model.words import listed

KEEPS_PODS_OFF = frozenset({"NoSchedule", "NoExecute"})


def outline(node: Json) -> Json:
    """Return of a node what is read here: the images that it names alone are kilobytes."""
    spec, conditions = mapping(node.get("spec")), mapping(node.get("status")).get("conditions")
    kept = {key: spec[key] for key in ("taints", "unschedulable") if key in spec}
    named = {key: mapping(node.get("metadata")).get(key) for key in ("name", "uid")}
    return {"metadata": named, "spec": kept, "status": {"conditions": conditions}}


def plan(facts: Nodes) -> Iterator[Change]:
    """Close every suspect node that is open, as long as another one is left for what has to run."""
    left = {_name(node) for node in facts.nodes if schedulable(node)}
    for node in _open(facts):
        name = _name(node)
        refusal = None
        if not left - {name}:
            refusal = "it would leave no schedulable node; add a node, then cordon it by hand or wait for the next look"
        left -= set() if refusal else {name}
        yield Change(
            Verb.PATCH,
            Ref("Node", name, uid=text(mapping(node.get("metadata")).get("uid")) or None),
            body={"spec": {"unschedulable": True}},
            before={"unschedulable": False},
            why=f"a pod of incident {facts.incident} had a way to this node: no new pod should come to it",
            undo=f"close the incident, then: kubectl uncordon {name}",
            risk=Risk(beyond=True),
            refusal=refusal,
        )


def schedulable(node: Json) -> bool:
    """Return whether a pod that tolerates nothing may come to a node."""
    spec, conditions = mapping(node.get("spec")), mappings(mapping(node.get("status")).get("conditions"))
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    tainted = any(taint.get("effect") in KEEPS_PODS_OFF for taint in mappings(spec.get("taints")))
    return ready and not tainted and not spec.get("unschedulable")


def judge(facts: Nodes) -> Verdict:
    """Say whether every suspect node is closed to new pods. One that has left the cluster takes none."""
    if not facts.suspect:
        return Verdict(CORDONED, "True", "NoneSuspect", "no pod of the incident has a way to its node by its spec")
    still = [_name(node) for node in _open(facts)]
    if any(change.refusal for change in plan(facts)):
        words = f"{listed(still)} still take new pods: closing the last one would leave no schedulable node"
        return Verdict(CORDONED, "False", "ByHand", words)
    if still:
        return Verdict(CORDONED, "False", "NotCordoned", f"{listed(still)} still take new pods")
    return Verdict(CORDONED, "True", "Cordoned", f"{listed(facts.suspect)} take no new pods; what runs there goes on")


def _open(facts: Nodes) -> list[Json]:
    """The suspect nodes that take new pods, by name."""
    there = sorted((node for node in facts.nodes if _name(node) in facts.suspect), key=_name)
    return [node for node in there if not mapping(node.get("spec")).get("unschedulable")]


def _name(node: Json) -> str:
    return text(mapping(node.get("metadata")).get("name"))
