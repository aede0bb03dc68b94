"""Running a stage: gate each Change, write the intent, carry out, confirm, and say what became of it."""

import asyncio

import structlog

from firebreak.api.incident import ChangeState, StepState
from firebreak.api.playbook import Approval
from firebreak.engine.case import Case
from firebreak.engine.execute import Result, carry_out, verify
from firebreak.engine.stages import Stage
from firebreak.kube.errors import PERMANENT, Conflict
from firebreak.model.change import Change
from firebreak.model.record import report, step, with_changes, with_step, without_leftovers
from firebreak.model.tiers import needed
from firebreak.model.verdict import Verdict

log = structlog.get_logger()

ASK_AGAIN, AFTER_CONFLICT, WHILE_BLOCKED, WHILE_UNSETTLED = 0.5, 0.2, 30.0, 300.0  # seconds

# Looking again must not make a settled incident look busy: these keep their state until something else comes of it.
MOST_CONFLICTS = 6
LOOKED_AT_AGAIN = frozenset({StepState.WAITING, StepState.PARTIAL, StepState.FAILED})


def gate(change: Change, approval: Approval) -> ChangeState:
    """Say what may happen to a Change now: go on, wait for a person, or be named only."""
    if change.refusal is not None:
        return ChangeState.MANUAL
    if approval is Approval.NEVER or (approval is Approval.WHEN_RISKY and change.risk.safe):
        return ChangeState.PLANNED
    return ChangeState.WAITING


async def run(case: Case, stage: Stage) -> float | None:
    """Run a stage once. Returns the seconds after which to run it again, None when it is settled for now."""
    if missing := await _missing(case, stage):
        return await _block(case, stage, "RightsMissing", missing)
    if step(case.status, stage.name).state not in LOOKED_AT_AGAIN:
        _begin(case, stage)
    try:
        state = await _run(case, stage)
    except Conflict as error:
        return await _moved(case, stage, error)
    except PERMANENT as error:
        return await _block(case, stage, "Refused", f"the API server refused: {error}")
    case.conflicts.pop(stage.name, None)
    return None if state in {StepState.DONE, StepState.WAITING} else WHILE_UNSETTLED


async def _run(case: Case, stage: Stage) -> StepState:
    changes = await stage.plan(case)
    case.journal.note(lambda s: without_leftovers(s, stage.name, {change.id for change in changes}))
    await _carry_out(case, stage, changes)
    return await _finish(case, stage)


async def _block(case: Case, stage: Stage, reason: str, words: str) -> float:
    await case.journal.write(
        lambda s: with_step(s, stage.name, state=StepState.BLOCKED, message=words),
        case.claim(Verdict(stage.condition, "False", reason, words)),
    )
    return WHILE_BLOCKED


async def _moved(case: Case, stage: Stage, error: Conflict) -> float:
    """The world moved under the plan: plan again, less and less eagerly, and say so when it goes on."""
    number = case.conflicts[stage.name] = case.conflicts.get(stage.name, 0) + 1
    log.info("the world moved; planning again", incident=str(case.id), step=stage.name, error=str(error))
    if number > MOST_CONFLICTS:
        return await _block(case, stage, "KeepsChanging", f"somebody keeps changing what is to be changed: {error}")
    return float(min(WHILE_BLOCKED, AFTER_CONFLICT * 2**number))


def _begin(case: Case, stage: Stage) -> None:
    was, now = step(case.status, stage.name), case.journal.now()
    fields = {"attempts": was.attempts + 1, "started_at": was.started_at or now, "message": ""}
    case.journal.note(lambda s: with_step(s, stage.name, state=StepState.RUNNING, **fields))


async def _missing(case: Case, stage: Stage) -> str:
    tier = needed(stage.name)
    missing = await case.tools.tiers.missing(tier, case.id.namespace)
    return f"rights of tier {tier.name} are missing ({', '.join(missing[:5])}): {tier.remedy}" if missing else ""


async def _carry_out(case: Case, stage: Stage, changes: tuple[Change, ...]) -> None:
    """Do what may be done, in order. Every Change is on record, with what it overwrites, before the first is sent."""
    approval = case.playbook.approval_of(stage.name)
    before = dict(step(case.status, stage.name).changes)
    gates = {change.id: gate(change, approval) for change in changes}
    going = [change for change in changes if gates[change.id] is ChangeState.PLANNED]
    reports = {c.id: report(c, gates[c.id], c.refusal or "") for c in changes}
    intents = {c.id: report(c, ChangeState.INTENDED) for c in going}
    await case.journal.intend(lambda s: with_changes(s, stage.name, reports | intents))
    for change in going:
        so_far = step(case.status, stage.name).changes
        if late := [key for key in change.after if so_far[key].state is not ChangeState.DONE]:
            _note(case, stage, Result(change, ChangeState.PLANNED, f"not sent: first comes {', '.join(late)}"))
            continue
        begun = change.id in before and before[change.id].state in {ChangeState.INTENDED, ChangeState.DONE}
        result = await _once(case, change) if begun and change.once else await carry_out(case.tools.api, change)
        _note(case, stage, result)


async def _once(case: Case, change: Change) -> Result:
    """Look before repeating: a Change that was begun before a restart may have been done."""
    result = await verify(case.tools.api, change)
    return result if result.state is ChangeState.DONE else await carry_out(case.tools.api, change)


def _note(case: Case, stage: Stage, result: Result) -> None:
    after = report(result.change, result.state, result.message)
    case.journal.note(lambda s: with_changes(s, stage.name, {result.change.id: after}))
    case.tools.metrics.step_results.labels(stage.name, result.state).inc()
    log.info("change", incident=str(case.id), step=stage.name, change=result.change.id, state=result.state)


async def _finish(case: Case, stage: Stage) -> StepState:
    """Write how the step ended: done only when the world says so."""
    counts = step(case.status, stage.name).counts
    if counts.get(ChangeState.WAITING):
        words = f"{counts[ChangeState.WAITING]} risky Changes wait for a person: see `firebreak plan {case.id.name}`"
        await case.journal.write(
            case.claim(Verdict(stage.condition, "False", "AwaitingApproval", words)),
            lambda s: with_step(s, stage.name, state=StepState.WAITING, message=words),
        )
        return StepState.WAITING
    await case.journal.write()
    verdict = await _confirmed(case, stage)
    state = StepState.DONE if verdict.holds else StepState.PARTIAL
    if counts.get(ChangeState.FAILED):
        state = StepState.FAILED
    was = step(case.status, stage.name)
    now = was.finished_at if was.finished_at and was.state is state else case.journal.now()
    await case.journal.write(
        case.claim(verdict),
        lambda s: with_step(s, stage.name, state=state, finished_at=now, message=verdict.message),
    )
    return state


async def _confirmed(case: Case, stage: Stage) -> Verdict:
    """Ask until the world says yes or patience ends; then say what it said last."""
    verdict: Verdict | None = None
    try:
        async with asyncio.timeout(stage.patience(case)):
            while verdict is None or not verdict.holds:
                verdict = await stage.confirm(case)
                if verdict is not None and (verdict.holds or verdict.reason in _FINAL):
                    return verdict
                await asyncio.sleep(ASK_AGAIN)
    except TimeoutError:
        pass
    words = f"not settled within {stage.patience(case):.0f} s; see the workload's own status"
    return verdict or Verdict(stage.condition, "False", "TimedOut", words)


_FINAL = frozenset({"ByHand", "NoController", "CloudCredentialsLive"})
