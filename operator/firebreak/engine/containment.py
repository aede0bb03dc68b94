"""Containment: the first cut on record; then what is missing, detaching, what others undo, and the verdict."""

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from firebreak.api import bounds
from firebreak.api.incident import Mode, Rail
from firebreak.api.playbook import QUARANTINE, Quarantine
from firebreak.api.status import ChangeState, IncidentStatus, StepState, Timings
from firebreak.engine.case import Case, pin
from firebreak.engine.cutting import Cut, Meant, cut, cut_pods, labels, meant, send_all
from firebreak.engine.execute import Result
from firebreak.engine.permit import Permit, permit
from firebreak.engine.undone import Split, split
from firebreak.kube import survey
from firebreak.kube.errors import NO_RIGHT, ApiError
from firebreak.model.facts import Network
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.rails import Held
from firebreak.model.record import report, step, with_changes, with_step
from firebreak.model.tiers import needed
from firebreak.model.verdict import CONTAINED, Verdict, approve_command
from firebreak.steps import drift, quarantine, suspicion

log = structlog.get_logger()

REFUSED_AGAIN = 5.0  # seconds
LONGEST_FIGHT = 10.0  # seconds between two tries to cut what somebody frees again and again


async def contain(case: Case, recorded: Callable[[], None]) -> float | None:
    """Cut, record, detach, judge. Repeating it is harmless: it does what is missing, which is nothing when all holds.

    `recorded` is called as soon as the first cut is on record: capture may begin while this goes on. Returns the
    seconds until the next try when somebody keeps undoing it.
    """
    target, api = case.incident.spec.target, case.tools.api
    assert target  # noqa: S101 - mode Respond has a target
    late = "quarantine" if case.status.timings.cut_at else ""  # what is cut from now on was not there at the cut
    if not late and not await _cut_first(case, recorded):
        return None
    recorded()
    found = await meant(case.tools, case.current)
    apart = partial(split, case, QUARANTINE, longest=LONGEST_FIGHT, late=late)
    early = apart(labels(case.id, found.pods), say=partial(drift.undone, facts=Network(case.id, found.pods)))
    results = await cut_pods(api, case.id, early.now)  # later pods, before anything is asked that may fail
    case.journal.note(lambda s: pin(s, (*found.pods, *found.protected)))
    if results:
        _note(case, results)
        found = await meant(case.tools, case.current)
    await case.journal.write(lambda s: hold(s, case.id, found.pods))  # from here on admission keeps others out
    facts = await _facts(case, found)
    detach = quarantine.detaching(target, case.options(QUARANTINE, Quarantine).detach)
    planned = tuple(quarantine.plan(facts, detach=detach))
    _settle(case, facts, {change.id for change in planned})
    todo = apart(planned, say=partial(drift.undone, facts=facts))
    failures: list[str] = []
    if todo.now:
        await case.journal.write(
            lambda s: with_changes(s, QUARANTINE, {c.id: report(c, ChangeState.INTENDED) for c in todo.now})
        )
        results = await send_all(api, todo.now)
        _note(case, results)
        failures = [f"{r.change.target}: {r.message}" for r in results if r.state is ChangeState.FAILED]
        facts = await _facts(case, await meant(case.tools, case.current))
    await case.unguarded(needed(QUARANTINE))  # said only: what cuts a pod off takes nothing that cannot be given back
    await _conclude(case, facts, failures, todo)
    return todo.pause


async def _facts(case: Case, found: Meant) -> Network:
    return replace(await survey.network(case.tools.api, case.id, found.pods), spared=found.spared)


async def _cut_first(case: Case, recorded: Callable[[], None]) -> bool:
    """Make the first cut, unless a guard rail holds it back: then nothing is cut, and evidence is all."""
    first = await cut(case.tools, case.current)
    if isinstance(first, Held):
        pods = await _record_uncut(case)
        if first.rail is Rail.BREAKER and any(case.id.label in pod.labels for pod in pods):
            case.tools.rails.let_pass(case.id)  # as another replica did: what is cut is not said to be held back
            first = await cut(case.tools, case.current)
    allowed: Permit | None = None
    if isinstance(first, Held) and first.services:
        was = step(case.status, QUARANTINE).model_copy(update={"shown": None})  # by mode Plan: each pod, not the whole
        allowed = await permit(case, QUARANTINE, was, [quarantine.whole_cut(case.id, first)], set())
        if allowed.ruling.granted:
            first = await cut(case.tools, case.current, approved=allowed.ruling)
    if isinstance(first, Held):
        await _hold_back(case, first, allowed)
        recorded()
        return False
    record_cut(case, first)
    if allowed:
        case.journal.note(lambda s: with_step(s, QUARANTINE, **allowed.fields))
    return True


async def _hold_back(case: Case, held: Held, waits: Permit | None) -> None:
    """Say which guard rail holds the cut back; the pods are on record, to be preserved."""
    if case.status.held_back is not held.rail:
        case.tools.metrics.held_back.labels(held.rail).inc()
        log.warning("not cut: a guard rail holds it back", rail=held.rail, reason=held.why)
    words, planned, was = held.why, {}, step(case.status, QUARANTINE)
    fields: dict[str, Any] = {"state": StepState.PARTIAL, "attempts": 1}
    if waits:
        change = quarantine.whole_cut(case.id, held)
        words = f"{held.why}; {waits.words(1, approve_command(case.id, QUARANTINE))}"
        planned, fields = {change.id: report(change, ChangeState.WAITING)}, fields | waits.fields
        fields["state"] = StepState.WAITING
    fields |= {"started_at": was.started_at or case.journal.now(), "message": words}
    await case.journal.write(
        case.claim(Verdict(CONTAINED, "False", held.rail, words)),
        lambda s: s.model_copy(update={"held_back": held.rail}),
        lambda s: with_changes(s, QUARANTINE, planned),
        lambda s: with_step(s, QUARANTINE, **fields),
    )


async def _record_uncut(case: Case) -> Iterable[Pod]:
    """Put the pods of a target that is not cut on record, those that join later too: they are captured. Return them."""
    target = case.incident.spec.target
    if target is None:
        return ()
    pods = await survey.target_pods(case.tools.api, case.id, target, case.current.pod_uids)
    case.journal.note(lambda s: pin(s, pods))
    return pods


def _note(case: Case, results: Iterable[Result]) -> None:
    reports = {r.change.id: report(r.change, r.state, r.message) for r in results}
    case.journal.note(lambda s: with_changes(s, QUARANTINE, reports))


def _settle(case: Case, facts: Network, missing: AbstractSet[str]) -> None:
    """What was begun for a pod that is there, and is missing no longer, is done: its answer was lost, or its writer."""
    there = {str(pod.ref) for pod in facts.pods}
    begun = {ChangeState.INTENDED, ChangeState.FAILED}
    settled = {
        key: was.model_copy(update={"state": ChangeState.DONE, "message": ""})
        for key, was in step(case.status, QUARANTINE).changes.items()
        if was.state in begun and was.object in there and key not in missing
    }
    case.journal.note(lambda s: with_changes(s, QUARANTINE, settled))


async def unverified(case: Case, error: ApiError) -> float:
    """What was cut cannot be looked at any more: the last word must not stay True."""
    words = f"whether the pods are still cut off could not be read: {error}"
    await case.block(QUARANTINE, Verdict(CONTAINED, "Unknown", "CannotVerify", words))
    return REFUSED_AGAIN


def not_requested(case: Case) -> Verdict:
    """What the modes that cut nothing say of containment."""
    words = f"mode {case.incident.spec.mode} changes nothing about the pods"
    return Verdict(CONTAINED, "False", "NotRequested", words)


async def leave_uncut(case: Case) -> None:
    """Modes that cut nothing say so; their pods are put on record here, those that join later too."""
    if case.incident.spec.mode is Mode.PRESERVE:
        await _record_uncut(case)
    await case.journal.write(case.claim(not_requested(case)))


async def refused(case: Case, error: ApiError) -> float:
    """The API server refused the cut itself: say so, loudly, and try again soon."""
    words = f"the API server refused to let Firebreak cut the pod off: {error}"
    if NO_RIGHT in error.message:
        words = f"{words}; {needed(QUARANTINE).remedy} grants the right"
    await case.block(QUARANTINE, Verdict(CONTAINED, "False", "Refused", words))
    return REFUSED_AGAIN


def record_cut(case: Case, first: Cut) -> None:
    """Put the first cut on record, in memory; the next write carries it. Nobody there: nothing was cut yet."""
    was = step(case.status, QUARANTINE)
    if case.seen is not None and first.pods and not was.attempts:
        case.tools.metrics.contain_seconds.observe(first.ended - case.seen)
    changes = [quarantine.deny_all(case.id), *(quarantine.label(case.id, pod.ref) for pod in first.pods)]
    case.journal.note(
        lambda s: pin(s, first.pods),
        lambda s: with_step(s, QUARANTINE, state=StepState.RUNNING, started_at=was.started_at or first.at, attempts=1),
        lambda s: with_changes(s, QUARANTINE, {c.id: report(c, ChangeState.DONE) for c in changes}),
        lambda s: _timed(s, cut_at=first.at) if first.pods else s,
        lambda s: s.model_copy(update={"held_back": Rail.PROTECTED if first.spared else None}),
    )


async def _conclude(case: Case, facts: Network, failures: list[str], left: Split) -> None:
    there = {pod.uid for pod in facts.pods}
    records = case.status.pods
    gone = tuple(r.name for uid, r in records.items() if uid not in there and r.name not in facts.spared)
    facts = replace(facts, gone=gone)
    verdict = quarantine.judge(facts, case.tools.enforcement)
    if left.left:
        uncut = verdict.reason == "NotCut"
        verdict = (
            Verdict(CONTAINED, "False", left.reason, left.words)
            if uncut
            else replace(verdict, message=f"{verdict.message}. Undone: {left.words}")
        )
    if failures:
        verdict = replace(verdict, message=f"{verdict.message} ({'; '.join(failures)})")
    suspects = suspicion.suspects(records.values())
    near, closed = await asyncio.gather(
        survey.neighbours(case.tools.api, suspects), survey.cordoned(case.tools.api, suspects)
    )
    now, was = case.journal.now(), step(case.status, QUARANTINE)
    state = _STATES.get(verdict.reason, StepState.DONE)
    held_back = Rail.PROTECTED if facts.spared else None
    finished = (was.finished_at or now) if state is StepState.DONE else None
    first = verdict.holds and not case.status.timings.contained_at
    await case.journal.write(
        case.claim(verdict),
        case.claim(suspicion.node(records.values(), near, closed)),
        lambda s: with_step(s, QUARANTINE, state=state, message=verdict.message, finished_at=finished),
        lambda s: hold(s, case.id, facts.pods),
        lambda s: s.model_copy(update={"held_back": held_back}),
        lambda s: _timed(s, contained_at=now) if first else s,
    )


_STATES = {
    "TargetNotFound": StepState.RUNNING,
    "NotCut": StepState.RUNNING,
    "Undone": StepState.PARTIAL,
    "KeepsChanging": StepState.PARTIAL,
    Rail.PROTECTED: StepState.PARTIAL,
}


def hold(status: IncidentStatus, incident: IncidentRef, pods: tuple[Pod, ...]) -> IncidentStatus:
    """Record which pods are under quarantine now: admission reads it. Who is held already is not crowded out."""
    cut_off = {pod.name for pod in pods if incident.label in pod.labels}
    held = [*(name for name in status.held if name in cut_off), *sorted(cut_off - set(status.held))]
    return status.model_copy(update={"held": held[: bounds.PODS]})


def _timed(status: IncidentStatus, **moments: str) -> IncidentStatus:
    timings: Timings = status.timings.model_copy(update=moments)
    return status.model_copy(update={"timings": timings})
