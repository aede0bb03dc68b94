"""Gathering facts: what a step decides upon is read here, once, and handed over frozen."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from firebreak.api.base import Json
from firebreak.api.incident import Selector, Target
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, NotFound
from firebreak.model import loose
from firebreak.model.change import Ref
from firebreak.model.facts import Network, Workload
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
CONTROLLERS = frozenset({*WORKLOADS, "ReplicaSet", "Job", "CronJob"})

# Objects of other policy engines that may allow what a NetworkPolicy denies, by API group.
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "policy.networking.k8s.io": ("adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"),
    "cilium.io": ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"),
    "crd.projectcalico.org": ("networkpolicies", "globalnetworkpolicies"),
}


async def find(api: Api, ref: Ref) -> Json | None:
    """Return an object, or None when it is not there."""
    try:
        return await api.get(ref)
    except NotFound:
        return None


async def target_pods(
    api: Api, incident: IncidentRef, target: Target, only: AbstractSet[str] = frozenset()
) -> tuple[Pod, ...]:
    """Return the pods that a target means now, and those that carry the incident's key already (detached ones).

    `only`: the uids that a named pod may have; a namesake with another one is left out.
    """
    marked, meant = await asyncio.gather(
        api.list_all("Pod", incident.namespace, labels=incident.label), _meant(api, incident.namespace, target)
    )
    pods = {p["metadata"]["uid"]: Pod(p) for p in [*meant, *marked]}
    found = sorted(pods.values(), key=lambda p: (p.name, p.uid))
    return tuple(p for p in found if not (target.pod and only) or p.uid in only)


async def _meant(api: Api, namespace: str, target: Target) -> list[Json]:
    if target.pod:
        pod = await find(api, Ref("Pod", target.pod, namespace))
        return [pod] if pod else []
    if target.selector:
        return await api.list_all("Pod", namespace, labels=selector_text(target.selector))
    if target.service_account:
        return await api.list_all("Pod", namespace, fields=f"spec.serviceAccountName={target.service_account}")
    assert target.workload  # noqa: S101 - the model allows no fifth kind
    workload = await find(api, Ref(target.workload.kind, target.workload.name, namespace))
    return await _pods_of(api, workload) if workload else []


def selector_text(selector: Selector) -> str:
    """Return a selector as the API server's query parameter."""
    parts = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for need in selector.match_expressions:
        match need.operator:
            case "In" | "NotIn":
                parts.append(f"{need.key} {need.operator.lower()} ({','.join(need.values)})")
            case "Exists":
                parts.append(need.key)
            case "DoesNotExist":
                parts.append(f"!{need.key}")
    return ",".join(parts)


async def _pods_of(api: Api, workload: Json) -> list[Json]:
    """Return the pods that a controller selects and owns, directly or through its ReplicaSets."""
    namespace, uid = workload["metadata"]["namespace"], workload["metadata"]["uid"]
    raw = (workload.get("spec") or {}).get("selector") or {}
    labels = selector_text(Selector.model_validate(raw))
    owners = {uid}
    if workload["kind"] == "Deployment":
        sets = await api.list_all("ReplicaSet", namespace, labels=labels)
        owners |= {s["metadata"]["uid"] for s in sets if controller(s).get("uid") == uid}
    pods = await api.list_all("Pod", namespace, labels=labels)
    return [pod for pod in pods if controller(pod).get("uid") in owners]


def controller(obj: Json) -> Json:
    """Return the ownerReference of the controller that owns an object, empty when none does."""
    return loose.controller(obj["metadata"]) or {}


async def network(api: Api, incident: IncidentRef, pods: tuple[Pod, ...]) -> Network:
    """Read what decides whether these pods are cut off."""
    policies, foreign = await asyncio.gather(
        api.list_all("NetworkPolicy", incident.namespace, keep=outline), foreign_policies(api, incident.namespace)
    )
    return Network(incident, pods, tuple(policies), foreign)


def outline(policy: Json) -> Json:
    """What a verdict needs of a policy: whom it selects, and whether it allows anything in a direction."""
    if policy["metadata"]["name"].startswith("firebreak-"):
        return policy  # what is ours is looked at closely
    spec = policy.get("spec") or {}
    allows: Json = {way: [{}] for way in ("ingress", "egress") if spec.get(way)}
    outline = {key: spec.get(key) for key in ("podSelector", "policyTypes")} | allows
    known = {key: policy["metadata"][key] for key in _WHO if key in policy["metadata"]}
    return {"metadata": known, "spec": outline}


_WHO = ("name", "managedFields")  # which policy, and who wrote it


async def foreign_policies(api: Api, namespace: str) -> tuple[str, ...]:
    """Return the other engines' policies that could concern the namespace, where such engines are installed."""
    groups = (await api.request("GET", "/apis")).get("groups") or []
    found: list[str] = []
    for group in groups:
        version = (group.get("preferredVersion") or {}).get("groupVersion")
        for plural in FOREIGN.get(group.get("name", ""), ()):
            found.extend(await _foreign(api, f"/apis/{version}/{plural}", plural, namespace))
    return tuple(found)


async def _foreign(api: Api, path: str, plural: str, namespace: str) -> list[str]:
    try:
        items, _ = await api.list_from(path)
    except NotFound:
        return []
    except ApiError as error:
        return [f"{plural} (not readable: {error.message[:100]})"]
    mine = [o["metadata"] for o in items if o["metadata"].get("namespace") in {None, namespace}]
    return [f"{plural} {metadata['name']}" for metadata in mine]


async def neighbours(api: Api, nodes: Iterable[str]) -> dict[str, list[str]]:
    """Return the pods on each node, as namespace/name."""
    found: dict[str, list[str]] = {}
    for node in sorted(set(nodes) - {""}):
        pods = await api.list_all("Pod", fields=f"spec.nodeName={node}", metadata_only=True)
        found[node] = [f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in pods]
    return found


async def cordoned(api: Api, names: Iterable[str]) -> frozenset[str]:
    """Return which of these nodes take no new pods. One that cannot be read is not claimed to."""
    found = set()
    for name in sorted(set(names) - {""}):
        with contextlib.suppress(ApiError):
            if ((await api.get(Ref("Node", name))).get("spec") or {}).get("unschedulable"):
                found.add(name)
    return frozenset(found)


async def workloads(
    api: Api, incident: IncidentRef, pods: tuple[Pod, ...], owners: Mapping[str, tuple[str, str]]
) -> tuple[Workload, ...]:
    """Read the top controllers of the pods. `owners`: by pod uid, the controller at first sight: (`Kind/name`, uid)."""
    tops: dict[tuple[str, str], Json | None] = {}
    for owner, uid in set(owners.values()):
        kind, _, name = owner.partition("/")
        tops[owner, uid] = await top_controller(api, {"kind": kind, "name": name, "uid": uid}, incident.namespace)
    controllers = {top["metadata"]["uid"]: top for top in tops.values() if top}
    held: dict[str | None, list[Pod]] = {}
    for pod in pods:
        top = tops.get(owners.get(pod.uid, ("", "")))
        held.setdefault(top["metadata"]["uid"] if top else None, []).append(pod)
    found = []
    for uid, controller in sorted(controllers.items()):
        theirs = tuple(Pod(p) for p in await _pods_of(api, controller))
        found.append(Workload(incident, controller, theirs, tuple(held.get(uid, ()))))
    if None in held or not found:
        found.append(Workload(incident, None, (), tuple(held.get(None, ()))))
    return tuple(found)


async def top_controller(api: Api, reference: Json, namespace: str) -> Json | None:
    """Follow the owners upwards to the controller that people know."""
    found = await owner(api, reference, namespace)
    if found is None:
        return None
    return await top_controller(api, controller(found), namespace) or found


async def owner(api: Api, reference: Json, namespace: str) -> Json | None:
    """Read the controller that an ownerReference names: that very object, or nothing. A reference may be forged."""
    kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
    if kind not in CONTROLLERS or name in {"", ".", ".."}:
        return None
    found = await find(api, Ref(kind, name, namespace))
    if found is None or found["metadata"].get("uid") != reference.get("uid"):
        return None
    return {**found, "kind": kind}
