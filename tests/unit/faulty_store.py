"""A store that works until it is told to fail: a real backend behind the same interface."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from firebreak.evidence.backend import Backend, ObjectInfo, ObstoreBackend
from firebreak.evidence.errors import StoreError, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.store import EvidenceStore, Patience

HASTY = Patience(budget=5.0, first_wait=0.0, longest_wait=0.0)
"""Tries again at once."""


@dataclass(frozen=True)
class Fault:
    """Fail the calls number `first` to `last` of one operation, counted from 1."""

    operation: str
    first: int
    last: int
    error: StoreError
    after: bool
    """The store does its work, and its answer is lost."""


class FaultyBackend:
    """Counts calls and fails those it was told to. An upload fails after its first block."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._faults: list[Fault] = []
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
        self._faults.append(Fault(operation, first, first + times - 1, problem, after))

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def local(self) -> bool:
        return self._inner.local

    async def create(self, key: Key, data: bytes) -> str | None:
        fault = self._called("create")
        if fault and not fault.after:
            raise fault.error
        version = await self._inner.create(key, data)
        if fault:
            raise fault.error
        return version

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        fault = self._called("upload")
        if fault is None:
            return await self._inner.upload(key, blocks)
        if fault.after:
            await self._inner.upload(key, blocks)
        else:
            await anext(blocks)
        raise fault.error

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        self._fail_if_told("get")
        return await self._inner.get(key, limit, version)

    async def stream(self, key: Key, version: str | None) -> AsyncIterator[bytes]:
        self._fail_if_told("stream")
        async for piece in self._inner.stream(key, version):
            yield piece

    async def head(self, key: Key) -> ObjectInfo:
        self._fail_if_told("head")
        return await self._inner.head(key)

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        self._fail_if_told("list")
        return await self._inner.list(prefix)

    async def remove(self, key: Key) -> None:
        self._fail_if_told("remove")
        await self._inner.remove(key)

    def _fail_if_told(self, operation: str) -> None:
        if fault := self._called(operation):
            raise fault.error

    def _called(self, operation: str) -> Fault | None:
        number = self.calls[operation] = self.calls.get(operation, 0) + 1
        matching = (f for f in self._faults if f.operation == operation and f.first <= number <= f.last)
        return next(matching, None)


def faulty_store(url: str = "memory://", *, patience: Patience = HASTY) -> tuple[EvidenceStore, FaultyBackend]:
    """A store over a faulty backend, and the backend to tell it when to fail."""
    backend = FaultyBackend(ObstoreBackend(connect(url, {})))
    return EvidenceStore(backend, patience=patience), backend
