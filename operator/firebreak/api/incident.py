"""The `Incident` as people write it: somebody says that something is compromised. `api.status` answers."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from firebreak.api import bounds
from firebreak.api.base import EXACTLY_ONE, ObjectName, Written

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


class Rail(StrEnum):
    """What may hold a cut back: the word stands as the reason of `Contained`."""

    PROTECTED = "Protected"
    BREAKER = "BreakerOpen"
    APPROVAL = "AwaitingApproval"


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
    (
        "has(self.openedBy) == has(oldSelf.openedBy) && (!has(self.openedBy) || self.openedBy == oldSelf.openedBy)",
        "spec.openedBy is set at creation or never",
    ),
    (
        "(has(self.source) ? self.source : '') == (has(oldSelf.source) ? oldSelf.source : '')",
        "spec.source is set once; open another incident, without it, if a person takes over",
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
    source: str = Field(
        default="",
        max_length=256,
        description="What raised it by itself, e.g. `falco`. Set once; empty: a person, whom no breaker holds back.",
    )
    opened_by: str | None = Field(
        default=None,
        max_length=bounds.USER,
        description="Who opened it, by user name; must be the caller. Playbooks may refuse this person's approval.",
    )
    overrides: list[Literal[Rail.PROTECTED, Rail.BREAKER]] = Field(
        default=[],
        max_length=2,
        description="Guard rails that do not hold this incident's cut back. Takes the verb `override` on incidents.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
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
