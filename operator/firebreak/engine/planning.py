"""Mode Plan: what would be done, each Change with reason and risk. Nothing is touched but the incident's own status."""

from typing import Any

from firebreak.api.incident import Mode
from firebreak.api.playbook import CAPTURE, QUARANTINE, Approval, Capture, Detach, Quarantine
from firebreak.api.status import ChangeState, StepState
from firebreak.engine import containment, cutting
from firebreak.engine.case import Case, pin
from firebreak.engine.eradicate import STAGES
from firebreak.engine.journal import Journal
from firebreak.engine.permit import NOTHING_WAITS, gate, whole_plan
from firebreak.kube import survey
from firebreak.kube.errors import PERMANENT
from firebreak.model.change import Change
from firebreak.model.digest import plan_digest
from firebreak.model.pod import Pod
from firebreak.model.rails import Held
from firebreak.model.record import report, with_changes, with_step
from firebreak.model.tiers import needed
from firebreak.steps import capture, quarantine


async def run(case: Case) -> None:
    """Write the plan into the status."""
    target = case.incident.spec.target
    pods = await survey.target_pods(case.tools.api, case.id, target, case.incident.pod_uids) if target else ()
    facts = await survey.network(case.tools.api, case.id, pods)
    detach = quarantine.detaching(target, case.options(QUARANTINE, Quarantine).detach)
    plans: dict[str, tuple[Change, ...]] = {QUARANTINE: tuple(quarantine.plan(facts, detach=detach))}
    refused: dict[str, str] = {}
    trial = _trial(case, pods, detach=detach)
    named = {step.name for step in case.playbook.steps}
    for stage in STAGES:
        if stage.name in named:
            try:
                plans[stage.name] = await stage.plan(trial)
            except PERMANENT as error:
                refused[stage.name] = str(error)
    if case.incident.spec.mode is not Mode.PLAN:
        return  # people said Respond meanwhile: it must not write over what is under way
    waves = capture.plan(pods, files=bool(case.options(CAPTURE, Capture).paths))
    number = sum(len(wave) for wave in waves)
    words = f"{number} artifacts of {len(pods)} pods would be preserved" if target else "no target is named"
    case.journal.note(lambda s: with_step(s, CAPTURE, state=StepState.PENDING, message=words))
    for name, changes in plans.items():
        _note(case, name, changes)
    for name in {stage.name for stage in STAGES} - plans.keys():
        _note_nothing(case, name, refused.get(name))
    if held := await _held_back(case):
        words = f"a guard rail would hold it back ({held.rail}): {held.why}"
        case.journal.note(lambda s: with_step(s, QUARANTINE, message=words))
    await case.journal.write(case.claim(containment.not_requested(case)))


def _note_nothing(case: Case, name: str, error: str | None) -> None:
    """A step of which no Change could be shown was shown as nothing: what it would do later is another plan."""
    state, words = StepState.PENDING, f"playbook {case.incident.spec.playbook} does not have this step"
    if error:
        words = f"cannot be planned, for the API server refused: {error}; {needed(name).remedy} grants what it takes"
        state = StepState.BLOCKED
    nothing: dict[str, Any] = {"changes": {}, "counts": {}, "digest": None, "shown": whole_plan(case, name, ())}
    case.journal.note(lambda s: with_step(s, name, state=state, message=words, **nothing))


async def _held_back(case: Case) -> Held | None:
    """What would hold back the cut of this target. The breaker is not asked: it goes by what happens until then."""
    target, tools = case.incident.spec.target, case.tools
    held = tools.rails.before(case.incident) if target else None
    if held or target is None or target.pod:
        return held
    approved = NOTHING_WAITS if case.playbook.approval_of(QUARANTINE) is Approval.NEVER else None
    return await cutting.too_much(tools, case.incident, await cutting.meant(tools, case.incident), approved=approved)


def _trial(case: Case, pods: tuple[Pod, ...], *, detach: Detach) -> Case:
    """A copy of the case that has the pods on record as if it had begun; it is never written."""
    journal = Journal(case.tools.api, case.incident, case.playbook, case.tools.clock, case.tools.notices)
    journal.note(lambda s: pin(s, pods))
    after = tuple(quarantine.as_detached(p) if quarantine.detachable(p, detach) else p for p in pods)
    return Case(case.tools, journal, planned=after)


def _note(case: Case, name: str, changes: tuple[Change, ...]) -> None:
    approval = case.playbook.approval_of(name)
    reports = {c.id: report(c, gate(c, approval), c.refusal or "") for c in changes}
    waiting = [c for c in changes if reports[c.id].state is ChangeState.WAITING]
    words = f"{len(changes)} Changes planned, {len(waiting)} of them would wait for a person"
    fields = {
        "digest": plan_digest(case.id.uid, name, waiting) if waiting else None,
        "shown": whole_plan(case, name, changes),
    }
    case.journal.note(
        lambda s: with_step(s, name, state=StepState.PENDING, message=words, changes={}, **fields),
        lambda s: with_changes(s, name, reports),
    )
