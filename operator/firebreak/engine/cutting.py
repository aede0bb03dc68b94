"""The first cut, at once and on every replica: which pods are meant, what a guard rail holds back, the calls."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from firebreak.api.incident import Mode
from firebreak.api.playbook import REPLACE, Drift, Replace
from firebreak.api.status import ChangeState, IncidentStatus
from firebreak.engine.case import Tools
from firebreak.engine.execute import Result, carry_out, send
from firebreak.kube import protected, survey
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, ApiError, Conflict, NotFound, Unauthorized
from firebreak.kube.lanes import Lane, lane
from firebreak.model.approving import Ruling
from firebreak.model.change import Change, Ref
from firebreak.model.incident import Incident
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.rails import Held
from firebreak.model.record import stamp, step
from firebreak.steps import quarantine, rails
from firebreak.steps.replace import known_good

log = structlog.get_logger()


@dataclass(frozen=True)
class Cut:
    """The first cut: which pods were answered for, and when the last answer came (`ended`: on the monotonic clock).

    `spared`: whether others of the target are protected and were left.
    """

    pods: tuple[Pod, ...]
    at: str
    ended: float
    spared: bool


@dataclass(frozen=True)
class Meant:
    """The pods that a target means now: those to cut, and why others are spared, by name."""

    pods: tuple[Pod, ...]
    protected: tuple[Pod, ...] = ()
    spared: Mapping[str, str] = field(default_factory=dict)


def uncut(incident: Incident) -> bool:
    """Return whether nobody has cut yet what is to be cut, or decided that a guard rail holds it back."""
    status = incident.status
    waits = incident.closed or status.timings.cut_at or status.held_back
    return incident.spec.mode is Mode.RESPOND and not waits


def grows(incident: Incident) -> bool:
    """Return whether pods may join that any replica is to cut.

    With `drift: Report` they are a person's to cut, and where a guard rail holds something back the leader's.
    """
    target, status = incident.spec.target, incident.status
    if incident.spec.mode is not Mode.RESPOND or incident.closed or status.held_back:
        return False
    reports = status.playbook is not None and status.playbook.spec.drift is Drift.REPORT
    return target is not None and target.pod is None and not reports


async def cut(tools: Tools, incident: Incident, *, approved: Ruling | None = None) -> Cut | Held:
    """Send what contains the target before anything else is read or written, not even the playbook.

    A named pod takes two calls at the same time. Idempotent: every replica may do it. No pod in the answer: none is
    there, or another one has its name. What a guard rail holds back is not sent; `approved`: what empties a Service
    is, by this ruling. An automatic one may wait for the sizes that the breaker goes by.
    """
    target, began = incident.spec.target, time.monotonic()
    assert target  # noqa: S101 - mode Respond has a target
    with lane(Lane.CUT):
        await tools.rails.size(tools.api, incident)
        if held := tools.rails.before(incident):
            return held
        done = await (_label_and_deny(tools.api, incident) if target.pod else _cut_meant(tools, incident, approved))
    if isinstance(done, Held):
        return done
    ended = time.monotonic()
    if new := [p.name for p in done.pods if p.uid not in incident.status.pods]:  # a follower looks at the others again
        log.info("cut", pods=new, seconds=round(ended - began, 4))
    return Cut(done.pods, stamp(tools.clock()), ended, bool(done.spared))


async def _label_and_deny(api: Api, incident: Incident) -> Meant:
    assert incident.spec.target  # noqa: S101 - narrows the type
    uid = next(iter(incident.pod_uids), None)
    pod = Ref("Pod", incident.spec.target.pod or "", incident.id.namespace, uid)
    label, policy = quarantine.first_cut(incident.id, pod)
    labelled, applied = await asyncio.gather(send(api, label), send(api, policy), return_exceptions=True)
    if isinstance(applied, BaseException) and not isinstance(applied, AlreadyExists):
        raise applied
    if isinstance(labelled, NotFound | Conflict):
        return Meant(())
    if isinstance(labelled, BaseException):
        raise labelled
    return Meant((Pod(labelled),) if labelled else ())


async def _cut_meant(tools: Tools, incident: Incident, approved: Ruling | None) -> Meant | Held:
    """Cut all pods that a target means; return those that are cut now."""
    found = await meant(tools, incident)
    if held := await too_much(tools, incident, found, approved=approved):
        return held
    changes, first = labels(incident.id, found.pods), bool(found.pods) and uncut(incident)
    results = await cut_pods(tools.api, incident.id, changes, first=first)
    failed = {r.change.target for r in results if r.state is ChangeState.FAILED}
    if any(ref.kind == "NetworkPolicy" for ref in failed):
        return Meant(())  # without the policy no label cuts
    return Meant(tuple(p for p in found.pods if p.ref not in failed), spared=found.spared)


async def too_much(tools: Tools, incident: Incident, found: Meant, *, approved: Ruling | None) -> Held | None:
    """Return what holds back a cut of many pods: all protected, a Service that would be left with none, the breaker."""
    if not found.pods:
        return rails.shield(incident.id, found.spared) if found.spared else None
    if held := tools.rails.decided(incident):
        return held
    if approved is None:
        services = rails.emptied(found.pods, await protected.behind(tools.api, incident.id.namespace, found.pods))
        if services:
            return rails.all_behind(services)
    by_a_person = approved is not None and bool(approved.by)
    return tools.rails.breaker(incident, [pod.name for pod in found.pods], by_a_person=by_a_person)


def labels(incident: IncidentRef, pods: Iterable[Pod]) -> tuple[Change, ...]:
    """Return the Changes that label the pods which lack the incident's key."""
    return tuple(quarantine.label(incident, pod.ref) for pod in pods if incident.label not in pod.labels)


async def cut_pods(
    api: Api, incident: IncidentRef, changes: tuple[Change, ...], *, first: bool = False
) -> list[Result]:
    """Label pods, with the policy beside them. Nothing when there are none to label.

    `first`: the policy all the same, for an earlier try may have come no further than the labels.
    """
    if not (changes or first):
        return []
    with lane(Lane.CUT):
        return await send_all(api, [quarantine.deny_all(incident), *changes])


async def meant(tools: Tools, incident: Incident) -> Meant:
    """Return the pods that belong under quarantine now: no namesake of a pinned pod, not the cure, none protected."""
    target = incident.spec.target
    assert target  # noqa: S101 - mode Respond has a target
    pods = await survey.target_pods(tools.api, incident.id, target, incident.pod_uids)
    if target.pod:  # decided before the cut
        return Meant(pods)
    images = cure(incident.status)
    there = [p for p in pods if p.uid in incident.status.pods or not (p.finished or known_good(p, images))]
    spared = tools.rails.spare(incident, [p for p in there if incident.id.label not in p.labels])
    return Meant(tuple(p for p in there if p.name not in spared), tuple(p for p in there if p.name in spared), spared)


def cure(status: IncidentStatus) -> Mapping[str, str]:
    """Return the known-good images once replacing has begun; before that, what looks like the cure may be theirs."""
    if not status.playbook or not step(status, REPLACE).attempts:
        return {}
    options = status.playbook.spec.options(REPLACE)
    return options.images if isinstance(options, Replace) else {}


async def send_all(api: Api, changes: Iterable[Change]) -> list[Result]:
    """Carry out Changes at the same time; one that fails does not hold up the others."""
    listed = list(changes)
    answers = await asyncio.gather(*(carry_out(api, c) for c in listed), return_exceptions=True)
    results = []
    for change, answer in zip(listed, answers, strict=True):
        if isinstance(answer, ApiError) and not isinstance(answer, Unauthorized):
            results.append(Result(change, ChangeState.FAILED, answer.message))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results.append(answer)
    return results
