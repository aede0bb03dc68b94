"""Hand a stream to an upload so that both can end early without leaving anything behind.

The library must not iterate a capture itself: cancelled, it leaves its half-done upload in the store and goes on
polling the source (seen with obstore 0.12). So the caller's own task reads the source, and the library reads a
hand-over of one block that we can make fail.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from firebreak.evidence.errors import StoreUnavailable

_ABORT_SECONDS = 10.0
"""How long a store may take to forget the parts of an abandoned upload before we leave that to its lifecycle rule."""

Blocks = AsyncIterator[bytes]


class _AbandonedError(Exception):
    """Raised inside the library's iteration, which makes it abort the upload."""


async def upload(send: Callable[[Blocks], Awaitable[str | None]], blocks: Blocks) -> str | None:
    """Send all blocks; the object's version, if the store keeps versions.

    Errors of the store and of `blocks` pass through; in both cases, and when cancelled, nothing of the object is left.
    """
    handover: asyncio.Queue[bytes | _AbandonedError | None] = asyncio.Queue(maxsize=1)
    sending = asyncio.ensure_future(send(_taken(handover)))
    try:
        async for block in blocks:
            await _offer(handover, block, sending)
        await _offer(handover, None, sending)
        return await asyncio.shield(sending)
    except BaseException:
        await _abandon(handover, sending)
        raise


async def _taken(handover: "asyncio.Queue[bytes | _AbandonedError | None]") -> Blocks:
    while (item := await handover.get()) is not None:
        if isinstance(item, _AbandonedError):
            raise item
        yield item


async def _offer(
    handover: "asyncio.Queue[bytes | _AbandonedError | None]",
    item: bytes | None,
    sending: "asyncio.Future[str | None]",
) -> None:
    """Wait until there is room, or until the upload has failed and never will take anything again."""
    offering: asyncio.Future[Any] = asyncio.ensure_future(handover.put(item))
    try:
        await asyncio.wait([offering, sending], return_when=asyncio.FIRST_COMPLETED)
    finally:
        offering.cancel()
    if sending.done():
        sending.result()
        if item is not None:
            raise StoreUnavailable("the store ended an upload before its stream had ended; capture this artifact again")


async def _abandon(
    handover: "asyncio.Queue[bytes | _AbandonedError | None]",
    sending: "asyncio.Future[str | None]",
) -> None:
    if sending.done():
        return
    while not handover.empty():
        handover.get_nowait()
    handover.put_nowait(_AbandonedError())
    await asyncio.wait({sending}, timeout=_ABORT_SECONDS)
    if not sending.done():
        sending.cancel()
    elif not sending.cancelled():
        sending.exception()  # expected; looked at, so that the loop does not report it
