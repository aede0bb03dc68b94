"""A store that works until it is told to fail: a real backend behind the same interface."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from firebreak.evidence.backend import Backend, ObjectInfo, ObstoreBackend
from firebreak.evidence.errors import StoreError, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.store import EvidenceStore, Patience

HASTY = Patience(budget=5.0, first_wait=0.0, longest_wait=0.0)
"""Tries again at once."""


T = TypeVar("T")


@dataclass(frozen=True)
class StoreCall:
    """One call. n counts those of its operation, from 1."""

    n: int
    operation: str
    key: str


@dataclass(frozen=True)
class Fault:
    """What becomes of the calls for which `when` holds: they raise `error`, or get no answer at all when it is None."""

    when: Callable[[StoreCall], bool]
    error: StoreError | None
    after: bool
    """The store does its work, and its answer is lost."""


class FaultyBackend:
    """Writes down its calls and fails those it was told to. An upload fails after its first block.

    `choose` says what becomes of a call that none of `faults` is for.
    """

    def __init__(self, inner: Backend, choose: Callable[[StoreCall], Fault | None] = lambda _: None) -> None:
        self._inner = inner
        self._choose = choose
        self.faults: list[Fault] = []
        self.log: list[StoreCall] = []
        self.calls: dict[str, int] = {}

    def fail(
        self,
        operation: str,
        *,
        call: int = 1,
        times: int = 1,
        error: StoreError | None = None,
        after: bool = False,
    ) -> None:
        """Fail `times` calls of an operation, beginning with the given one, counted from now."""
        first = self.calls.get(operation, 0) + call
        problem = error or StoreUnavailable("the store is down, as the test told it")
        numbers = range(first, first + times)
        self.faults.append(Fault(lambda c: c.operation == operation and c.n in numbers, problem, after))

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def local(self) -> bool:
        return self._inner.local

    async def create(self, key: Key, data: bytes) -> str | None:
        return await self._meet("create", key, lambda: self._inner.create(key, data))

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        fault = self._called("upload", key)
        if fault is None:
            return await self._inner.upload(key, blocks)
        if fault.after:
            await self._inner.upload(key, blocks)
        else:
            await anext(blocks)
        raise await _failure(fault)

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        return await self._meet("get", key, lambda: self._inner.get(key, limit, version))

    async def stream(self, key: Key, version: str | None) -> AsyncIterator[bytes]:
        if fault := self._called("stream", key):
            raise await _failure(fault)
        async for piece in self._inner.stream(key, version):
            yield piece

    async def head(self, key: Key) -> ObjectInfo:
        return await self._meet("head", key, lambda: self._inner.head(key))

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        return await self._meet("list", prefix, lambda: self._inner.list(prefix))

    async def remove(self, key: Key) -> None:
        await self._meet("remove", key, lambda: self._inner.remove(key))

    async def _meet(self, operation: str, key: str, work: Callable[[], Awaitable[T]]) -> T:
        fault = self._called(operation, key)
        if fault and not fault.after:
            raise await _failure(fault)
        done = await work()
        if fault:
            raise await _failure(fault)
        return done

    def _called(self, operation: str, key: str) -> Fault | None:
        self.calls[operation] = self.calls.get(operation, 0) + 1
        call = StoreCall(self.calls[operation], operation, key)
        self.log.append(call)
        return next((fault for fault in self.faults if fault.when(call)), None) or self._choose(call)


async def _failure(fault: Fault) -> StoreError:
    if fault.error is None:
        await asyncio.Event().wait()  # for ever
    assert fault.error
    return fault.error


def faulty_store(url: str = "memory://", *, patience: Patience = HASTY) -> tuple[EvidenceStore, FaultyBackend]:
    """A store over a faulty backend, and the backend to tell it when to fail."""
    backend = FaultyBackend(ObstoreBackend(connect(url, {})))
    return EvidenceStore(backend, patience=patience), backend
