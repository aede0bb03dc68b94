"""The evidence store: whole small objects, created once, and streams of any length, hashed on their way.

The address comes from the operator's settings only. Nothing here overwrites or deletes evidence; what deletes is the
trial of `deletion`, on an object of its own making.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from firebreak.evidence.backend import PART_BYTES, Backend, ObjectInfo, ObstoreBackend
from firebreak.evidence.errors import AlreadyExists, NotFound, StoreFull, StoreRefused, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.upload import upload

READ_LIMIT = 16 * 1024 * 1024
"""Bytes of the largest document that `read` takes into memory unless told otherwise."""

_BLOCK_BYTES = 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that the store has acknowledged."""

    key: Key
    bytes: int
    sha256: str
    version: str | None


class Deletion(StrEnum):
    """What became of an object whose deletion was asked for."""

    REFUSED = "Refused"
    HIDDEN = "Hidden"
    """It is gone from view; the version that was written is still there."""
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try again after passing errors, in seconds. Waits grow, each random between zero and its bound."""

    budget: float = 30.0
    first_wait: float = 0.2
    longest_wait: float = 5.0


class EvidenceStore:
    """A store opened once for the life of the process.

    Whole objects are tried again within the budget of `patience`. A stream that is longer than one part cannot be sent
    again from here, for its source is gone: its caller captures again, under a new key.
    """

    def __init__(self, backend: Backend, *, patience: Patience | None = None) -> None:
        self._backend = backend
        self._patience = patience or Patience()

    @classmethod
    def open(
        cls,
        url: str,
        options: Mapping[str, str] | None = None,
        *,
        patience: Patience | None = None,
    ) -> "EvidenceStore":
        """Open by URL; StoreRefused when URL or options cannot be right. Nothing is sent yet.

        Options are named as obstore and its environment variables name them: `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`,
        `AWS_ACCESS_KEY_ID`, ... They win over the environment.
        """
        return cls(ObstoreBackend(connect(url, options or {})), patience=patience)

    @property
    def url(self) -> str:
        """The address as people may see it, without credentials."""
        return self._backend.url

    @property
    def local(self) -> bool:
        """True when evidence shares the fate of the operator's own machine (`file://`, `memory://`): SealedLocally."""
        return self._backend.local

    async def create(self, key: Key, data: bytes) -> Stored:
        """Write a whole object where there is none; AlreadyExists when there is one, which stays as it is.

        An answer may be lost after the store has written. So an object found on a further try is ours when it holds
        our bytes.
        """
        tries = 0

        async def once() -> str | None:
            nonlocal tries
            tries += 1
            try:
                return await self._backend.create(key, data)
            except AlreadyExists:
                if tries > 1 and await self._backend.get(key, max(len(data), READ_LIMIT), None) == data:
                    return (await self._backend.head(key)).version
                raise

        version = await self._patiently(once)
        return Stored(key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), version=version)

    async def put_stream(self, key: Key, chunks: AsyncIterator[bytes]) -> Stored:
        """Write a stream under a key that nobody else uses, in constant memory, hashing what passes.

        Up to one part (8 MiB) goes as a whole object, once and with retries. Errors of `chunks` pass through and leave
        no object; so do StoreUnavailable and StoreRefused.
        """
        passing = _Passing(chunks)
        async with aclosing(passing.blocks()) as blocks:
            head: list[bytes] = []
            async for block in blocks:
                head.append(block)
                if passing.bytes >= PART_BYTES:
                    break
            else:
                return await self.create(key, b"".join(head))
            version = await upload(lambda taken: self._backend.upload(key, taken), _chained(head, blocks))
        return Stored(key=key, bytes=passing.bytes, sha256=passing.sha256, version=version)

    async def read(self, key: Key, *, limit: int = READ_LIMIT, version: str | None = None) -> bytes:
        """Read a whole object of at most `limit` bytes; NotFound, CorruptEvidence when it is larger."""
        return await self._patiently(lambda: self._backend.get(key, limit, version))

    def stream(self, key: Key, *, version: str | None = None) -> AsyncIterator[bytes]:
        """Read an object piece by piece, for what may be larger than memory; close it when leaving early."""
        return self._backend.stream(key, version)

    async def head(self, key: Key) -> ObjectInfo:
        """Size and current version of an object; NotFound, also for a missing bucket (S3 answers 404 to both)."""
        return await self._patiently(lambda: self._backend.head(key))

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        """Every object below a prefix, whose end is a segment's end, in the order of keys."""
        return await self._patiently(lambda: self._backend.list(prefix))

    async def deletion(self, stored: Stored) -> Deletion:
        """Ask the store to delete an object that is no evidence, and look what became of it."""
        try:
            await self._patiently(lambda: self._backend.remove(stored.key))
        except StoreRefused:
            return Deletion.REFUSED
        if stored.version is not None:
            try:
                await self.read(stored.key, version=stored.version)
            except NotFound:
                return Deletion.GONE
            return Deletion.HIDDEN
        return Deletion.GONE

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        patience = self._patience

        # tenacity awaits what it recognises as a coroutine function, which a lambda is not.
        async def once() -> T:
            return await request()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable) & retry_if_not_exception_type(StoreFull),
            wait=wait_random_exponential(multiplier=patience.first_wait, max=patience.longest_wait),
            stop=stop_before_delay(patience.budget),
            reraise=True,
        )
        return await retrying(once)


class _Passing:
    """Gathers chunks of any size into blocks, and counts and hashes what passes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Hex digest of everything that has passed so far."""
        return self._hash.hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Blocks of at least 1 MiB but for the last: every one costs a journey into the library."""
        gathered: list[bytes] = []
        waiting = 0
        async for chunk in self._chunks:
            self.bytes += len(chunk)
            gathered.append(chunk)
            waiting += len(chunk)
            if waiting >= _BLOCK_BYTES:
                yield await self._hashed(gathered)
                gathered, waiting = [], 0
        if gathered:
            yield await self._hashed(gathered)

    async def _hashed(self, gathered: list[bytes]) -> bytes:
        """Hash a block on another core, while the next chunks arrive: hashing is most of what a copy costs us."""
        block = b"".join(gathered)
        await asyncio.to_thread(self._hash.update, block)
        return block


async def _chained(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while head:
        yield head.pop(0)
    async for block in rest:
        yield block
