"""What may be claimed: a verdict is a condition in the making; `conclude` derives the overall ones from the record."""

from dataclasses import dataclass
from typing import Literal

from firebreak.api import bounds
from firebreak.api.base import Condition
from firebreak.api.incident import IncidentSpec, Mode
from firebreak.api.playbook import CAPTURE, CORDON, QUARANTINE, REPLACE, REVOKE, ROTATE
from firebreak.api.status import ChangeState, IncidentStatus, Phase, StepReport, StepState
from firebreak.model.names import IncidentRef
from firebreak.model.plan import joined, may_run
from firebreak.model.record import ENDED, step
from firebreak.model.words import listed

CONTAINED = "Contained"
IDENTITY = "IdentityContained"
EVIDENCE = "EvidencePreserved"
ROTATED = "SecretsRotated"
RECOVERED = "Recovered"
NODE = "NodeSuspect"
CORDONED = "NodeCordoned"
READY, RECONCILING, STALLED, ACTION = "Ready", "Reconciling", "Stalled", "ActionRequired"
GUARD_MISSING = "GuardMissing"  # the reason when admission does not fence our own account: nothing strong is done


@dataclass(frozen=True)
class Verdict:
    """What a look at the world says: a condition without its times."""

    condition: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    settled: bool = False
    """Whether nothing that is under way can change it, so that asking again soon is of no use."""

    @property
    def holds(self) -> bool:
        """Whether it is verified."""
        return self.status == "True"


def record(status: IncidentStatus, verdict: Verdict, *, now: str, generation: int) -> IncidentStatus:
    """Return the status with a verdict set as condition; its transition time moves only when its status does."""
    old = status.condition(verdict.condition)
    new = Condition(
        type=verdict.condition,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message[: bounds.MESSAGE],
        last_transition_time=old.last_transition_time if old and old.status == verdict.status else now,
        observed_generation=generation,
    )
    others = [c for c in status.conditions if c.type != verdict.condition]
    return status.model_copy(update={"conditions": sorted([*others, new], key=lambda c: c.type)})


def conclude(
    incident: IncidentRef,
    spec: IncidentSpec,
    status: IncidentStatus,
    steps: tuple[str, ...],
    *,
    problem: str,
    now: str,
    generation: int,
    unguarded: tuple[str, ...] = (),
) -> IncidentStatus:
    """Return the status with phase, message, table columns and the overall conditions derived from the rest."""
    status = _not_yet(status, now=now, generation=generation)
    closed = status.phase is Phase.CLOSED  # nothing moves, sticks or waits any more
    reports = {} if closed else {name: step(status, name) for name in steps}
    waiting = {n: r for n, r in reports.items() if r.state is StepState.WAITING}
    stuck = [f"{n}: {r.message}" for n, r in reports.items() if r.state in {StepState.BLOCKED, StepState.FAILED}]
    open_ = () if closed else unguarded
    stuck += [] if closed else _beside(stuck, problem, open_)
    busy = [n for n, r in reports.items() if _moves(n, r, steps, status)]
    if not busy and not stuck:
        stuck = [f"{n}: waits for evidence to be sealed" for n, r in reports.items() if r.state is StepState.PENDING]
    needs = [] if closed else _needs(incident, spec, status, waiting, reports)
    stalled = _stalled(stuck, guarded=not open_)
    for verdict in (_reconciling(busy), stalled, _action_required(needs), _ready(busy, stuck)):
        status = record(status, verdict, now=now, generation=generation)
    return status.model_copy(
        update={
            "phase": _phase(spec, status, busy, waiting, stuck),
            "message": summary(incident, status, needs),
            "waiting_for": ("approval: " + ", ".join(waiting) if waiting else "; ".join(needs))[: bounds.CELL],
            "target": str(spec.target or "")[: bounds.CELL],
            "observed_generation": generation,
        }
    )


def _beside(stuck: list[str], problem: str, unguarded: tuple[str, ...]) -> list[str]:
    """What is wrong beside the steps: with the playbook, and with guards that no blocked step speaks of."""
    return [*filter(None, [problem]), *(w for w in unguarded if not any(w in said for said in stuck))]


def _reconciling(busy: list[str]) -> Verdict:
    if busy:
        return Verdict(RECONCILING, "True", "Running", f"at work: {', '.join(busy)}")
    return Verdict(RECONCILING, "False", "Settled", "nothing more to do without a person")


def _stalled(stuck: list[str], *, guarded: bool) -> Verdict:
    if stuck:
        return Verdict(STALLED, "True", "StepStuck" if guarded else GUARD_MISSING, "; ".join(stuck))
    return Verdict(STALLED, "False", "Moving", "no step is stuck")


def _action_required(needs: list[str]) -> Verdict:
    if needs:
        return Verdict(ACTION, "True", "WaitingForPerson", "; ".join(needs))
    return Verdict(ACTION, "False", "Nothing", "no person is waited for")


def _ready(busy: list[str], stuck: list[str]) -> Verdict:
    if busy:
        return Verdict(READY, "False", "Responding", f"at work: {', '.join(busy)}")
    if stuck:
        return Verdict(READY, "False", "StepStuck", "; ".join(stuck))
    return Verdict(READY, "True", "Responded", "everything that may be done without a person is done")


def _moves(name: str, report: StepReport, steps: tuple[str, ...], status: IncidentStatus) -> bool:
    """Whether a step is at work or next. One that waits for another only is not: that other one is, or is stuck."""
    may_begin = name == QUARANTINE or may_run(name, steps, status)
    return report.state is StepState.RUNNING or (report.state is StepState.PENDING and may_begin)


def _not_yet(status: IncidentStatus, *, now: str, generation: int) -> IncidentStatus:
    """Pods that joined after a step ended are not in its claim: it must not speak for them."""
    for name, kind, reason, words in _SPEAKS_FOR_ALL:
        claimed = status.condition(kind)
        if claimed and claimed.status == "True" and joined(name, status):
            late = sorted(pod.name for pod in status.pods.values() if not pod.sealed) if name == CAPTURE else []
            of = f" of {listed(late)}, which" if late else " of the pods that"
            verdict = Verdict(kind, "False", reason, f"{words}{of} joined since")
            status = record(status, verdict, now=now, generation=generation)
    return status


_SPEAKS_FOR_ALL = (
    (CAPTURE, EVIDENCE, "Capturing", "sealed, but not yet"),
    (CORDON, CORDONED, "Cordoning", "cordoned, but not yet the nodes"),
    (REVOKE, IDENTITY, "Revoking", "revoked, but not yet the rights"),
    (ROTATE, ROTATED, "Rotating", "rotated, but not yet the secrets"),
    (REPLACE, RECOVERED, "Replacing", "back, but not yet the workloads"),
)
UNDERWAY = frozenset(reason for _, _, reason, _ in _SPEAKS_FOR_ALL)  # reasons that last until a step has caught up


def _phase(
    spec: IncidentSpec,
    status: IncidentStatus,
    busy: list[str],
    waiting: dict[str, StepReport],
    stuck: list[str],
) -> Phase:
    if status.phase is Phase.CLOSED:
        return Phase.CLOSED
    if spec.mode is Mode.PLAN:
        return Phase.PLANNED
    if busy:
        return _BUSY_PHASE.get(busy[0], Phase.ERADICATING)
    if stuck:
        return Phase.STALLED
    return Phase.WAITING if waiting else Phase.RESPONDED


_BUSY_PHASE = {QUARANTINE: Phase.CONTAINING, CORDON: Phase.CONTAINING, CAPTURE: Phase.PRESERVING}


def approve_command(incident: IncidentRef, name: str) -> str:
    """Return the command by which a person approves what waits of a step."""
    return f"firebreak approve {incident.name} {name} -n {incident.namespace}"


def _needs(
    incident: IncidentRef,
    spec: IncidentSpec,
    status: IncidentStatus,
    waiting: dict[str, StepReport],
    reports: dict[str, StepReport],
) -> list[str]:
    """What a person has to do, in words."""
    needs = [
        f"approve {name} ({_count(report, ChangeState.WAITING)}): {approve_command(incident, name)}"
        for name, report in waiting.items()
    ]
    manual = [n for n, r in reports.items() if r.state in ENDED and _count(r, ChangeState.MANUAL) != "0 Changes"]
    needs.extend(f"do by hand: {name} ({_count(reports[name], ChangeState.MANUAL)})" for name in manual)
    contained = status.condition(CONTAINED)
    if contained and contained.reason in _CUT_BY_HAND:
        needs.append(_CUT_BY_HAND[contained.reason])
    identity = status.condition(IDENTITY)
    if identity and identity.reason in _IDENTITY_BY_HAND:
        needs.append(_IDENTITY_BY_HAND[identity.reason])
    if spec.mode is Mode.PLAN:
        needs.append("set spec.mode to Respond to carry the plan out")
    return needs


_IDENTITY_BY_HAND = {
    "CloudCredentialsLive": "revoke the cloud role's sessions",
    "CloudUnknown": "check what the cloud grants the account",
    "RevokedByHook": "check in the cloud what the hook says it revoked",
    "RightsRemain": "take away the rights that remain",
    "Undone": "take away the rights that were put back",
    "KeepsChanging": "find out who keeps putting the rights back",
}
_CUT_BY_HAND = {
    "HostNetwork": "cut the node off: no policy applies to the pod",
    "AllowedByOtherPolicies": "remove the policies that still allow traffic",
    "NotEnforced": "cut the pod off by other means: this cluster enforces no policy",
    "OtherPolicyEngines": "check the other policy engines",
    "EnforcementUnproven": "run firebreak preflight",
    "Protected": "decide about what is protected",
    "BreakerOpen": "decide whether to cut: the breaker is open",
    "Undone": "do again what was undone",
    "KeepsChanging": "find out who keeps undoing the cut",
}


def _count(report: StepReport, state: ChangeState) -> str:
    number = report.counts.get(state, 0)
    return f"{number} Change{'' if number == 1 else 's'}"


def summary(incident: IncidentRef, status: IncidentStatus, needs: list[str]) -> str:
    """Return the sentences that a person reads first."""
    parts = [_say(condition) for kind in _SAID if (condition := status.condition(kind))]
    if needs:
        parts.append(f"Waits for you: {'; '.join(needs)} (firebreak status {incident.name} -n {incident.namespace})")
    return ". ".join(part for part in parts if part)[: bounds.MESSAGE]


# In words: what a condition means when it is True, False, Unknown. Empty: not worth a sentence.
_SAID = {
    CONTAINED: ("Cut off", "NOT cut off", "Cut off: UNKNOWN"),
    EVIDENCE: ("Evidence sealed", "Evidence NOT complete", "Evidence: UNKNOWN"),
    IDENTITY: ("Rights revoked", "Rights NOT revoked", "Rights: UNKNOWN"),
    ROTATED: ("Secrets rotated", "Secrets NOT rotated", "Secrets: UNKNOWN"),
    RECOVERED: ("Workload back", "Workload NOT back", "Workload: UNKNOWN"),
    NODE: ("NODE SUSPECT", "", "Node: UNKNOWN"),
    CORDONED: ("Nodes closed to new pods", "Nodes NOT closed to new pods", "Nodes: UNKNOWN"),
}


def _say(condition: Condition) -> str:
    true, false, unknown = _SAID[condition.type]
    if condition.status == "True":
        return f"{true} since {condition.last_transition_time[:19]}Z ({condition.message})"
    words = false if condition.status == "False" else unknown
    return f"{words}: {condition.message}" if words else ""
