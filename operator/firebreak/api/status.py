"""The status of an incident: what Firebreak did, could not do and waits for. `api.incident` is what people write."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from firebreak.api import bounds
from firebreak.api.base import Condition, Json, Reported
from firebreak.api.incident import Rail
from firebreak.api.playbook import PlaybookSpec


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
    verb: str = Field(description="`create`, `patch`, `delete` or `call`.", max_length=16)
    why: str = Field(description="The reason, in words.", max_length=bounds.CHANGE_WORDS)
    undo: str = Field(default="", description="How a person undoes it.", max_length=bounds.CHANGE_WORDS)
    risk: str = Field(default="", description="The computed risk, in words.", max_length=bounds.CHANGE_WORDS)
    state: ChangeState = Field(description="Where it stands.")
    message: str = Field(
        default="", description="What happened, when it is not as planned.", max_length=bounds.CHANGE_WORDS
    )
    digest: str = Field(default="", description="SHA-256 of what it does, of which the plan's is made.", max_length=80)
    approved: bool = Field(default=False, description="Whether people approved this very Change.")
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
    digest: str | None = Field(
        default=None, description="The plan that waits for people, as an Approval names it.", max_length=80
    )
    superseded: str | None = Field(
        default=None, description="The plan before this one; an Approval of it does not count any more.", max_length=80
    )
    differs: str | None = Field(
        default=None, description="What differs between these two plans.", max_length=bounds.CHANGE_WORDS
    )
    shown: str | None = Field(
        default=None, description="The whole plan as mode Plan showed it, until it is carried out.", max_length=80
    )
    approved_by: list[Annotated[str, Field(max_length=bounds.USER)]] = Field(
        default=[],
        max_length=bounds.APPROVERS,
        description="Who approved what was carried out last, or what waits for a second person.",
    )


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
    escapes: list[Annotated[str, Field(max_length=bounds.ESCAPE)]] = Field(
        default=[], max_length=bounds.ESCAPES, description="Ways to its node that its spec opens."
    )
    clouds: list[Annotated[str, Field(max_length=bounds.CLOUD)]] = Field(
        default=[],
        max_length=bounds.CLOUDS,
        description="Cloud identities that its spec shows, those of earlier pods of its account left out.",
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
    held_back: Rail | None = Field(
        default=None, description="Which guard rail holds the cut back, of some pods at least: evidence is all then."
    )
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
    notified: str = Field(
        default="", description="Which wait for a person the outgoing webhook took last.", max_length=bounds.UID
    )

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, or None when it was never observed."""
        return next((c for c in self.conditions if c.type == kind), None)
