"""Gathering which secrets were exposed to the pods: names, metadata and ways to them. Values are never asked for."""

import asyncio
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from firebreak.api.base import Json
from firebreak.api.status import MORE_SECRETS, PodRecord
from firebreak.kube.client import Api
from firebreak.kube.survey import WORKLOADS, controller, find, outline
from firebreak.model.change import Ref
from firebreak.model.facts import Rights, Secrets, SecretUse
from firebreak.model.loose import text
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps.quarantine import quarantined_by
from firebreak.steps.reach import readable, secrets_of

TOKEN_TYPE = "type=kubernetes.io/service-account-token"  # noqa: S105 - a field selector
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def secrets(
    api: Api,
    incident: IncidentRef,
    pods: tuple[Pod, ...],
    reach: Iterable[Rights],
    records: Iterable[PodRecord] = (),
) -> Secrets:
    """Read which secrets the pods had access to. Metadata only: values are never asked for.

    `records` are of all pods of the incident: what those that are gone had access to is in reach as well.
    """
    namespace = incident.namespace
    recorded = tuple(records)
    accounts = sorted({pod.account for pod in pods} | {record.account for record in recorded} - {""})
    ways = await _ways(api, namespace, pods, accounts)
    every, tokens, running, sets, policies, *workloads = await asyncio.gather(
        api.list_all("Secret", namespace, metadata_only=True, keep=_without_values),
        api.list_all("Secret", namespace, fields=TOKEN_TYPE, metadata_only=True, keep=_without_values),
        api.list_all("Pod", namespace),
        api.list_all("ReplicaSet", namespace, metadata_only=True),
        api.list_all("NetworkPolicy", namespace, keep=outline),
        *(api.list_all(kind, namespace) for kind in WORKLOADS),
    )
    there = {s["metadata"]["name"]: s["metadata"] for s in every}
    elsewhere = _add_recorded(ways, recorded) | _add_readable(ways, there, namespace, reach)
    token_names = {t["metadata"]["name"] for t in tokens}
    for name in token_names & there.keys():  # a token belongs to the account whether or not a pod mounts it
        account = (there[name].get("annotations") or {}).get("kubernetes.io/service-account.name")
        if account in accounts:
            ways.setdefault(name, []).append(f"token of the account {account}")
    uses = tuple(
        SecretUse(namespace, name, tuple(dict.fromkeys(how)), there.get(name), name in token_names)
        for name, how in sorted(ways.items())
    )
    kinds = tuple({"kind": kind, **w} for kind, items in zip(WORKLOADS, workloads, strict=True) for w in items)
    cut = _cut(map(Pod, running), policies) | {pod.uid for pod in pods}
    others = _alone(map(Pod, running), _makers(kinds, sets), cut)
    return Secrets(incident, uses, kinds, tuple(sorted(elsewhere)), pods, others)


def _makers(workloads: Iterable[Json], sets: Iterable[Json]) -> set[str]:
    """The uids of what makes the workloads' pods anew: a Deployment's are made by its ReplicaSets.

    Names and labels of a pod prove nothing. One that says it belongs to a Deployment itself is disowned by nobody.
    """
    uids = {workload["metadata"]["uid"]: workload["kind"] for workload in workloads}
    theirs = {s["metadata"]["uid"] for s in sets if uids.get(text(controller(s).get("uid"))) == "Deployment"}
    return theirs | {uid for uid, kind in uids.items() if kind != "Deployment"}


def _cut(running: Iterable[Pod], policies: Iterable[Json]) -> set[str]:
    """The uids of the pods that a quarantine really holds: the label alone is soon forged."""
    denied = {quarantined_by(policy) for policy in policies} - {None}
    return {pod.uid for pod in running if denied & pod.labels.keys()}


def _alone(running: Iterable[Pod], makers: AbstractSet[str], held: AbstractSet[str]) -> tuple[Pod, ...]:
    """The pods that go on with what they read at their start: nothing that can be restarted made them."""
    return tuple(
        pod for pod in running if not (pod.finished or pod.uid in held or (pod.controller or {}).get("uid") in makers)
    )


async def _ways(api: Api, namespace: str, pods: tuple[Pod, ...], accounts: Iterable[str]) -> dict[str, list[str]]:
    """Read which secrets the pods and their accounts name, and how."""
    ways: dict[str, list[str]] = {}
    named = [found for pod in pods for found in secrets_of(pod, None)]
    for name in accounts:
        named.extend(secrets_of(Pod({}), await find(api, Ref("ServiceAccount", name, namespace))))
    for name, way in named:
        ways.setdefault(name, []).append(way)
    return ways


def _without_values(secret: Json) -> Json:
    """Drop what holds a copy of the values: kubectl's annotation of what was applied last."""
    annotations = {k: v for k, v in (secret["metadata"].get("annotations") or {}).items() if k != LAST_APPLIED}
    return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}}


def _add_recorded(ways: dict[str, list[str]], records: Iterable[PodRecord]) -> set[str]:
    """Add what the pods named at first sight; return, in words, what the record had no room for."""
    more: set[str] = set()
    for record in records:
        for name, way in record.secrets.items():
            if name == MORE_SECRETS:
                more.add(way)
            elif name not in ways:
                ways[name] = [way]
    return more


def _add_readable(
    ways: dict[str, list[str]], there: Mapping[str, Json], namespace: str, reach: Iterable[Rights]
) -> set[str]:
    """Add what RBAC let the accounts read; return, in words, what lies beyond the namespace."""
    elsewhere: set[str] = set()
    for right in reach:
        for where, name, way in readable(right.grants + right.shared):
            if where in {None, namespace}:
                for each in [name] if name else there:
                    ways.setdefault(each, []).append(way)
            if where != namespace:
                elsewhere.add(f"{name or 'every secret'} in {where or 'every other namespace'} ({way})")
    return elsewhere
