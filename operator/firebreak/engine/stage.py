"""Running a stage: gate each Change, write the intent, carry out, confirm, and say what became of it.

What is done is looked at again, slowly: where it does not hold any more, the whole stage runs again.
"""

import asyncio
import math
import random
import time
from contextlib import nullcontext
from typing import Final, Protocol

import structlog

from firebreak.api.status import ChangeReport, ChangeState, StepReport, StepState
from firebreak.engine.case import Case
from firebreak.engine.execute import Result, carry_out, verify
from firebreak.engine.permit import Permit, permit
from firebreak.engine.undone import Split, split
from firebreak.kube.errors import PERMANENT, Conflict
from firebreak.model.change import Change, Verb
from firebreak.model.plan import joined
from firebreak.model.record import (
    SETTLED,
    report,
    step,
    unlisted_done,
    with_changes,
    with_step,
    without_leftovers,
    without_refused,
)
from firebreak.model.tiers import needed
from firebreak.model.verdict import Verdict, approve_command

log = structlog.get_logger()

AFTER_CONFLICT, WHILE_BLOCKED = 0.2, 30.0  # seconds
ASK_AGAIN, ASK_SELDOM = 0.5, 2.0  # seconds: a look may be dozens of questions, and what takes long is not in a hurry
JUST_NOW = 5.0  # seconds: what was confirmed so lately, and nobody has touched since, is not asked about again
MOST_CONFLICTS = 6


class Stage(Protocol):
    """A step whose outcome is Changes. `confirm` returns None while workloads are still on their way."""

    name: str
    condition: str
    lasting: bool
    """Whether a Change that is needed again was undone by somebody."""
    alone: bool
    """Whether its plan must see all that other incidents' runs of such steps did: they take turns."""

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Survey, then decide."""

    async def confirm(self, case: Case) -> Verdict | None:
        """Ask the world what is so now."""

    def patience(self, case: Case) -> float:
        """Seconds until `confirm` must have an answer."""


async def run(case: Case, stage: Stage) -> float | None:
    """Run a stage once. Returns the seconds after which to run it again, None when it is settled for now."""
    look_again = case.tools.settings.look_again_seconds
    stirred = stage.name in case.stirred
    case.stirred.discard(stage.name)
    if step(case.status, stage.name).state is StepState.DONE and not (stirred or joined(stage.name, case.status)):
        if stage.name not in case.looked_after:  # after a restart: not every incident at the same moment
            case.looked_after[stage.name] = -math.inf
            return random.uniform(0, look_again)  # noqa: S311 - jitter
        just_now = time.monotonic() - case.looked_after[stage.name] < min(JUST_NOW, look_again / 2)
        if just_now or await _still_holds(case, stage):  # woken by the resync while it ran
            return look_again
    if obstacle := await case.obstacle(needed(stage.name)):
        return await _blocked(case, stage, *obstacle)
    if step(case.status, stage.name).state not in SETTLED:
        _begin(case, stage)
    try:
        state, pause = await _run(case, stage)
    except Conflict as error:
        return await _moved(case, stage, error)
    except PERMANENT as error:
        return await _blocked(case, stage, "Refused", f"the API server refused: {error}")
    case.conflicts.pop(stage.name, None)
    case.looked_after[stage.name] = time.monotonic()
    return pause or (None if state is StepState.WAITING else look_again)


async def _still_holds(case: Case, stage: Stage) -> bool:
    """Look at what is done. What is on its way says nothing; what cannot be read is no longer claimed."""
    try:
        verdict = await _confirm(case, stage)
    except PERMANENT as error:
        words = f"whether it still holds could not be read: {error}"
        verdict = Verdict(stage.condition, "Unknown", "CannotVerify", words)
    if verdict is None or verdict.holds:
        return True
    log.warning("no longer so", reason=verdict.reason, message=verdict.message)
    await case.journal.write(
        case.claim(verdict), lambda s: with_step(s, stage.name, state=StepState.PARTIAL, message=verdict.message)
    )
    return False


async def _confirm(case: Case, stage: Stage) -> Verdict | None:
    async with case.tools.surveys.seat(case.id.namespace):
        return await stage.confirm(case)


async def _run(case: Case, stage: Stage) -> tuple[StepState, float | None]:
    pods = len(case.status.pods)
    async with case.tools.alone if stage.alone else nullcontext():
        async with case.tools.surveys.seat(case.id.namespace):
            changes = await stage.plan(case)
        was = step(case.status, stage.name)
        case.journal.note(lambda s: without_leftovers(s, stage.name, {change.id for change in changes}))
        allowed, left = await _carry_out(case, stage, changes, was)
    return await _finish(case, stage, pods, allowed, left), left.pause


async def _blocked(case: Case, stage: Stage, reason: str, words: str) -> float:
    await case.block(stage.name, Verdict(stage.condition, "False", reason, words))
    return WHILE_BLOCKED


async def _moved(case: Case, stage: Stage, error: Conflict) -> float:
    """The world moved under the plan: plan again, less and less eagerly, and say so when it goes on."""
    number = case.conflicts[stage.name] = case.conflicts.get(stage.name, 0) + 1
    log.info("the world moved; planning again", error=str(error))
    if number > MOST_CONFLICTS:
        words = f"somebody keeps changing what is to be changed, find out who (its managedFields tell): {error}"
        return await _blocked(case, stage, "KeepsChanging", words)
    return float(min(WHILE_BLOCKED, AFTER_CONFLICT * 2**number))


def _begin(case: Case, stage: Stage) -> None:
    was, now = step(case.status, stage.name), case.journal.now()
    fields = {"attempts": was.attempts + 1, "started_at": was.started_at or now, "message": ""}
    case.journal.note(lambda s: with_step(s, stage.name, state=StepState.RUNNING, **fields))


async def _carry_out(case: Case, stage: Stage, changes: tuple[Change, ...], was: StepReport) -> tuple[Permit, Split]:
    """Do what may be done, in order. Every Change is on record, with what it overwrites, before the first is sent.

    Returns also what was undone and is left so: its record stays, for it tells how to give back what was taken.
    """
    before, forgotten = was.changes, unlisted_done(was) > 0
    maybe = {c.id for c in changes if c.id in before or (forgotten and c.refusal is None)}
    done = {c.id for c in changes if c.id in maybe and await _is_done(case, c, before.get(c.id))}
    allowed = await permit(case, stage.name, was, changes, done)
    gates = allowed.gates
    going = [change for change in changes if gates[change.id] is ChangeState.PLANNED and change.id not in done]
    left = _undone(case, stage, going)
    kept, going = {c.id for c in going} - {c.id for c in left.now}, list(left.now)
    reports = {c.id: report(c, gates[c.id], c.refusal or "") for c in changes if c.id not in done | kept}
    reports |= {c.id: report(c, ChangeState.INTENDED, approved=c.id in allowed.approved) for c in going}
    await case.journal.intend(
        lambda s: with_changes(s, stage.name, reports),
        lambda s: with_step(s, stage.name, **allowed.fields, **(_GOES_ON if allowed.approved else {})),
    )
    if allowed.approved:
        log.info("approved", by=allowed.ruling.by, digest=allowed.plan.digest, changes=sorted(allowed.approved))
    for change in going:
        so_far = step(case.status, stage.name).changes
        if late := [k for k in change.after if k not in done and so_far[k].state is not ChangeState.DONE]:
            _note(case, stage, Result(change, ChangeState.PLANNED, f"not sent: first comes {', '.join(late)}"))
            continue
        begun = change.id in before and before[change.id].state is ChangeState.INTENDED
        result = await _once(case, change) if begun and change.once else await _act(case, change)
        _note(case, stage, result)
    return allowed, left


def _undone(case: Case, stage: Stage, going: list[Change]) -> Split:
    """Divide what may be done into what is done now and what was undone and is left so."""
    if not stage.lasting:
        return Split(tuple(going))
    return split(case, stage.name, going, lambda c: c.why, longest=case.tools.settings.look_again_seconds)


_GOES_ON: Final = {"state": StepState.RUNNING}
"""What people approved waits for nobody: else they would be asked for it once more."""


async def _is_done(case: Case, change: Change, was: ChangeReport | None) -> bool:
    """Whether a Change was done before and the world still is as it wants it: then it is left alone.

    `was` is None for what the record may have had no room for: then the world alone can tell. Of a call of the hook
    the world here says nothing: without a record it is made again, which a hook has to bear.
    """
    if was is not None and was.state is not ChangeState.DONE:
        return False
    if change.verb is Verb.CALL:
        return was is not None
    return (await verify(case.tools.api, change)).state is ChangeState.DONE


async def _act(case: Case, change: Change) -> Result:
    """Carry out a Change where it belongs: in the cluster, or by the hook."""
    if change.verb is Verb.CALL and case.tools.hook:
        return await case.tools.hook.call(case.id, change)
    return await carry_out(case.tools.api, change)


async def _once(case: Case, change: Change) -> Result:
    """Look before repeating: a Change that was begun before a restart may have been done."""
    result = await verify(case.tools.api, change)
    return result if result.state is ChangeState.DONE else await carry_out(case.tools.api, change)


def _note(case: Case, stage: Stage, result: Result) -> None:
    after = report(result.change, result.state, result.message)
    case.journal.note(lambda s: with_changes(s, stage.name, {result.change.id: after}))
    case.tools.metrics.step_results.labels(stage.name, result.state).inc()
    log.info("change", change=result.change.id, state=result.state)


async def _finish(case: Case, stage: Stage, pods: int, allowed: Permit, left: Split) -> StepState:
    """Write how the step ended: done only when the world says so. `pods`: how many it knew of."""
    counts = step(case.status, stage.name).counts
    if counts.get(ChangeState.WAITING):
        words = allowed.words(counts[ChangeState.WAITING], approve_command(case.id, stage.name))
        await case.journal.write(
            case.claim(Verdict(stage.condition, "False", "AwaitingApproval", words)),
            lambda s: with_step(s, stage.name, state=StepState.WAITING, message=words, pods=pods),
        )
        case.waiting[stage.name] = asyncio.get_running_loop().time()
        return StepState.WAITING
    await case.journal.write()
    undone = Verdict(stage.condition, "False", left.reason, left.words) if left.left else None
    verdict = undone or await _confirmed(case, stage, pods)
    state = StepState.DONE if verdict.holds else StepState.PARTIAL
    if counts.get(ChangeState.FAILED):
        state = StepState.FAILED
    was = step(case.status, stage.name)
    now = was.finished_at if was.finished_at and was.state is state else case.journal.now()
    await case.journal.write(
        case.claim(verdict),
        lambda s: without_refused(s, stage.name) if verdict.holds else s,
        lambda s: with_step(s, stage.name, state=state, finished_at=now, message=verdict.message, pods=pods),
    )
    return state


async def _confirmed(case: Case, stage: Stage, pods: int) -> Verdict:
    """Ask until the world says yes, patience ends or pods join, for which the stage runs again; then say the last."""
    verdict: Verdict | None = None
    answered, pause, patience = False, ASK_AGAIN, stage.patience(case)
    try:
        async with asyncio.timeout(patience):
            while len(case.status.pods) <= pods:
                verdict = await stage.confirm(case)
                answered = True
                if verdict is not None and (verdict.holds or verdict.settled or verdict.reason in _FINAL):
                    return verdict
                await asyncio.sleep(pause)
                pause = min(ASK_SELDOM, pause * 1.5)
    except TimeoutError:
        return verdict or _late(case, stage, patience, answered=answered)
    words = "pods joined before it was settled; it runs again for them"
    return verdict or Verdict(stage.condition, "False", "PodsJoined", words)


def _late(case: Case, stage: Stage, patience: float, *, answered: bool) -> Verdict:
    """Say what patience waited for in vain: workloads on their way, or an API server that did not even tell."""
    again = f"it is looked at again every {case.tools.settings.look_again_seconds:g} s"
    if answered:
        words = f"not all workloads are back after {patience:g} s; `kubectl describe` of their pods tells why; {again}"
        return Verdict(stage.condition, "False", "TimedOut", words)
    words = (
        f"the API server did not answer within {patience:g} s how it is now; {again}. "
        "If that stays so, find out what keeps the API server busy"
    )
    return Verdict(stage.condition, "Unknown", "CannotVerify", words)


_FINAL = frozenset(
    {"ByHand", "NoController", "CloudCredentialsLive", "CloudUnknown", "RevokedByHook", "TargetNotFound"}
)
