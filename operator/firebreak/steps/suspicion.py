"""What a pod's spec says about what is beyond its walls: the node. For the cloud see `steps.cloud`."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from firebreak.api.status import PodRecord
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.pod import Pod
from firebreak.model.verdict import NODE, Verdict
from firebreak.model.words import listed

RUNTIME_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock")


def suspects(records: Iterable[PodRecord]) -> list[str]:
    """Return the nodes that pods on record had a way to, whether or not the pods are still there."""
    return sorted({record.node for record in records if record.escapes and record.node})


def node(records: Collection[PodRecord], neighbours: Mapping[str, list[str]], cordoned: AbstractSet[str]) -> Verdict:
    """Say whether a pod on record could have reached its node.

    `neighbours` are the pods on each node, by node name; `cordoned` the nodes that take no new pods.
    """
    reasons = [
        f"{each.name} on {each.node or 'no node yet'}: {', '.join(each.escapes)}" for each in records if each.escapes
    ]
    if not reasons:
        return Verdict(NODE, "False", "Confined", "no pod of the incident has a way to its node by its spec")
    others = [
        f"{name}{' (cordoned)' if name in cordoned else ''}: {listed(neighbours.get(name, []), 20)}"
        for name in suspects(records)
    ]
    return Verdict(NODE, "True", "WayToNode", f"{listed(reasons, 20, '; ')}. Pods on it: {'; '.join(others)}")


def escapes(pod: Pod) -> Iterator[str]:
    """Yield the ways in which a pod's spec opens the node to it."""
    for key in ("hostPID", "hostNetwork", "hostIPC"):
        if pod.spec.get(key):
            yield key
    for _, container in pod.containers():
        if mapping(container.get("securityContext")).get("privileged"):
            yield f"container {container.get('name')} is privileged"
    for volume in mappings(pod.spec.get("volumes")):
        if path := text(mapping(volume.get("hostPath")).get("path")):
            kind = "runtime socket" if path.endswith(RUNTIME_SOCKETS) else "hostPath"
            yield f"{kind} {path}"
