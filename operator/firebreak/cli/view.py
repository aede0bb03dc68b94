"""How an incident looks to people: pure functions from its object to what the terminal draws."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich.console import RenderableType
from rich.padding import Padding

from firebreak.api.playbook import STEP_NAMES
from firebreak.api.status import (
    ChangeReport,
    ChangeState,
    EvidenceReport,
    IncidentStatus,
    StepReport,
    Timings,
)
from firebreak.cli.terminal import exact, stack, table, words
from firebreak.cli.text import age, between, size
from firebreak.model.incident import Incident
from firebreak.model.verdict import CONTAINED, EVIDENCE, IDENTITY, approve_command

LIST_HEADERS = ("NAME", "TARGET", "CONTAINED", "EVIDENCE", "IDENTITY", "WAITING-FOR", "AGE")


def listing(incidents: Iterable[Incident], now: datetime, *, namespaces: bool) -> RenderableType:
    """Return the table of incidents, as `kubectl get incidents` shows it."""
    rows = [
        [
            *([i.id.namespace] if namespaces else []), i.id.name, i.status.target or str(i.spec.target or ""),
            *(_short(i.status, kind) for kind in (CONTAINED, EVIDENCE, IDENTITY)),
            i.status.waiting_for, age(i.created_at, now),
        ]
        for i in incidents
    ]  # fmt: skip
    return table((*(["NAMESPACE"] if namespaces else []), *LIST_HEADERS), rows)


def _short(status: IncidentStatus, kind: str) -> str:
    condition = status.condition(kind)
    return condition.status if condition else ""


def overview(incident: Incident, quarantine: str, now: datetime) -> RenderableType:
    """Return all that a person wants to know of one incident, the sentence first."""
    status = incident.status
    head = f"{incident.id}: {incident.spec.target or 'no target'}, {status.phase}, mode {incident.spec.mode}"
    return stack(
        words(head, "bold"),
        words(status.message or "nothing is reported yet: is the operator running?"),
        words(f"Why: {incident.spec.reason}") if incident.spec.reason else None,
        words(f"Quarantine: {quarantine}"),
        _section("CONDITIONS", conditions(status, now)) if status.conditions else None,
        _section("STEPS", steps(status)) if status.steps else None,
        _waiting(incident),
        evidence(status.evidence) if status.evidence else None,
        _section("TIMINGS", timings(incident.created_at, status.timings)),
    )


def indented(body: RenderableType) -> RenderableType:
    """Return something two columns to the right."""
    return Padding(body, (0, 0, 0, 2), expand=False)


def _section(title: str, body: RenderableType) -> RenderableType:
    return stack(words(""), words(title, "bold"), indented(body))


def conditions(status: IncidentStatus, now: datetime) -> RenderableType:
    """Return the conditions as a table."""
    rows = [(c.type, c.status, c.reason, age(c.last_transition_time, now), c.message) for c in status.conditions]
    return table(("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def steps(status: IncidentStatus) -> RenderableType:
    """Return the steps as a table."""
    rows = [
        (name, s.state, (s.started_at or "")[11:19], between(s.started_at, s.finished_at), _counts(s), s.message)
        for name, s in ordered(status)
    ]
    return table(("STEP", "STATE", "STARTED", "TOOK", "CHANGES", "MESSAGE"), rows)


def _counts(step: StepReport) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(step.counts.items()))


def _waiting(incident: Incident) -> RenderableType | None:
    waiting = list(waiting_changes(incident.status))
    if not waiting:
        return None
    section = _section("WAITING FOR YOU", stack(*(change(c) for _, c in waiting)))
    commands = [approve_command(incident.id, name) for name, step in ordered(incident.status) if step.digest]
    return stack(section, words("  To let them run:"), *(exact(f"    {command}") for command in commands))


def waiting_changes(status: IncidentStatus) -> Iterator[tuple[str, ChangeReport]]:
    """Yield (step, Change) for what waits for a person."""
    for name, step in ordered(status):
        for each in step.changes.values():
            if each.state is ChangeState.WAITING:
                yield name, each


def change(report: ChangeReport) -> RenderableType:
    """Return one Change with its reason, risk, undo and state."""
    facts = [("why", report.why), ("risk", report.risk), ("undo", report.undo), ("note", report.message)]
    body = table(("", ""), [(key, value) for key, value in facts if value])
    body.show_header = False
    return stack(words(f"{report.verb} {report.object}: {report.state}"), indented(body))


def plan(incident: Incident) -> RenderableType:
    """Return every step with its Changes."""
    blocks: list[RenderableType] = [words(f"{incident.id}: {incident.status.phase}", "bold")]
    for name, step in ordered(incident.status):
        body = stack(*(change(c) for c in step.changes.values())) if step.changes else words("no Change")
        title = f"{name}: {step.state}" + (f" ({step.message})" if step.message else "")
        left = sum(step.counts.values()) - len(step.changes)
        more = words(f"  and {left} more") if left > 0 else None
        blocks.append(stack(words(""), words(title, "bold"), _consent(step), indented(body), more))
    return stack(*blocks)


def _consent(step: StepReport) -> RenderableType | None:
    """Which plan waits for people, and who has approved."""
    waits = f"  waits as plan {step.digest}" if step.digest else None
    by = f"  approved by {', '.join(step.approved_by)}" if step.approved_by else None
    lines = [words(line) for line in (waits, by) if line]
    return stack(*lines) if lines else None


def evidence(report: EvidenceReport) -> RenderableType:
    """Return what is preserved, where, and its gaps."""
    lines = (
        f"{report.complete} of {report.artifacts} artifacts complete, {size(report.bytes)}",
        f"seal {report.seal}" if report.seal else "not sealed yet",
        *(f"gap: {gap}" for gap in report.gaps),
    )
    body = indented(stack(*(words(each) for each in lines)))
    return stack(words(""), words("EVIDENCE", "bold"), exact(f"  {report.url}"), body)


def timings(created: str, moments: Timings) -> RenderableType:
    """Return when things happened and how long each took since the one before."""
    known = [
        ("created", created), ("seen", moments.seen_at), ("cut", moments.cut_at),
        ("contained", moments.contained_at), ("sealed", moments.sealed_at), ("closed", moments.closed_at),
    ]  # fmt: skip
    happened = [(name, at) for name, at in known if at]
    before = [None, *(at for _, at in happened)]
    rows = [(name, at, _since(name, was, at)) for (name, at), was in zip(happened, before, strict=False)]
    return table(("MOMENT", "AT", "SINCE THE ONE BEFORE"), rows)


def _since(name: str, before: str | None, at: str) -> str:
    words_ = between(before, at)
    return f"{words_} (creation is kept in whole seconds)" if name == "seen" and words_ else words_


def line(incident: Incident) -> str:
    """Return an incident in one line, for a stream."""
    told = [f"{c.type}={c.status}" for c in incident.status.conditions if c.type in {CONTAINED, EVIDENCE, IDENTITY}]
    parts = [str(incident.id), incident.status.phase, *told, incident.status.message]
    return "  ".join(part for part in parts if part)


def progress(incident: Incident) -> RenderableType:
    """Return what moves while an incident is worked on, small enough for any screen."""
    status = incident.status
    return stack(
        words(f"{incident.id}: {incident.spec.target or 'no target'}, {status.phase}", "bold"),
        words(status.message),
        _section("STEPS", steps(status)) if status.steps else None,
    )


def ordered(status: IncidentStatus) -> list[tuple[str, StepReport]]:
    """Return the steps in the order of a response: the API server keeps them by the alphabet."""
    place = {name: number for number, name in enumerate(STEP_NAMES)}
    return sorted(status.steps.items(), key=lambda item: (place.get(item[0], len(place)), item[0]))
