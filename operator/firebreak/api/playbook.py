"""The `Playbook`: administrators say which steps run, with which options, and what waits for a person."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from firebreak.api.base import EXACTLY_ONE, AbsolutePath, Written

DEFAULT_PATHS = ("/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/etc")  # noqa: S108 - where intruders leave things

Image = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\s]+$")]


class Approval(StrEnum):
    """Which Changes wait for a person."""

    NEVER = "Never"
    WHEN_RISKY = "WhenRisky"
    ALWAYS = "Always"


class Detach(StrEnum):
    """Which pods are detached from their controller and Services."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class Drift(StrEnum):
    """What happens when somebody undoes what was done."""

    REAPPLY = "Reapply"
    REPORT = "Report"


class StepOptions(Written):
    """What every step has."""

    approval: Approval | None = Field(default=None, description="Overrides the playbook's `approval` for this step.")


class Quarantine(StepOptions):
    """Cut the pods off from the network. Runs first in mode Respond, whether or not the playbook names it."""

    detach: Detach = Field(
        default=Detach.AUTO,
        description="Whether a pod that the target names loses its own labels, so that Services drop it. `Auto`: a "
        "ReplicaSet's, which makes a fresh one. `Always`: any; a StatefulSet makes no other of that name.",
    )


class Cordon(StepOptions):
    """Keep new pods off the nodes that the pods had a way to. What runs there goes on; nothing is drained."""


class Capture(StepOptions):
    """Preserve evidence in the object store."""

    paths: list[AbsolutePath] = Field(
        default=list(DEFAULT_PATHS),
        max_length=64,
        description="Paths copied from every container, besides its working directory. Empty: no file copy.",
    )
    max_bytes: int = Field(
        default=20 * 2**30,
        ge=1,
        le=2**40,
        description="Bound of one artifact in bytes; beyond it is Partial.",
    )
    timeout_seconds: int = Field(default=1800, ge=1, le=86400, description="Bound of one artifact in seconds.")


class Revoke(StepOptions):
    """Take the service account out of every binding that names it."""


class Rotate(StepOptions):
    """Replace the secrets that the pods had access to, where their owners opted in."""

    timeout_seconds: int = Field(default=300, ge=1, le=86400, description="How long consumers may take to restart.")


class Replace(StepOptions):
    """Bring the workload back from a known-good image."""

    images: dict[str, Image] = Field(
        default={},
        description="Known-good image by container name; empty: the workload's own, in a fresh pod.",
        json_schema_extra={"maxProperties": 32},
    )
    timeout_seconds: int = Field(default=300, ge=1, le=86400, description="How long the workload may take to be Ready.")


class Approvers(Written):
    """Whose approvals count."""

    not_opener: bool = Field(
        default=False,
        description="Whoever opened the incident does not count; `spec.openedBy` of the incident has to say who did.",
    )
    persons: int = Field(default=1, ge=1, le=2, description="How many different persons have to approve a plan.")


class Step(Written):
    """One step: exactly one key, which names it."""

    model_config = ConfigDict(json_schema_extra=EXACTLY_ONE)

    quarantine: Quarantine | None = Field(default=None, description="Cut the pods off.")
    cordon: Cordon | None = Field(default=None, description="Keep new pods off suspect nodes.")
    capture: Capture | None = Field(default=None, description="Preserve evidence.")
    revoke: Revoke | None = Field(default=None, description="Revoke the account's rights.")
    rotate: Rotate | None = Field(default=None, description="Rotate secrets.")
    replace: Replace | None = Field(default=None, description="Bring the workload back.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            message = "a step has exactly one key, which names it"
            raise ValueError(message)
        return self

    @property
    def name(self) -> str:
        """The step's name."""
        return next(name for name, value in self if value is not None)

    @property
    def options(self) -> StepOptions:
        """The step's options."""
        options: StepOptions = getattr(self, self.name)
        return options


STEP_NAMES = tuple(Step.model_fields)
QUARANTINE, CORDON, CAPTURE, REVOKE, ROTATE, REPLACE = STEP_NAMES

PLAYBOOK_RULES = tuple(
    (f"self.steps.filter(s, has(s.{name})).size() <= 1", f"step {name} stands more than once") for name in STEP_NAMES
)


class PlaybookSpec(Written):
    """Ordered steps. What must come first comes first whatever the order: the cut, then evidence before loss."""

    approval: Approval = Field(
        default=Approval.WHEN_RISKY,
        description="`WhenRisky`: what is irreversible, beyond the namespace or touches others waits for a person.",
    )
    approvers: Approvers = Field(default_factory=Approvers, description="Whose approvals count, and how many it takes.")
    drift: Drift = Field(
        default=Drift.REAPPLY,
        description="What happens when somebody undoes a cut or a revocation, or a pod joins later: `Reapply` does it "
        "again, `Report` names it and leaves it to a person.",
    )
    steps: list[Step] = Field(min_length=1, max_length=16, description="The steps.")

    @model_validator(mode="after")
    def _no_step_twice(self) -> Self:
        names = [step.name for step in self.steps]
        for name in names:
            if names.count(name) > 1:
                message = f"step {name} stands more than once"
                raise ValueError(message)
        return self

    def options(self, name: str) -> StepOptions | None:
        """Return the options of a step, or None when the playbook does not have it."""
        return next((step.options for step in self.steps if step.name == name), None)

    def approval_of(self, name: str) -> Approval:
        """Return which Changes of a step wait."""
        options = self.options(name)
        return (options.approval if options else None) or self.approval


STANDARD = PlaybookSpec.model_validate(
    {"steps": [{"quarantine": {}}, {"capture": {}}, {"revoke": {}}, {"rotate": {}}, {"replace": {}}]}
)
CONTAIN = PlaybookSpec.model_validate({"steps": [{"quarantine": {}}, {"capture": {}}]})
BUILT_IN = {"standard": STANDARD, "contain": CONTAIN}

# Admission goes by a playbook's name: who may not `respond` may use these. The schema holds every Playbook to its name,
# whenever it is written, so that the name is worth as much as a look at the steps.
_CONTAINS = "self.spec.steps.all(s, has(s.quarantine) || has(s.capture))"
NAME_RULES = (
    (
        f"!(self.metadata.name + '-').startsWith('contain-') || {_CONTAINS}",
        "a playbook named contain or contain-... only contains and preserves: steps quarantine and capture",
    ),
)


def unlike_its_name(name: str, spec: PlaybookSpec) -> bool:
    """Return whether a playbook does more than its name allows: one that was written before the schema had the rule."""
    return f"{name}-".startswith("contain-") and not {step.name for step in spec.steps} <= {QUARANTINE, CAPTURE}
