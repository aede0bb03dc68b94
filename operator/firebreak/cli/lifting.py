"""Carrying out a release: what is there is read, `steps.release` decides, and the world is read back."""

import asyncio
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from firebreak.api import bounds
from firebreak.api.base import SUBDOMAIN, Json
from firebreak.api.playbook import REVOKE
from firebreak.api.status import ChangeState
from firebreak.cli.cluster import Cluster
from firebreak.cli.failure import Failure
from firebreak.engine.execute import Result, carry_out
from firebreak.kube import survey
from firebreak.kube.client import Api
from firebreak.kube.errors import Conflict
from firebreak.model.change import Change, Ref
from firebreak.model.facts import Account
from firebreak.model.incident import Incident
from firebreak.model.names import INCIDENT, MANAGED_BY, IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.record import step
from firebreak.steps import release

MOST_TRIES = 5  # each after somebody changed the same object at the same moment
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as the API server makes them
OURS = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
UNSEEN = "not sent: its record of labels gives back others than were shown, for somebody wrote it since"
NOT_HELD = "attempting to grant"  # the words of the API server's escalation check


@dataclass(frozen=True)
class Orphan:
    """A quarantine whose incident is gone."""

    incident: IncidentRef
    policy: str

    @property
    def command(self) -> str:
        """What lifts it, for a shell."""
        ref = self.incident
        return shlex.join(["firebreak", "release", ref.name, "-n", ref.namespace, "--uid", ref.uid])


async def quarantined(api: Api, incident: IncidentRef) -> release.Quarantined:
    """Read what is there of an incident's quarantine."""
    pods, policy = await asyncio.gather(
        api.list_all("Pod", incident.namespace, labels=incident.label),
        survey.find(api, Ref("NetworkPolicy", incident.policy, incident.namespace)),
    )
    return release.Quarantined(incident, tuple(Pod(pod) for pod in pods), policy)


async def revoked(api: Api, incident: Incident) -> release.Revoked:
    """Read what was taken from the incident's accounts, and the bindings as they are."""
    done = {ChangeState.DONE, ChangeState.INTENDED}  # what was begun may have been done
    changes = [c for c in step(incident.status, REVOKE).changes.values() if c.state in done]
    recorded: dict[str, Json] = {}
    for change in changes:  # two accounts may have been taken out of one binding
        if change.before:
            before = recorded.setdefault(change.object, {**change.before, "subjects": []})
            before["subjects"] += [s for s in change.before.get("subjects") or [] if s not in before["subjects"]]
    try:
        refs = [release.ref(name) for name in recorded]
    except ValueError as error:
        hint = "Give the rights back by hand: `firebreak plan` shows what the status has on record."
        raise Failure(f"the status of incident {incident.id} was not written by Firebreak: {error}.", hint) from error
    found = await asyncio.gather(*(survey.find(api, ref) for ref in refs))
    live = {name: binding for name, binding in zip(recorded, found, strict=True) if binding is not None}
    own = tuple(Account(incident.id.namespace, name) for name in incident.accounts)
    return release.Revoked(incident.id, own, recorded, live)


async def lift(
    api: Api, incident: IncidentRef, agreed: Mapping[str, Mapping[str, str]], *, keep_detached: bool
) -> list[Result]:
    """Free the pods and then, when none carries the key any more, delete the policy. Repeating it is harmless.

    `agreed`: by a Change's id, the labels that a person saw. A pod whose record gives others since stays as it is.
    """
    results: dict[str, Result] = {}
    for _ in range(MOST_TRIES):
        facts = await quarantined(api, incident)
        changes = list(release.network(facts, keep_detached=keep_detached))
        pods = [change for change in changes if change.target.kind == "Pod"]
        failed = await _free(api, pods, agreed, results)
        if pods and not failed:
            continue  # look again: no pod may carry the key when the policy goes
        if not pods:
            results |= {c.id: await carry_out(api, c) for c in changes}
            return list(results.values())
        if not any(isinstance(f, Conflict) for f in failed):
            return list(results.values())
    raise Failure(f"the pods of incident {incident} kept changing", "run the command again; it does what is left")


async def _free(
    api: Api, pods: Iterable[Change], agreed: Mapping[str, Mapping[str, str]], results: dict[str, Result]
) -> list[Conflict | Result]:
    """Free pods; return what did not work. A conflict is asked again by the caller."""
    failed: list[Conflict | Result] = []
    for change in pods:
        try:
            unseen = release.labels_back(change).items() - agreed.get(change.id, {}).items()
            result = Result(change, ChangeState.FAILED, UNSEEN) if unseen else await _freed(api, change)
        except Conflict as error:
            failed.append(error)
            continue
        results[change.id] = result
        if result.state is not ChangeState.DONE:
            failed.append(result)
    return failed


async def _freed(api: Api, change: Change) -> Result:
    """Free one pod. One that vanished meanwhile is not cut any more: its ReplicaSet may have deleted it as surplus."""
    result = await carry_out(api, change)
    if result.state is ChangeState.FAILED:
        live = await survey.find(api, change.target)
        if live is None or live["metadata"]["uid"] != change.target.uid or live["metadata"].get("deletionTimestamp"):
            return Result(change, ChangeState.DONE, "the pod was deleted, by its ReplicaSet as surplus or by a person")
    return result


async def give_back(api: Api, incident: Incident) -> list[Result]:
    """Give the incident's accounts their rights back. A binding that somebody edits meanwhile is read again."""
    results: dict[str, Result] = {}
    for _ in range(MOST_TRIES):
        moved = False
        for change in release.rights(await revoked(api, incident)):
            if (result := results.get(change.id)) and result.state is not ChangeState.DONE:
                continue
            if change.refusal is not None:
                results[change.id] = Result(change, ChangeState.MANUAL, change.refusal)
                continue
            try:
                results[change.id] = _explained(await carry_out(api, change))
            except Conflict:
                moved = True
        if not moved:
            return list(results.values())
    raise Failure(
        f"the bindings of incident {incident.id} kept changing", "run the command again; it does what is left"
    )


def _explained(result: Result) -> Result:
    if result.state is ChangeState.FAILED and NOT_HELD in result.message:
        words = f"you may not give back what you do not hold yourself; ask somebody who does. {result.message}"
        return Result(result.change, result.state, words)
    return result


async def orphans(cluster: Cluster, namespace: str | None, incidents: Iterable[Json]) -> list[Orphan]:
    """Return the quarantines whose incident is gone."""
    there = {incident["metadata"]["uid"] for incident in incidents}
    policies = await cluster.api.list_all("NetworkPolicy", namespace, labels=OURS)
    found = (quarantined_for(policy) for policy in policies)
    return [Orphan(ref, ref.policy) for ref in found if ref is not None and ref.uid not in there]


def quarantined_for(policy: Json) -> IncidentRef | None:
    """Return the incident that a policy of ours was made for; None for one that is no quarantine, as the probe's.

    Tenants write policies too, and what is returned ends up in a command that people paste: no incident can have
    another name or uid than these patterns allow.
    """
    metadata = policy["metadata"]
    name = (metadata.get("annotations") or {}).get(INCIDENT, "")
    uid = UID.search(metadata["name"])
    if not uid or len(name) > bounds.OBJECT_NAME or not re.fullmatch(SUBDOMAIN, name):
        return None
    incident = IncidentRef(metadata["namespace"], name, uid[0])
    return incident if incident.policy == metadata["name"] else None
