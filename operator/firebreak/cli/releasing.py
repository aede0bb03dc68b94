"""What `firebreak release` does: find what is to be released, say what that means, ask, do it, read it back."""

from dataclasses import dataclass

from firebreak.api.status import ChangeState
from firebreak.cli.closing import ask_to_close
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.lifting import OURS, UID, give_back, lift, quarantined, quarantined_for, revoked
from firebreak.cli.opening import wait_for
from firebreak.cli.outcomes import as_json, given_back, intended, outcomes, require_done
from firebreak.cli.recording import record_release
from firebreak.cli.session import Session
from firebreak.cli.terminal import stack, words
from firebreak.engine.execute import Result
from firebreak.kube import survey
from firebreak.model.change import Change, Ref
from firebreak.model.incident import Incident, identify, read
from firebreak.model.names import IncidentRef
from firebreak.steps import release


@dataclass(frozen=True)
class Wish:
    """What is to be released, and how."""

    network: bool
    rights: bool
    keep_detached: bool
    verdict: str | None
    uid: str | None
    unconfirmed: bool
    yes: bool
    seconds: float


async def release_incident(session: Session, name: str, wish: Wish) -> None:
    """Release what was asked for. Raises Failure."""
    if not wish.network and not wish.rights:
        raise Failure("nothing is asked for", "leave out --no-network, or add --rights", Exit.USAGE)
    async with connect(session.options) as cluster:
        ref, incident = await _found(cluster, name, wish)
        changes = await _planned(cluster, ref, incident, wish)
        if changes:
            session.terminal.tell(stack(intended(changes), given_back(changes)))
            if not wish.yes:
                session.terminal.confirm(f"Release {ref}?")
        if incident:
            await _closed(cluster, incident, wish)
        agreed = {change.id: release.labels_back(change) for change in changes}
        lifted = await lift(cluster.api, ref, agreed, keep_detached=wish.keep_detached) if wish.network else []
        cut = await _still_cut(cluster, ref) if wish.network else ()
        given = await give_back(cluster.api, await cluster.incident(name)) if wish.rights and incident else []
        if incident:
            network, rights = wish.network and not cut and _done(lifted), wish.rights and _done(given)
            if unsaid := await record_release(cluster.api, incident, network=network, rights=rights):
                session.terminal.tell(words(unsaid))
    results = [*lifted, *given]
    value = {"incident": {"namespace": ref.namespace, "name": ref.name, "uid": ref.uid}, "changes": as_json(results)}
    session.terminal.emit(
        value, lambda: outcomes(results) if results else words(f"nothing of {ref} is left to release")
    )
    require_done(results)
    if cut:
        hint = "a pod that is being deleted stays cut until it is gone; run the command again then"
        raise Failure(f"still under the key of {ref}: {', '.join(cut)}", hint)


async def _found(cluster: Cluster, name: str, wish: Wish) -> tuple[IncidentRef, Incident | None]:
    """Return which incident is meant; without its object when that is gone."""
    raw = await survey.find(cluster.api, Ref("Incident", name, cluster.namespace))
    if raw and wish.uid in {None, raw["metadata"]["uid"]}:
        incident = read(raw)
        _may_release(incident, wish)
        return incident.id, incident
    ref = await _by_uid(cluster, name, wish.uid) if wish.uid else await _by_policy(cluster, name)
    if wish.rights:
        hint = "leave out --rights; give rights back by hand, the evidence holds the bindings as they were"
        raise Failure(f"incident {ref} is gone, and with it the record of what was revoked", hint)
    return ref, None


def _may_release(incident: Incident, wish: Wish) -> None:
    if not incident.closed and not wish.verdict:
        hint = (
            f"close it first (firebreak close {incident.id.name} -n {incident.id.namespace} --verdict VERDICT), "
            "or add --verdict VERDICT to close and release in one go"
        )
        raise Failure(f"incident {incident.id} is active: it would be cut off again", hint)


async def _by_uid(cluster: Cluster, name: str, uid: str) -> IncidentRef:
    """Trust a uid only when no incident that is there has it."""
    if not UID.fullmatch(uid):
        raise Failure("--uid is no uid of an incident", "copy it from `firebreak status -A`", Exit.USAGE)
    for raw in await cluster.api.list_all("Incident", cluster.namespace, metadata_only=True):
        if (there := identify(raw)).uid == uid:
            hint = f"release it by its name: firebreak release {there.name} -n {there.namespace}"
            raise Failure(f"{uid} is the uid of incident {there}, which is there", hint)
    return IncidentRef(cluster.namespace, name, uid)


async def _by_policy(cluster: Cluster, name: str) -> IncidentRef:
    """Find a gone incident by the policy it left."""
    policies = await cluster.api.list_all("NetworkPolicy", cluster.namespace, labels=OURS)
    left = [ref for policy in policies if (ref := quarantined_for(policy)) and ref.name == name]
    if not left:
        hint = (
            "see what there is: firebreak status -A; where the policy is gone too, add --uid with the uid in the pod's "
            "label quarantine.firebreak.dev/UID"
        )
        raise Failure(f"there is no incident {name} in namespace {cluster.namespace}, and no quarantine of one", hint)
    if len(left) > 1:
        uids = ", ".join(ref.uid for ref in left)
        raise Failure(f"{len(left)} incidents named {name} left a quarantine: {uids}", "name one with --uid UID")
    return left[0]


async def _planned(cluster: Cluster, ref: IncidentRef, incident: Incident | None, wish: Wish) -> list[Change]:
    changes: list[Change] = []
    if wish.network:
        changes.extend(release.network(await quarantined(cluster.api, ref), keep_detached=wish.keep_detached))
    if wish.rights and incident:
        changes.extend(release.rights(await revoked(cluster.api, incident)))
    return changes


async def _closed(cluster: Cluster, incident: Incident, wish: Wish) -> None:
    """Make sure that the operator is done with it, or it could cut again what is released now."""
    if incident.over:
        return
    if not incident.closed and wish.verdict:
        await ask_to_close(cluster, incident, wish.verdict, None)
    if not wish.unconfirmed:
        try:
            await wait_for(cluster, incident.id.name, _over, seconds=wish.seconds, waited_for="phase Closed")
        except Failure as failure:
            hint = "if no operator runs any more, add --unconfirmed; nothing was released"
            raise Failure(failure.message, hint, failure.code) from None


def _over(incident: Incident) -> bool:
    return incident.over


def _done(results: list[Result]) -> bool:
    return all(result.state is ChangeState.DONE for result in results)


async def _still_cut(cluster: Cluster, ref: IncidentRef) -> tuple[str, ...]:
    return tuple(pod.name for pod in (await quarantined(cluster.api, ref)).pods)
