"""The record of one preserved thing: what it is, whence, how complete, and how to prove it unchanged."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from firebreak.evidence.canonical import Document, Record, Sha256, Timestamp
from firebreak.evidence.keys import KEY_LENGTH, Key, is_key
from firebreak.evidence.source import MESSAGE_LENGTH, REASON_PATTERN
from firebreak.model.outcome import Completeness

ARTIFACT_SCHEMA: Literal["firebreak.dev/artifact/v1"] = "firebreak.dev/artifact/v1"

Reason = Annotated[str, StringConstraints(pattern=REASON_PATTERN)]
"""One CamelCase word."""


def _safe(text: str) -> Key:
    if not is_key(text):
        raise ValueError("not a safe key: build it with keys.key()")
    return Key(text)


SafeKey = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_safe)]
Name = Annotated[str, StringConstraints(max_length=KEY_LENGTH), AfterValidator(_safe)]
"""A logical path inside the bundle, `pods/web-1/logs/app.current.log`, made by `keys.key()` from raw names."""


class Origin(Record):
    """The object that was captured; container fields only for what came out of a container."""

    kind: str = "Pod"
    namespace: str | None = None
    name: str
    uid: str | None = None
    container: str | None = None
    container_id: str | None = Field(default=None, alias="containerID")
    """As the kubelet reports it (`containerd://...`): a restarted container is another one."""


class ArtifactRequest(Record):
    """What is to be preserved, before anybody knows how it will go."""

    name: Name
    origin: Origin
    media_type: str
    method: str
    """How it is taken, in words: `exec tar`, `pods/log`."""


class Artifact(Document):
    """One preserved thing, or the recorded absence of one. The object's key is relative to the bundle."""

    schema_: Literal["firebreak.dev/artifact/v1"] = Field(default=ARTIFACT_SCHEMA, alias="schema")
    name: Name
    origin: Origin
    media_type: str
    method: str
    captured_at: Timestamp
    """When reading began."""
    finished_at: Timestamp
    """When the store had acknowledged it."""
    completeness: Annotated[Completeness, Field(strict=False)]
    reason: Reason
    message: str = Field(default="", max_length=MESSAGE_LENGTH)
    bytes: int = Field(ge=0)
    sha256: Sha256 | None = None
    object_key: SafeKey | None = None
    object_version: str | None = None
    """The store's version of the object, where the bucket keeps versions."""

    @model_validator(mode="after")
    def _missing_means_no_object(self) -> Self:
        """Fail closed: a record never claims bytes without an object, nor an object without its hash."""
        present = self.completeness is not Completeness.MISSING
        if present and (self.object_key is None or self.sha256 is None):
            raise ValueError("a kept artifact needs its object's key and hash")
        if not present and (self.object_key or self.sha256 or self.object_version or self.bytes):
            raise ValueError("a missing artifact has no object, hash, version or bytes")
        return self

    @property
    def is_gap(self) -> bool:
        """Whether something that was wanted is not, or not surely, there."""
        return self.completeness is not Completeness.COMPLETE
