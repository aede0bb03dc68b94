"""What `firebreak approve` does: show the plan that waits, ask, and write the Approval in the caller's own name."""

import hashlib
import secrets

from rich.console import RenderableType

from firebreak.api import API_VERSION
from firebreak.api.base import Json
from firebreak.api.status import ChangeState, StepReport
from firebreak.cli import view
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.session import Session
from firebreak.cli.terminal import stack, words
from firebreak.kube import survey
from firebreak.kube.errors import AlreadyExists, Forbidden
from firebreak.model.change import Ref
from firebreak.model.incident import Incident
from firebreak.model.verdict import approve_command


async def approve_step(session: Session, name: str, step: str, *, digest: str | None, yes: bool) -> None:
    """Approve what waits of a step. Raises Failure."""
    terminal = session.terminal
    async with connect(session.options) as cluster:
        incident = await cluster.incident(name)
        report = _waiting(incident, step)
        plan = report.digest or ""
        if digest is not None and digest != plan:
            raise _moved(incident, step, digest, plan)
        if digest is None:
            _require_all_shown(incident, step, report)
        who = await _caller(cluster)
        body = manifest(incident, step, plan, who)
        await _write(cluster, incident, step, body, dry_run=True)  # whoever may not approve is not asked
        terminal.tell(_drawn(incident, step, report))
        if not yes:
            terminal.confirm(f"Approve this as {who}?")
        now = _waiting(await cluster.incident(name), step).digest or ""
        if now != plan:
            raise _moved(incident, step, plan, now)
        created = await _write(cluster, incident, step, body)
    terminal.emit(created, lambda: words(f"approved as {who}: {step} of {incident.id}, plan {plan}"))
    terminal.note(f"see what comes of it: firebreak watch {name} -n {incident.id.namespace}")


def manifest(incident: Incident, step: str, digest: str, approver: str) -> Json:
    """Return the Approval. The same plan and person give the same name: a second yes of one person is no second one."""
    mark = hashlib.sha256(f"{digest} {approver}".encode()).hexdigest()[:16]
    name = f"{incident.id.name[:160].rstrip('-.')}-{step.lower()}-{mark}"
    return {
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "metadata": {"name": name, "namespace": incident.id.namespace},
        "spec": {"incident": incident.id.name, "step": step, "digest": digest, "approver": approver},
    }


def _waiting(incident: Incident, step: str) -> StepReport:
    """Return the report of a step that waits. Raises Failure when it does not."""
    hint = f"see what there is: firebreak plan {incident.id.name} -n {incident.id.namespace}"
    if incident.closed:
        raise Failure(f"incident {incident.id} is closed; nothing of it is carried out any more", hint)
    report = incident.status.steps.get(step)
    if report is None:
        known = ", ".join(incident.status.steps) or "none yet"
        raise Failure(f"incident {incident.id} has no step {step}; its steps are: {known}", hint)
    if not report.digest:
        raise Failure(f"nothing of step {step} of {incident.id} waits for a person: it is {report.state}", hint)
    return report


def _moved(incident: Incident, step: str, before: str, now: str) -> Failure:
    return Failure(
        f"the plan of step {step} of {incident.id} is {now} by now, not {before}; nothing was approved",
        f"look at it again: {approve_command(incident.id, step)}",
    )


def _require_all_shown(incident: Incident, step: str, report: StepReport) -> None:
    """Nobody approves by accident what the status has no room to show. Raises Failure."""
    listed = sum(change.state is ChangeState.WAITING for change in report.changes.values())
    hidden = report.counts.get(ChangeState.WAITING, 0) - listed
    if hidden > 0:
        raise Failure(
            f"{hidden} of the Changes that wait find no room in the status of {incident.id}: you cannot read them here",
            f"to approve unseen, name the plan: {approve_command(incident.id, step)} --digest {report.digest}",
        )


async def _caller(cluster: Cluster) -> str:
    who = await cluster.user()
    if who is None:
        hint = "check your credentials: kubectl auth whoami"
        raise Failure("the API server does not say who you are, and an approval needs a name", hint)
    return who


async def _write(cluster: Cluster, incident: Incident, step: str, body: Json, *, dry_run: bool = False) -> Json:
    """Create the Approval. Raises Failure when the caller may not, or has done so already."""
    who, where = body["spec"]["approver"], incident.id.namespace
    try:
        return await cluster.api.create("Approval", where, body, dry_run=dry_run)
    except AlreadyExists as error:
        name = body["metadata"]["name"]
        there = await survey.find(cluster.api, Ref("Approval", name, where))
        if there is None or there.get("spec") != body["spec"]:  # who knows the plan knows the name, and may take it
            other = {**body, "metadata": {**body["metadata"], "name": f"{name}-{secrets.token_hex(4)}"}}
            return await _write(cluster, incident, step, other, dry_run=dry_run)
        waits = incident.status.steps[step].message
        words_ = f"{who} approved this plan of step {step} already; it still waits: {waits}"
        raise Failure(words_, f"firebreak status {incident.id.name} -n {where}") from error
    except Forbidden as error:
        hint = (
            "ask for `create` on approvals.firebreak.dev (sample role firebreak-approver), or ask somebody who has it"
        )
        raise Failure(f"{who} may not approve in namespace {where}: {error.message}", hint, Exit.UNREACHABLE) from error


def _drawn(incident: Incident, step: str, report: StepReport) -> RenderableType:
    waiting = [change for change in report.changes.values() if change.state is ChangeState.WAITING]
    return stack(
        words(f"{incident.id}: {step}, plan {report.digest}", "bold"),
        words(report.message) if report.message else None,
        *(view.change(change) for change in waiting),
        words(""),
    )
