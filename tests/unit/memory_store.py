"""A store in the test's own process, in the test's own order: no threads, no files; it keeps the store's contract."""

from collections.abc import AsyncIterator

from firebreak.evidence.backend import ObjectInfo
from firebreak.evidence.errors import AlreadyExists, CorruptEvidence, NotFound
from firebreak.evidence.keys import Key


class MemoryBackend:
    """Objects by key. What the store does itself (retries, hashes) is the real one's, above it."""

    url = "memory:///"
    local = True

    def __init__(self) -> None:
        self.objects: dict[Key, bytes] = {}

    async def create(self, key: Key, data: bytes) -> str | None:
        if key in self.objects:
            raise AlreadyExists(f"cannot create {key!r} in {self.url}: an object with this key exists already")
        self.objects[key] = data
        return None

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        self.objects[key] = b"".join([block async for block in blocks])
        return None

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        data = self._read("read", key)
        if len(data) > limit:
            raise CorruptEvidence(f"cannot read {key!r}: it has {len(data)} bytes and {limit} are the most")
        return data

    async def stream(self, key: Key, version: str | None) -> AsyncIterator[bytes]:
        yield self._read("read", key)

    async def head(self, key: Key) -> ObjectInfo:
        return ObjectInfo(key=key, bytes=len(self._read("look at", key)), version=None)

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        below = f"{prefix}/" if prefix else ""
        found = sorted(key for key in self.objects if key.startswith(below))
        return tuple(ObjectInfo(key=key, bytes=len(self.objects[key]), version=None) for key in found)

    async def remove(self, key: Key) -> None:
        self.objects.pop(key, None)

    def _read(self, verb: str, key: Key) -> bytes:
        if key not in self.objects:
            raise NotFound(f"cannot {verb} {key!r} in {self.url}: there is no such object")
        return self.objects[key]
