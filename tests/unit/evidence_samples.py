"""An incident and things to preserve, for the tests of the evidence store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from firebreak.evidence.artifact import Artifact, ArtifactRequest, Origin
from firebreak.evidence.bundle import Bundle
from firebreak.evidence.custody import Collector
from firebreak.evidence.errors import NotFound
from firebreak.evidence.keys import Key, key
from firebreak.evidence.layout import IncidentIdentity
from firebreak.evidence.source import COMPLETE
from firebreak.evidence.store import EvidenceStore
from firebreak.model.outcome import Completeness, Outcome

INCIDENT = IncidentIdentity(namespace="shop", name="web-shell", uid="8f14e45f-ceea-467f-a9c1-1f0d8a4b2c3d")
PREFIX = "incidents/shop/web-shell-8f14e45f-ceea-467f-a9c1-1f0d8a4b2c3d"
COLLECTOR = Collector(
    account="system:serviceaccount:firebreak:firebreak",
    pod="firebreak-7d9c6b5f4-x2x9k",
    version="0.1.0",
)
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Noon, and one second later each time it is read."""

    def __init__(self) -> None:
        self._next = NOON

    def __call__(self) -> datetime:
        now = self._next
        self._next += timedelta(seconds=1)
        return now


def bundle_in(store: EvidenceStore, incident: IncidentIdentity = INCIDENT) -> Bundle:
    return Bundle.open(store, incident, clock=Clock())


async def missing(bundle: Bundle, request: ArtifactRequest, reason: str, message: str = "") -> Artifact:
    """What the product does where nothing is to be had: it saves a source that gives nothing and says why."""
    return await bundle.save(request, Pieces(outcome=Outcome(Completeness.MISSING, reason, message)))


async def exists(store: EvidenceStore, key: Key) -> bool:
    try:
        await store.head(key)
    except NotFound:
        return False
    return True


def a_request(*names: str) -> ArtifactRequest:
    return ArtifactRequest(
        name=key(*(names or ("pods", "web-1", "logs", "app.current.log"))),
        origin=Origin(
            namespace="shop",
            name="web-1",
            uid="0b9f1b1e-1111-4222-8333-444455556666",
            container="app",
            container_id="containerd://abc",
        ),
        media_type="text/plain",
        method="pods/log",
    )


class Pieces:
    """A source of given pieces, which may break after them or wait for ever; remembers that it was closed."""

    def __init__(
        self,
        *pieces: bytes,
        outcome: Outcome = COMPLETE,
        breaks: Exception | None = None,
        endless: bool = False,
    ) -> None:
        self._pieces = pieces
        self.outcome = outcome
        self._breaks = breaks
        self._endless = endless
        self.waiting = asyncio.Event()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
            if self._breaks:
                raise self._breaks
            if self._endless:
                self.waiting.set()
                await asyncio.Event().wait()
        finally:
            self.closed = True
