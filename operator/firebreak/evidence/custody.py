"""Chain of custody: who did what to this evidence, and when.

Each entry is a small object of its own, created once, that names the digest of the newest entry its writer saw. Two
writers at one moment fork the chain: that is tolerated, and verification shows it.
"""

from typing import Literal

from pydantic import Field

from firebreak.evidence.bundle import Bundle, unique_id
from firebreak.evidence.canonical import Document, Record, Sha256, Timestamp, digest
from firebreak.evidence.concurrency import for_each
from firebreak.evidence.errors import AlreadyExists
from firebreak.evidence.keys import Key, join
from firebreak.evidence.layout import CUSTODY, Layout
from firebreak.evidence.store import EvidenceStore


class Collector(Record):
    """Who handled the evidence: an account, as which pod, running which version."""

    account: str
    """The service account or person, as the API server names it."""
    pod: str | None = None
    version: str


class CustodyEntry(Document):
    """One act."""

    schema_: Literal["firebreak.dev/custody/v1"] = Field(default="firebreak.dev/custody/v1", alias="schema")
    who: Collector
    what: str = Field(min_length=1, max_length=1024)
    at: Timestamp
    previous: Sha256 | None
    """Digest of the newest entry that the writer saw; none for the first."""


class CustodyRef(Record):
    """An entry by name and content, as a manifest lists it."""

    key: str
    sha256: Sha256


async def record(bundle: Bundle, who: Collector, what: str) -> CustodyRef:
    """Add an entry after the newest one there is now."""
    seen = await bundle.store.list(bundle.layout.full(CUSTODY))
    previous = digest(await bundle.store.read(seen[-1].key)) if seen else None
    while True:
        now = bundle.clock()
        entry = CustodyEntry(who=who, what=what, at=now, previous=previous).canonical()
        key = join(CUSTODY, f"{unique_id(now)}.json")
        try:
            stored = await bundle.store.create(bundle.layout.full(key), entry)
        except AlreadyExists:
            continue  # the random part of the name met itself: draw again
        return CustodyRef(key=key, sha256=stored.sha256)


async def entries(store: EvidenceStore, layout: Layout) -> tuple[CustodyRef, ...]:
    """Every entry there is now, in the order of their times, by digest of the stored bytes."""
    found = await store.list(layout.full(CUSTODY))

    async def refer(key: Key) -> CustodyRef:
        return CustodyRef(key=layout.relative(key), sha256=digest(await store.read(key)))

    return tuple(await for_each([info.key for info in found], refer))
