"""The document that seals evidence, and the chain of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from firebreak.evidence.artifact import Artifact, Name, Reason
from firebreak.evidence.canonical import Document, Record, Sha256, Timestamp, digest
from firebreak.evidence.custody import Collector, CustodyRef
from firebreak.evidence.errors import CorruptEvidence, NotFound
from firebreak.evidence.keys import Key
from firebreak.evidence.layout import IncidentIdentity, Layout, manifest_key
from firebreak.evidence.store import EvidenceStore
from firebreak.model.outcome import Completeness

MANIFEST_LIMIT = 64 * 1024 * 1024
"""Bytes at most in one manifest: about 60,000 artifacts."""


class Gap(Record):
    """Something that was wanted and is not, or not surely, there."""

    name: Name
    completeness: Annotated[Completeness, Field(strict=False)]
    reason: Reason
    message: str

    @classmethod
    def of(cls, artifact: Artifact) -> "Gap":
        """The gap that an artifact which is not complete leaves."""
        return cls(
            name=artifact.name,
            completeness=artifact.completeness,
            reason=artifact.reason,
            message=artifact.message,
        )


class Manifest(Document):
    """What was sealed. Artifacts that an earlier manifest of the chain lists are not repeated."""

    schema_: Literal["firebreak.dev/manifest/v1"] = Field(default="firebreak.dev/manifest/v1", alias="schema")
    sequence: int = Field(ge=1)
    previous: Sha256 | None
    """Digest of the manifest before; none for the first."""
    incident: IncidentIdentity
    collector: Collector
    collected_from: Timestamp
    """When the first of these artifacts was begun."""
    collected_until: Timestamp
    """When the last of them was in the store."""
    sealed_at: Timestamp
    artifacts: tuple[Artifact, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    """What a reader has to know to judge the evidence, for example what was left out on purpose."""
    custody: tuple[CustodyRef, ...]

    @property
    def key(self) -> Key:
        """Its place inside the bundle."""
        return manifest_key(self.sequence)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A manifest as it was read from the store."""

    key: Key
    digest: str
    manifest: Manifest


async def read_chain(store: EvidenceStore, layout: Layout) -> tuple[Sealed, ...]:
    """All manifests in order; empty when nothing is sealed yet. CorruptEvidence when they do not form a chain."""
    chain: list[Sealed] = []
    while (sealed := await _read(store, layout, len(chain) + 1)) is not None:
        before = chain[-1].digest if chain else None
        if sealed.manifest.previous != before or sealed.manifest.sequence != len(chain) + 1:
            raise CorruptEvidence(
                f"the manifest {sealed.key!r} does not continue the one before it; "
                "keep everything and verify the bundle",
            )
        chain.append(sealed)
    return tuple(chain)


def next_manifest(
    chain: tuple[Sealed, ...],
    artifacts: tuple[Artifact, ...],
    incident: IncidentIdentity,
    collector: Collector,
    notes: tuple[str, ...],
    custody: tuple[CustodyRef, ...],
    now: datetime,
) -> Manifest:
    """The manifest that seals these artifacts after what the chain has sealed. At least one artifact."""
    return Manifest(
        sequence=len(chain) + 1,
        previous=chain[-1].digest if chain else None,
        incident=incident,
        collector=collector,
        collected_from=min(artifact.captured_at for artifact in artifacts),
        collected_until=max(artifact.finished_at for artifact in artifacts),
        sealed_at=now,
        artifacts=artifacts,
        gaps=tuple(Gap.of(artifact) for artifact in artifacts if artifact.is_gap),
        notes=notes,
        custody=custody,
    )


async def _read(store: EvidenceStore, layout: Layout, sequence: int) -> Sealed | None:
    key = manifest_key(sequence)
    try:
        data = await store.read(layout.full(key), limit=MANIFEST_LIMIT)
    except NotFound:
        return None
    return Sealed(key=key, digest=digest(data), manifest=Manifest.parse(data, key))
