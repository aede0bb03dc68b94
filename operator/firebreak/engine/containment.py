"""Containment: the first cut at once, on every replica; then what is missing, detaching, and the verdict."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from firebreak.api import bounds
from firebreak.api.incident import Mode, Target
from firebreak.api.playbook import QUARANTINE, REPLACE, Quarantine, Replace
from firebreak.api.status import ChangeState, IncidentStatus, StepState, Timings
from firebreak.engine.case import Case, Tools, pin
from firebreak.engine.execute import Result, carry_out, send
from firebreak.kube import survey
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from firebreak.model.change import Change, Ref
from firebreak.model.facts import Network
from firebreak.model.incident import Incident
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.record import report, stamp, step, with_changes, with_step
from firebreak.model.tiers import needed
from firebreak.model.verdict import CONTAINED, Verdict
from firebreak.steps import quarantine, suspicion
from firebreak.steps.replace import known_good

log = structlog.get_logger()

REFUSED_AGAIN = 5.0  # seconds


@dataclass(frozen=True)
class Cut:
    """The first cut: which pods were answered for, and when the last answer came (`ended`: on the monotonic clock)."""

    pods: tuple[Pod, ...]
    at: str
    ended: float


async def cut(tools: Tools, incident: Incident) -> Cut:
    """Send what contains the target before anything else is read or written, not even the playbook.

    A named pod takes two calls at the same time. Idempotent: every replica may do it. No pod in the answer: none is
    there, or another one has its name.
    """
    target, began = incident.spec.target, time.monotonic()
    assert target  # noqa: S101 - mode Respond has a target
    pods = await (_label_and_deny(tools.api, incident) if target.pod else _cut_meant(tools.api, incident, target))
    ended = time.monotonic()
    if new := [p.name for p in pods if p.uid not in incident.status.pods]:  # a follower looks at the others again
        log.info("cut", pods=new, seconds=round(ended - began, 4))
    return Cut(pods, stamp(tools.clock()), ended)


async def _label_and_deny(api: Api, incident: Incident) -> tuple[Pod, ...]:
    assert incident.spec.target  # noqa: S101 - narrows the type
    uid = next(iter(incident.pod_uids), None)
    pod = Ref("Pod", incident.spec.target.pod or "", incident.id.namespace, uid)
    label, policy = quarantine.first_cut(incident.id, pod)
    labelled, applied = await asyncio.gather(send(api, label), send(api, policy), return_exceptions=True)
    if isinstance(applied, BaseException) and not isinstance(applied, AlreadyExists):
        raise applied
    if isinstance(labelled, NotFound | Conflict):
        return ()
    if isinstance(labelled, BaseException):
        raise labelled
    return (Pod(labelled),) if labelled else ()


async def _cut_meant(api: Api, incident: Incident, target: Target) -> tuple[Pod, ...]:
    """Cut all pods that a target means; return those that are cut now."""
    pods = await pods_to_cut(api, incident, target)
    failed = {r.change.target for r in await cut_pods(api, incident.id, pods) if r.state is ChangeState.FAILED}
    if any(ref.kind == "NetworkPolicy" for ref in failed):
        return ()  # without the policy no label cuts
    return tuple(p for p in pods if p.ref not in failed)


async def cut_pods(api: Api, incident: IncidentRef, pods: tuple[Pod, ...]) -> list[Result]:
    """Label the pods that lack the incident's key, with the policy beside them. Nothing when all have it."""
    labels = [quarantine.label(incident, pod.ref) for pod in pods if incident.label not in pod.labels]
    return await _send_all(api, [quarantine.deny_all(incident), *labels]) if labels else []


async def pods_to_cut(api: Api, incident: Incident, target: Target) -> tuple[Pod, ...]:
    """Return the pods that belong under quarantine now: no namesake of a pinned pod, and not the cure."""
    pods = await survey.target_pods(api, incident.id, target, incident.pod_uids)
    if target.pod:
        return pods
    images = cure(incident.status)
    return tuple(p for p in pods if p.uid in incident.status.pods or not (p.finished or known_good(p, images)))


def cure(status: IncidentStatus) -> Mapping[str, str]:
    """Return the known-good images once replacing has begun; before that, what looks like the cure may be theirs."""
    if not status.playbook or not step(status, REPLACE).attempts:
        return {}
    options = status.playbook.spec.options(REPLACE)
    return options.images if isinstance(options, Replace) else {}


async def contain(case: Case, recorded: Callable[[], None]) -> None:
    """Cut, record, detach, judge. Repeating it is harmless: it does what is missing, which is nothing when all holds.

    `recorded` is called as soon as the first cut is on record: capture may begin while this goes on.
    """
    target, api = case.incident.spec.target, case.tools.api
    assert target  # noqa: S101 - mode Respond has a target
    if not case.status.timings.cut_at:
        record_cut(case, await cut(case.tools, case.current))
    recorded()
    pods = await pods_to_cut(api, case.current, target)
    late = await cut_pods(api, case.id, pods)  # later pods, before anything is asked that may fail
    case.journal.note(lambda s: pin(s, pods))
    if late:
        _note(case, late)
        pods = await pods_to_cut(api, case.current, target)
    await case.journal.write(lambda s: hold(s, case.id, pods))  # from here on admission keeps others out
    facts = await survey.network(api, case.id, pods)
    detach = quarantine.detaching(target, case.options(QUARANTINE, Quarantine).detach)
    changes = tuple(quarantine.plan(facts, detach=detach))
    failures: list[str] = []
    if changes:
        await case.journal.write(
            lambda s: with_changes(s, QUARANTINE, {c.id: report(c, ChangeState.INTENDED) for c in changes})
        )
        results = await _send_all(api, changes)
        _note(case, results)
        failures = [f"{r.change.target}: {r.message}" for r in results if r.state is ChangeState.FAILED]
        facts = await survey.network(api, case.id, await pods_to_cut(api, case.current, target))
    await case.unguarded(needed(QUARANTINE))  # said only: what cuts a pod off takes nothing that cannot be given back
    await _conclude(case, facts, failures)


def _note(case: Case, results: Iterable[Result]) -> None:
    reports = {r.change.id: report(r.change, r.state, r.message) for r in results}
    case.journal.note(lambda s: with_changes(s, QUARANTINE, reports))


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
    incident, target = case.current, case.incident.spec.target
    if target and incident.spec.mode is Mode.PRESERVE:
        pods = await survey.target_pods(case.tools.api, case.id, target, incident.pod_uids)
        case.journal.note(lambda s: pin(s, pods))
    await case.journal.write(case.claim(not_requested(case)))


async def refused(case: Case, error: ApiError) -> float:
    """The API server refused the cut itself: say so, loudly, and try again soon."""
    remedy = needed(QUARANTINE).remedy
    words = f"the API server refused to let Firebreak cut the pod off: {error}; {remedy} grants the right"
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
    )


async def _send_all(api: Api, changes: Iterable[Change]) -> list[Result]:
    """Carry out Changes at the same time; one that fails does not hold up the others."""
    listed = list(changes)
    answers = await asyncio.gather(*(carry_out(api, c) for c in listed), return_exceptions=True)
    results = []
    for change, answer in zip(listed, answers, strict=True):
        if isinstance(answer, ApiError):
            results.append(Result(change, ChangeState.FAILED, answer.message))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results.append(answer)
    return results


async def _conclude(case: Case, facts: Network, failures: list[str]) -> None:
    there = {pod.uid for pod in facts.pods}
    gone = tuple(record.name for uid, record in case.status.pods.items() if uid not in there)
    facts = replace(facts, gone=gone)
    verdict = quarantine.judge(facts, case.tools.enforcement)
    if failures:
        verdict = replace(verdict, message=f"{verdict.message} ({'; '.join(failures)})")
    records = tuple(case.status.pods.values())
    suspects = suspicion.suspects(records)
    near, closed = await asyncio.gather(
        survey.neighbours(case.tools.api, suspects), survey.cordoned(case.tools.api, suspects)
    )
    now, was = case.journal.now(), step(case.status, QUARANTINE)
    state = StepState.RUNNING if verdict.reason in {"TargetNotFound", "NotCut"} else StepState.DONE
    finished = (was.finished_at or now) if state is StepState.DONE else None
    first = verdict.holds and not case.status.timings.contained_at
    await case.journal.write(
        case.claim(verdict),
        case.claim(suspicion.node(records, near, closed)),
        lambda s: with_step(s, QUARANTINE, state=state, message=verdict.message, finished_at=finished),
        lambda s: hold(s, case.id, facts.pods),
        lambda s: _timed(s, contained_at=now) if first else s,
    )


def hold(status: IncidentStatus, incident: IncidentRef, pods: tuple[Pod, ...]) -> IncidentStatus:
    """Record which pods are under quarantine now: admission reads it. Who is held already is not crowded out."""
    cut_off = {pod.name for pod in pods if incident.label in pod.labels}
    held = [*(name for name in status.held if name in cut_off), *sorted(cut_off - set(status.held))]
    return status.model_copy(update={"held": held[: bounds.PODS]})


def _timed(status: IncidentStatus, **moments: str) -> IncidentStatus:
    timings: Timings = status.timings.model_copy(update=moments)
    return status.model_copy(update={"timings": timings})
