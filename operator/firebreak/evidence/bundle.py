"""One incident's evidence in the store: save, and know after a restart what has been saved.

A crash before the receipt leaves an object that no receipt names: it is harmless, stays, and verification lists it. A
restart lists the receipts and captures only what has none.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from firebreak.evidence.artifact import Artifact, ArtifactRequest
from firebreak.evidence.backend import ObjectInfo
from firebreak.evidence.concurrency import for_each
from firebreak.evidence.errors import AlreadyExists, CorruptEvidence
from firebreak.evidence.keys import Key
from firebreak.evidence.layout import RECEIPTS, IncidentIdentity, Layout, object_key, receipt_key
from firebreak.evidence.reading import MAX_ARTIFACT_BYTES, Reading
from firebreak.evidence.source import Source, clip
from firebreak.evidence.store import EvidenceStore, Stored
from firebreak.model.clock import Clock
from firebreak.model.outcome import Completeness, Outcome

Again = Callable[[Outcome], Awaitable[Source | None]]
"""What becomes of a source that fell short: another one to read instead, or None when this one counts."""


async def once(_: Outcome) -> None:
    """Read a source once, whatever came of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one reading gave. It counts when it is recorded."""

    started: datetime
    outcome: Outcome
    stored: Stored | None

    @property
    def worth(self) -> tuple[bool, int]:
        """What is whole is worth more than what is long."""
        return self.outcome.complete, self.stored.bytes if self.stored else 0


def unique_id(now: datetime) -> str:
    """Sorts by time; two in the same microsecond differ."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The evidence of one incident. Holds no state but addresses: everything is in the store."""

    store: EvidenceStore
    incident: IncidentIdentity
    layout: Layout
    clock: Clock

    @classmethod
    def open(cls, store: EvidenceStore, incident: IncidentIdentity, *, clock: Clock) -> "Bundle":
        """Address an incident's evidence, whether there is any yet or not; sends nothing."""
        return cls(store, incident, Layout(incident.prefix), clock)

    @property
    def url(self) -> str:
        """Where people find it, without credentials."""
        base = self.store.url
        return f"{base}{'' if base.endswith('/') else '/'}{self.layout.prefix}"

    async def receipts(self) -> dict[str, Artifact]:
        """Everything saved or recorded as missing so far, by name."""
        found = await self.store.list(self.layout.full(RECEIPTS))
        artifacts = await for_each(found, self._receipt_at)
        return {artifact.name: artifact for artifact in artifacts}

    async def save(
        self,
        request: ArtifactRequest,
        source: Source,
        *,
        limit: int = MAX_ARTIFACT_BYTES,
        again: Again = once,
    ) -> Artifact:
        """Stream a source into the store and record it; the record that counts, which another process may have made.

        A source that breaks leaves what it gave, as Partial, or Missing when it gave nothing. At most `limit` bytes
        are kept. `again` may name another source for one that fell short; the reading that gave most is recorded.
        StoreUnavailable and StoreRefused leave no receipt: the caller captures again later.
        """
        best = taken = await self._take(request, source, limit)
        while not taken.outcome.complete and (another := await again(taken.outcome)):
            taken = await self._take(request, another, limit)
            best = max(taken, best, key=lambda each: each.worth)
        return await self._record(request, best)

    async def _take(self, request: ArtifactRequest, source: Source, limit: int) -> Taken:
        started = self.clock()
        reading = Reading(source, limit)
        key = object_key(request.name, unique_id(started))
        async with aclosing(reading.chunks()) as chunks:
            first = await anext(chunks, b"")
            if not first and reading.outcome.completeness is Completeness.MISSING:
                return Taken(started, reading.outcome, None)
            stored = await self.store.put_stream(self.layout.full(key), _after(first, chunks))
        return Taken(started, reading.outcome, stored)

    async def _record(self, request: ArtifactRequest, taken: Taken) -> Artifact:
        outcome, stored = taken.outcome, taken.stored
        artifact = Artifact(
            name=request.name,
            origin=request.origin,
            media_type=request.media_type,
            method=request.method,
            captured_at=taken.started,
            finished_at=self.clock(),
            completeness=outcome.completeness,
            reason=outcome.reason,
            message=clip(outcome.message),  # it may quote a container
            bytes=stored.bytes if stored else 0,
            sha256=stored.sha256 if stored else None,
            object_key=self.layout.relative(stored.key) if stored else None,
            object_version=stored.version if stored else None,
        )
        key = self.layout.full(receipt_key(request.name))
        try:
            await self.store.create(key, artifact.canonical())
        except AlreadyExists:
            return await self._read_receipt(key)
        return artifact

    async def _receipt_at(self, info: ObjectInfo) -> Artifact:
        return await self._read_receipt(info.key)

    async def _read_receipt(self, key: Key) -> Artifact:
        artifact = Artifact.parse(await self.store.read(key), key)
        if self.layout.full(receipt_key(artifact.name)) != key:
            raise CorruptEvidence(f"the receipt {key!r} speaks of another artifact; keep it and verify the bundle")
        return artifact


async def _after(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in chunks:
        yield chunk
