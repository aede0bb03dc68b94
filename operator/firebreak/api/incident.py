"""The `Incident`: somebody says that something is compromised, and reads here what became of it."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from firebreak.api import bounds
from firebreak.api.base import EXACTLY_ONE, Condition, Json, ObjectName, Reported, Written
from firebreak.api.playbook import PlaybookSpec

# Kubernetes' own rules for labels: what breaks them would change the meaning of the selector as text in a query.
NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{NAME}")


def label_key(value: str) -> str:
    """Return the label key, or raise ValueError when it is none."""
    if not LABEL_KEY.fullmatch(value):
        message = "a label key is a name of at most 63 letters, digits, '-', '_' and '.', with or without 'prefix/'"
        raise ValueError(message)
    return value


LabelKey = Annotated[str, Field(min_length=1, max_length=317), AfterValidator(label_key)]
LabelValue = Annotated[str, Field(max_length=63, pattern=rf"^({NAME})?$")]


class Requirement(Written):
    """One requirement of a label selector, as Kubernetes defines it."""

    key: LabelKey = Field(description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How key and values relate.")
    values: list[LabelValue] = Field(default=[], max_length=64, description="The values, for `In` and `NotIn`.")

    @model_validator(mode="after")
    def _values_where_they_count(self) -> Self:
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            message = "In and NotIn take at least one value, Exists and DoesNotExist take none"
            raise ValueError(message)
        return self


class Selector(Written):
    """Pods of the incident's namespace by their labels. An empty selector is refused: it would cut everything."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    match_labels: dict[LabelKey, LabelValue] = Field(
        default={}, description="Labels that a pod must have.", json_schema_extra={"minProperties": 1}
    )
    match_expressions: list[Requirement] = Field(
        default=[],
        max_length=16,
        description="Requirements that a pod must meet.",
        json_schema_extra={"minItems": 1},
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.match_labels and not self.match_expressions:
            message = "an empty selector selects every pod of the namespace; name at least one label"
            raise ValueError(message)
        return self


class WorkloadRef(Written):
    """A controller in the incident's namespace; its pods are the target, also those that appear later."""

    kind: Literal["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"] = Field(
        description="The controller's kind."
    )
    name: ObjectName = Field(description="The controller's name.")


class Target(Written):
    """What is compromised: exactly one of the fields."""

    model_config = ConfigDict(json_schema_extra=EXACTLY_ONE)

    pod: ObjectName | None = Field(default=None, description="One pod, by name.")
    selector: Selector | None = Field(default=None, description="Pods by label, also those that appear later.")
    workload: WorkloadRef | None = Field(default=None, description="The pods of a controller, also later ones.")
    service_account: ObjectName | None = Field(
        default=None, description="An account: all pods that run as it, also later ones."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            message = "exactly one of pod, selector, workload, serviceAccount names the target"
            raise ValueError(message)
        return self

    def __str__(self) -> str:
        if self.pod:
            return f"pod/{self.pod}"
        if self.workload:
            return f"{self.workload.kind.lower()}/{self.workload.name}"
        if self.service_account:
            return f"serviceaccount/{self.service_account}"
        return "selected pods"


class Mode(StrEnum):
    """How far Firebreak goes."""

    RESPOND = "Respond"
    PRESERVE = "Preserve"
    PLAN = "Plan"


class State(StrEnum):
    """Whether the incident is being worked on."""

    ACTIVE = "Active"
    CLOSED = "Closed"


SPEC_RULES = (
    ("has(self.target) || self.mode == 'Plan'", "spec.target is required unless spec.mode is Plan"),
    (
        "!has(oldSelf.target) || (has(self.target) && self.target == oldSelf.target)",
        "spec.target is set once; open another incident for another target",
    ),
    (
        "!has(oldSelf.podUID) || (has(self.podUID) && self.podUID == oldSelf.podUID)",
        "spec.podUID is set once",
    ),
    (
        "!has(self.podUID) || (has(self.target) && has(self.target.pod))",
        "spec.podUID goes with spec.target.pod only",
    ),
    (
        "self.mode == oldSelf.mode || oldSelf.mode == 'Plan' || self.mode == 'Respond'",
        "spec.mode cannot go back: what was done is not undone by it; use `firebreak release`",
    ),
    (
        "self.state != 'Closed' || has(self.verdict)",
        "spec.verdict is required to close: TruePositive, FalsePositive or Exercise",
    ),
    ("oldSelf.state != 'Closed' || self.state == 'Closed'", "a closed incident stays closed; open a new one"),
)


class IncidentSpec(Written):
    """What a person or an alert says. Only `target` is needed: the defaults contain and preserve."""

    target: Target | None = Field(default=None, description="What is compromised. Set once.")
    pod_uid: str | None = Field(
        default=None,
        alias="podUID",
        max_length=bounds.UID,
        description="With `target.pod`: the uid that the pod must have, so that a namesake is left alone.",
    )
    mode: Mode = Field(
        default=Mode.RESPOND,
        description="`Respond` runs the playbook, `Preserve` only takes evidence, `Plan` only writes the plan.",
    )
    playbook: ObjectName = Field(default="standard", description="The Playbook to run.")
    severity: Literal["Low", "Medium", "High", "Critical"] = Field(
        default="High", description="For people and reports."
    )
    reason: str = Field(default="", max_length=1024, description="Why, in words. Shown to people as text only.")
    source: str = Field(default="", max_length=256, description="Who or what raised it, e.g. `falco`.")
    state: State = Field(
        default=State.ACTIVE, description="`Closed` ends the work; the quarantine stays until released."
    )
    verdict: Literal["TruePositive", "FalsePositive", "Exercise"] | None = Field(
        default=None, description="What it turned out to be; required to close."
    )
    ticket: str = Field(default="", max_length=256, description="A reference into your ticket system.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target is None and self.mode is not Mode.PLAN:
            message = "spec.target is required unless spec.mode is Plan"
            raise ValueError(message)
        return self


class Phase(StrEnum):
    """One word for people; machines read the conditions."""

    PENDING = "Pending"
    PLANNED = "Planned"
    CONTAINING = "Containing"
    PRESERVING = "Preserving"
    ERADICATING = "Eradicating"
    WAITING = "Waiting"
    RESPONDED = "Responded"
    STALLED = "Stalled"
    CLOSED = "Closed"


class StepState(StrEnum):
    """Where a step stands. `PARTIAL` is an honest end, not a success."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    BLOCKED = "Blocked"
    DONE = "Done"
    PARTIAL = "Partial"
    FAILED = "Failed"


class ChangeState(StrEnum):
    """Where a Change stands. `INTENDED` was written before acting and tells a restart to look before repeating."""

    PLANNED = "Planned"
    WAITING = "Waiting"
    INTENDED = "Intended"
    DONE = "Done"
    FAILED = "Failed"
    MANUAL = "Manual"


class ChangeReport(Reported):
    """One Change, as planned and as it went."""

    object: str = Field(description="Kind, namespace and name.", max_length=bounds.CHANGE_OBJECT)
    verb: str = Field(description="`create`, `patch` or `delete`.", max_length=16)
    why: str = Field(description="The reason, in words.", max_length=bounds.CHANGE_WORDS)
    undo: str = Field(default="", description="How a person undoes it.", max_length=bounds.CHANGE_WORDS)
    risk: str = Field(default="", description="The computed risk, in words.", max_length=bounds.CHANGE_WORDS)
    state: ChangeState = Field(description="Where it stands.")
    message: str = Field(
        default="", description="What happened, when it is not as planned.", max_length=bounds.CHANGE_WORDS
    )
    before: Json | None = Field(
        default=None,
        description="What is overwritten, recorded first.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class StepReport(Reported):
    """One step of the playbook."""

    state: StepState = Field(description="Where the step stands.")
    started_at: str | None = Field(default=None, description="RFC 3339, UTC.")
    finished_at: str | None = Field(default=None, description="RFC 3339, UTC.")
    attempts: int = Field(default=0, description="How often it was begun.")
    pods: int = Field(
        default=0, description="How many pods were on record when it ended; it runs again for later ones."
    )
    message: str = Field(default="", description="One sentence for people.", max_length=bounds.MESSAGE)
    changes: dict[str, ChangeReport] = Field(
        default={},
        description=f"The Changes by id; at most {bounds.CHANGES} are kept here.",
        json_schema_extra={"maxProperties": bounds.CHANGES},
    )
    counts: dict[str, int] = Field(default={}, description="How many Changes are in which state.")


MORE_SECRETS = "*"
"""Stands, in a pod's record, for the secrets that it has no room for; it can be no secret's name."""


class PodRecord(Reported):
    """A pod of the incident, pinned at first sight."""

    name: str = Field(description="The pod's name.", max_length=bounds.OBJECT_NAME)
    node: str = Field(default="", description="The node it runs on.", max_length=bounds.OBJECT_NAME)
    owner: str = Field(default="", description="Its controller, kind and name.", max_length=bounds.OWNER)
    owner_uid: str = Field(
        default="",
        alias="ownerUID",
        max_length=bounds.UID,
        description="Its controller's uid: a name alone may be forged.",
    )
    account: str = Field(default="", description="The service account it runs as.", max_length=bounds.OBJECT_NAME)
    containers: dict[str, str] = Field(
        default={},
        description="Container ids at first sight, by container name; a change means lost evidence.",
    )
    secrets: dict[str, Annotated[str, Field(max_length=bounds.WAYS)]] = Field(
        default={},
        description="Secrets that its spec names, those of earlier pods left out, and the ways to them; no values.",
        json_schema_extra={"maxProperties": bounds.SECRETS + 1},
    )
    sealed: bool = Field(default=False, description="Whether its evidence is in a seal that was read back.")
    gone: bool = Field(default=False, description="Whether the pod has left the API since.")


class EvidenceReport(Reported):
    """What is preserved and where."""

    url: str = Field(default="", description="Where the bundle lies.", max_length=2048)
    artifacts: int = Field(default=0, description="How many artifacts were sought.")
    complete: int = Field(default=0, description="How many of them are complete.")
    bytes: int = Field(default=0, description="Bytes stored.")
    gaps: list[str] = Field(
        default=[], max_length=bounds.GAPS, description=f"What is partial or missing, and why; the first {bounds.GAPS}."
    )
    seal: str = Field(default="", description="SHA-256 of the manifest that was written once and read back.")


class PlaybookSnapshot(Reported):
    """The playbook as it was when the incident started; later edits do not change a running response."""

    name: str = Field(description="The Playbook's name.", max_length=bounds.OBJECT_NAME)
    digest: str = Field(description="SHA-256 of its spec.", max_length=80)
    spec: PlaybookSpec = Field(description="Its spec.")


class Timings(Reported):
    """When things happened, RFC 3339, UTC, with microseconds."""

    seen_at: str | None = Field(default=None, description="The operator saw the incident.")
    cut_at: str | None = Field(default=None, description="The last call of the first cut was answered.")
    contained_at: str | None = Field(default=None, description="`Contained` first became True.")
    sealed_at: str | None = Field(default=None, description="The evidence was sealed and read back.")
    closed_at: str | None = Field(default=None, description="The incident was closed.")


class IncidentStatus(Reported):
    """What Firebreak did, could not do and waits for. Written by the leader only."""

    phase: Phase = Field(default=Phase.PENDING, description="One word for people.")
    message: str = Field(default="", description="The sentence to read first.", max_length=bounds.MESSAGE)
    target: str = Field(default="", description="The target in short, for the table.", max_length=bounds.CELL)
    waiting_for: str = Field(
        default="", description="What is waited for, in short, for the table.", max_length=bounds.CELL
    )
    observed_generation: int = Field(default=0, description="The generation of the spec that this speaks of.")
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="For machines.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    playbook: PlaybookSnapshot | None = Field(default=None, description="The playbook as it was at the start.")
    held: list[str] = Field(
        default=[],
        max_length=bounds.PODS,
        description="Names of the pods under quarantine.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    pods: dict[str, PodRecord] = Field(
        default={}, description="The pods of the incident, by uid.", json_schema_extra={"maxProperties": bounds.PODS}
    )
    steps: dict[str, StepReport] = Field(
        default={}, description="The steps, by name.", json_schema_extra={"maxProperties": 16}
    )
    evidence: EvidenceReport | None = Field(default=None, description="What is preserved.")
    timings: Timings = Field(default=Timings(), description="When things happened.")

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, or None when it was never observed."""
        return next((c for c in self.conditions if c.type == kind), None)
