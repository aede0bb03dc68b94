"""The record of an incident: small pure edits of its status, and the merge patch between two statuses."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

from firebreak.api import bounds
from firebreak.api.base import Json
from firebreak.api.status import ChangeReport, ChangeState, IncidentStatus, StepReport, StepState
from firebreak.model.change import Change
from firebreak.model.digest import digest_of

ENDED = frozenset({StepState.DONE, StepState.PARTIAL, StepState.FAILED})
"""What has ended for now. It is looked at again, slowly: people may mend what failed, and undo what was done."""
SETTLED = ENDED | {StepState.WAITING}
"""What keeps its state while it is looked at again: that must not make a settled incident look busy."""
AT_REST = SETTLED | {StepState.BLOCKED}
"""What another step's progress does not wake: it is asked again at the resync, or after a pause of its own."""


def stamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def step(status: IncidentStatus, name: str) -> StepReport:
    """Return the report of a step, pending when it was never begun."""
    return status.steps.get(name) or StepReport(state=StepState.PENDING)


def with_step(status: IncidentStatus, name: str, **fields: Any) -> IncidentStatus:
    """Return the status with fields of one step's report replaced; its message is cut to what the schema allows."""
    if "message" in fields:
        fields["message"] = fields["message"][: bounds.MESSAGE]
    report = step(status, name).model_copy(update=fields)
    return status.model_copy(update={"steps": {**status.steps, name: report}})


def done(report: StepReport) -> set[str]:
    """Return the ids of the Changes of a step that its record lists as done."""
    return {change_id for change_id, change in report.changes.items() if change.state is ChangeState.DONE}


def unlisted_done(report: StepReport) -> int:
    """Return how many Changes of a step were done that its record, as an earlier leader left it, had no room for."""
    return max(report.counts.get(ChangeState.DONE, 0) - len(done(report)), 0)


def with_changes(status: IncidentStatus, name: str, reports: Mapping[str, ChangeReport]) -> IncidentStatus:
    """Return the status with Changes of one step added or replaced, with counts of all. `dump` bounds their number."""
    old = step(status, name).changes
    return _with_all(status, name, {**old, **{key: _as_approved(new, old.get(key)) for key, new in reports.items()}})


def _as_approved(new: ChangeReport, was: ChangeReport | None) -> ChangeReport:
    """An approval stays with the very Change that it was given for, and with no other."""
    if was is None or not was.approved or was.digest != new.digest:
        return new
    return new.model_copy(update={"approved": True})


def _with_all(status: IncidentStatus, name: str, changes: dict[str, ChangeReport]) -> IncidentStatus:
    """Replace the Changes of a step. Done ones that an earlier leader's status had no room for still count."""
    counts = Counter(str(report.state) for report in changes.values())
    counts[ChangeState.DONE] += unlisted_done(step(status, name))
    return with_step(status, name, changes=changes, counts={state: n for state, n in counts.items() if n})


def without_leftovers(status: IncidentStatus, name: str, planned: AbstractSet[str]) -> IncidentStatus:
    """Return the status without the Changes of a step that are planned no longer.

    What was begun and is not needed any more is done, whoever finished it. What was never begun, or failed, is
    dropped; a failed one that recorded what it overwrites is kept as done, for it may be needed to undo it.
    """
    kept: dict[str, ChangeReport] = {}
    for key, was in step(status, name).changes.items():
        failed = was.state is ChangeState.FAILED
        if key in planned or was.state is ChangeState.DONE:
            kept[key] = was
        elif was.state is ChangeState.INTENDED or (failed and was.before is not None):
            kept[key] = was.model_copy(update={"state": ChangeState.DONE})
    return _with_all(status, name, kept)


def without_refused(status: IncidentStatus, name: str) -> IncidentStatus:
    """Return the status without what a person was to do for a step: the world is as the step wants it already."""
    changes = step(status, name).changes.items()
    return _with_all(status, name, {key: was for key, was in changes if was.state is not ChangeState.MANUAL})


def report(change: Change, state: ChangeState, message: str = "", *, approved: bool = False) -> ChangeReport:
    """Return what the status says of a Change. Bodies are left out: they may hold secret values."""
    return ChangeReport(
        object=str(change.target)[: bounds.CHANGE_OBJECT],
        verb=change.verb,
        why=change.why[: bounds.CHANGE_WORDS],
        undo=change.undo[: bounds.CHANGE_WORDS],
        risk=str(change.risk)[: bounds.CHANGE_WORDS],
        state=state,
        message=message[: bounds.CHANGE_WORDS],
        digest=digest_of(change),
        approved=approved,
        before=None if change.before is None else _without_nulls(change.before),
    )


def _without_nulls(value: Json) -> Json:
    """A merge patch takes null for removal: written so, it would come back otherwise than it was recorded."""
    return {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in value.items() if v is not None}


def dump(status: IncidentStatus) -> Json:
    """Return the status as JSON, without what is unset, each step with as many Changes as it has room for."""
    steps = {name: each.model_copy(update={"changes": _bounded(each.changes)}) for name, each in status.steps.items()}
    return status.model_copy(update={"steps": steps}).model_dump(mode="json", by_alias=True, exclude_none=True)


def _bounded(changes: dict[str, ChangeReport]) -> dict[str, ChangeReport]:
    if len(changes) <= bounds.CHANGES:
        return changes
    return dict(sorted(changes.items(), key=_how_dispensable)[: bounds.CHANGES])


def _how_dispensable(item: tuple[str, ChangeReport]) -> int:
    """What was begun stays longest, then what is needed to undo; what is planned again anyway and what is done go."""
    report = item[1]
    if report.state is ChangeState.INTENDED:
        return 0
    if report.before is not None:
        return 1
    return 3 if report.state is ChangeState.DONE else 2


def difference(old: Json, new: Json) -> Json:
    """Return the JSON merge patch that turns `old` into `new`: null removes, objects merge, lists are replaced."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
