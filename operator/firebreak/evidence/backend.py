"""The narrow border to the object store: one request each, errors already ours, no retries, no policy."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import obstore
from obstore.exceptions import BaseError

from firebreak.evidence.errors import Attempt, CorruptEvidence, translate
from firebreak.evidence.keys import Key
from firebreak.evidence.location import Clients

if TYPE_CHECKING:
    from obstore import GetOptions

PART_BYTES = 8 * 1024 * 1024
"""Size of one part of a multipart upload. S3 takes 10,000 parts: 78 GiB in one object."""

_PARTS_AT_ONCE = 2
_READ_BYTES = 1024 * 1024
_FOREIGN = (BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says about an object without sending it."""

    key: Key
    bytes: int
    version: str | None


class Backend(Protocol):
    """What a store must be able to do. All methods raise the errors of `errors.py` and no others of the store's."""

    @property
    def url(self) -> str:
        """The address, without credentials."""

    @property
    def local(self) -> bool:
        """Whether evidence here shares the fate of the operator's own machine."""

    async def create(self, key: Key, data: bytes) -> str | None:
        """Write a whole object unless there is one; its version, if the store keeps versions."""

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        """Write a stream in parts. When `blocks` raises, the upload is aborted and that error passes through."""

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        """Read a whole object; CorruptEvidence when it is larger than `limit` bytes."""

    def stream(self, key: Key, version: str | None) -> AsyncIterator[bytes]:
        """Read an object piece by piece."""

    async def head(self, key: Key) -> ObjectInfo:
        """Ask for an object's size and current version."""

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        """All objects below a prefix, which ends at a segment's end, in the order of their keys."""

    async def remove(self, key: Key) -> None:
        """Ask for an object's deletion; StoreRefused where that is not allowed."""


@dataclass(frozen=True, slots=True)
class ObstoreBackend:
    """The real one, for every kind of store that obstore knows."""

    clients: Clients

    @property
    def url(self) -> str:
        """The address, without credentials."""
        return self.clients.url

    @property
    def local(self) -> bool:
        """True for `file://` and `memory://`."""
        return self.clients.local

    async def create(self, key: Key, data: bytes) -> str | None:
        """Write with If-None-Match (S3), a generation match (GCS) or a hard link (files)."""
        try:
            result = await obstore.put_async(self.clients.whole, key, data, mode="create", use_multipart=False)
        except _FOREIGN as error:
            raise self._translated(error, "create", key, writing=True) from None
        return result["version"]

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        """Write parts of 8 MiB, at most two under way.

        Never cancel this: a cancelled upload stays behind half-done and goes on polling `blocks` (seen with obstore
        0.12). Make `blocks` raise instead; then the store is told to forget the parts.
        """
        try:
            result = await obstore.put_async(
                self.clients.streaming,
                key,
                blocks,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        except _FOREIGN as error:
            raise self._translated(error, "upload", key, writing=True) from None
        return result["version"]

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        """Look at the announced size first: the store's content is not trusted to fit into memory."""
        try:
            result = await obstore.get_async(self.clients.whole, key, options=_at(version))
            size = result.meta["size"]
            if size > limit:
                raise CorruptEvidence(
                    f"cannot read {key!r} in {self.url}: it has {size} bytes and {limit} are the most that a document "
                    "of Firebreak can have; it was not written by Firebreak: keep it and verify the bundle",
                )
            return bytes(await result.bytes_async())
        except _FOREIGN as error:
            raise self._translated(error, "read", key) from None

    async def stream(self, key: Key, version: str | None) -> AsyncIterator[bytes]:
        """Pieces of about 1 MiB."""
        try:
            result = await obstore.get_async(self.clients.streaming, key, options=_at(version))
            async for piece in result.stream(min_chunk_size=_READ_BYTES):
                yield bytes(piece)
        except _FOREIGN as error:
            raise self._translated(error, "read", key) from None

    async def head(self, key: Key) -> ObjectInfo:
        """One HEAD request. A bucket that does not exist cannot be told from an object that does not."""
        try:
            meta = await obstore.head_async(self.clients.whole, key)
        except _FOREIGN as error:
            raise self._translated(error, "look at", key) from None
        return ObjectInfo(key=key, bytes=meta["size"], version=meta["version"])

    async def list(self, prefix: Key | str) -> tuple[ObjectInfo, ...]:
        """As many requests as the store's page size demands."""
        try:
            found = await obstore.list(self.clients.whole, prefix or None).collect_async()
        except _FOREIGN as error:
            raise self._translated(error, "list", prefix) from None
        infos = (ObjectInfo(key=Key(meta["path"]), bytes=meta["size"], version=meta["version"]) for meta in found)
        return tuple(sorted(infos, key=lambda info: info.key))

    async def remove(self, key: Key) -> None:
        """One DELETE without a version: a bucket that keeps versions hides the object behind a marker."""
        try:
            await obstore.delete_async(self.clients.whole, key)
        except _FOREIGN as error:
            raise self._translated(error, "delete", key, writing=True) from None

    def _translated(self, error: Exception, verb: str, key: str, *, writing: bool = False) -> Exception:
        return translate(error, Attempt(verb, key, self.url, writing=writing))


def _at(version: str | None) -> "GetOptions | None":
    return {"version": version} if version else None
