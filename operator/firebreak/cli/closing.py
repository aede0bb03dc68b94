"""What `firebreak close` does: end the work, wait for the last word, and delete the pods if a person wants that."""

from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.api.status import ChangeState
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.failure import Failure
from firebreak.cli.lifting import quarantined
from firebreak.cli.opening import wait_for
from firebreak.cli.outcomes import as_json, outcomes, require_done
from firebreak.cli.session import Session
from firebreak.cli.terminal import stack, words
from firebreak.engine.execute import Result, carry_out
from firebreak.kube.survey import find
from firebreak.model.change import Change, Risk, Verb, includes
from firebreak.model.incident import Incident
from firebreak.model.pod import Pod
from firebreak.model.verdict import EVIDENCE
from firebreak.steps.release import others


@dataclass(frozen=True)
class Deletion:
    """How pods may be deleted."""

    even_unsealed: bool
    yes: bool


async def close_and_delete(
    session: Session, name: str, verdict: str, ticket: str | None, deletion: Deletion | None, *, seconds: float
) -> None:
    """Close an incident; then delete its pods, if asked. Raises Failure."""
    terminal, results = session.terminal, list[Result]()
    async with connect(session.options) as cluster:
        incident = await cluster.incident(name)
        doomed = await _doomed(cluster, session, incident, deletion) if deletion else []
        closed = await close_incident(cluster, incident, verdict, ticket, seconds=seconds)
        results.extend([await _deleted(cluster, change) for change in doomed])
    value = {"incident": closed.raw, "deleted": as_json(results)}
    terminal.emit(value, lambda: stack(words(_closed(closed)), outcomes(results) if results else None))
    terminal.note(f"its quarantine stays; lift it with: firebreak release {name} -n {incident.id.namespace}")
    require_done(results)


def _closed(incident: Incident) -> str:
    return f"incident {incident.id} is closed as {incident.spec.verdict}. {incident.status.message}"


async def close_incident(
    cluster: Cluster, incident: Incident, verdict: str, ticket: str | None, *, seconds: float
) -> Incident:
    """Ask to close and wait until the operator has said its last word."""
    await ask_to_close(cluster, incident, verdict, ticket)
    return await wait_for(cluster, incident.id.name, lambda i: i.over, seconds=seconds, waited_for="phase Closed")


async def ask_to_close(cluster: Cluster, incident: Incident, verdict: str, ticket: str | None) -> None:
    """Write that it is closed, and as what; nothing when it says so already."""
    spec: Json = {"state": "Closed", "verdict": verdict} | ({"ticket": ticket} if ticket else {})
    if not includes(incident.raw["spec"], spec):
        await cluster.api.patch(incident.ref, {"spec": spec})


async def _doomed(cluster: Cluster, session: Session, incident: Incident, deletion: Deletion) -> list[Change]:
    """Return the deletions, agreed to. Raises Failure before anything is closed when they may not be."""
    preserved = incident.status.condition(EVIDENCE)
    if not (preserved and preserved.status == "True") and not deletion.even_unsealed:
        why = f"{preserved.reason}: {preserved.message}" if preserved else "it was never observed"
        watch = f"firebreak watch {incident.id.name} -n {incident.id.namespace}"
        hint = f"wait for it ({watch}), or add --even-unsealed to lose what is not preserved; nothing was done"
        raise Failure(f"the evidence of {incident.id} is not preserved ({why})", hint)
    facts = await quarantined(cluster.api, incident.id)
    for pod in facts.pods:
        if also := others(pod, incident.id):
            words_ = f"pod {pod.name} is held by {len(also)} other incident(s) as well: {', '.join(also)}"
            raise Failure(words_, "see them: firebreak status -A; close and release those first; nothing was done")
    if facts.pods and not deletion.yes:
        names = ", ".join(pod.name for pod in facts.pods)
        session.terminal.confirm(f"Close {incident.id} and delete {names} for good?")
    return [_delete(pod) for pod in facts.pods]


def _delete(pod: Pod) -> Change:
    why = "its incident is closed, and a person said so"
    return Change(Verb.DELETE, pod.ref, why=why, undo="none", risk=Risk(reversible=False), once=True)


async def _deleted(cluster: Cluster, change: Change) -> Result:
    """Delete one pod. It may take its grace period to end: that it is ending is what was asked for."""
    result = await carry_out(cluster.api, change)
    if result.state is ChangeState.FAILED:
        live = await find(cluster.api, change.target)
        if live and live["metadata"].get("deletionTimestamp"):
            return Result(change, ChangeState.DONE, "it is ending, within its grace period")
    return result
