"""What comes next: the pure question that the engine asks at every wake-up.

    quarantine ──► capture ──► (sealed) ──► rotate ──► replace
        ├────────► revoke
        └────────► cordon

Whatever a playbook's order says, the cut is first, taking rights away and closing a node to new pods destroys nothing
and waits for no disk copy, and nothing that destroys state runs before the seal.
"""

from firebreak.api.incident import IncidentSpec, Mode
from firebreak.api.playbook import CAPTURE, CORDON, QUARANTINE, REVOKE, PlaybookSpec
from firebreak.api.status import IncidentStatus, StepState
from firebreak.model.record import ENDED, step

ALWAYS = {Mode.RESPOND: (QUARANTINE, CAPTURE), Mode.PRESERVE: (CAPTURE,), Mode.PLAN: ()}
DESTROYS_NOTHING = frozenset({QUARANTINE, CORDON, CAPTURE, REVOKE})
PLAN_JOB = "plan"  # mode Plan's only job: writes what would be done


def steps_of(spec: IncidentSpec, playbook: PlaybookSpec, status: IncidentStatus) -> tuple[str, ...]:
    """Return the steps of a response in order: those that the mode always runs, then the playbook's others.

    What a guard rail holds back is preserved, and nothing more.
    """
    always = ALWAYS[spec.mode]
    if spec.mode is not Mode.RESPOND or status.held_back:
        return always
    return (*always, *(s.name for s in playbook.steps if s.name not in always))


def ready(spec: IncidentSpec, status: IncidentStatus, playbook: PlaybookSpec) -> tuple[str, ...]:
    """Return the steps that may run now. Each is asked again, whatever came of it: the world may have moved."""
    if spec.mode is Mode.PLAN:
        return (PLAN_JOB,)
    names = steps_of(spec, playbook, status)
    return tuple(name for name in names if name == QUARANTINE or may_run(name, names, status))


def may_run(name: str, names: tuple[str, ...], status: IncidentStatus) -> bool:
    """Return whether a step other than the quarantine, one of `names` in their order, may run now."""
    if name == CAPTURE and step(status, name).state in ENDED and not joined(name, status):
        return False  # what is sealed stays sealed, gaps and all
    if QUARANTINE in names and not step(status, QUARANTINE).attempts:
        return False  # the cut has not been tried yet: nothing goes before it
    if name in DESTROYS_NOTHING:
        return True
    return sealed(status) and not _earlier_busy(name, names, status)


def joined(name: str, status: IncidentStatus) -> bool:
    """Return whether pods joined the incident since a step, which is not the quarantine, ended last."""
    return _unsealed(status) if name == CAPTURE else step(status, name).pods < len(status.pods)


def sealed(status: IncidentStatus) -> bool:
    """Return whether the evidence of every pod was sealed and read back, later ones included."""
    return bool(status.evidence and status.evidence.seal) and not _unsealed(status)


def _unsealed(status: IncidentStatus) -> bool:
    return any(not pod.sealed for pod in status.pods.values())


def _earlier_busy(name: str, names: tuple[str, ...], status: IncidentStatus) -> bool:
    """Whether a step before this one is still on its way by itself; one that waits for a person holds nobody up."""
    earlier = [n for n in names[: names.index(name)] if n not in DESTROYS_NOTHING]
    return any(step(status, n).state in {StepState.PENDING, StepState.RUNNING} for n in earlier)
