"""What a WebSocket brings, taken by the handful.

A node sends a large copy in messages of some 15 KiB, 70,000 in a GiB. Carrying each alone through every layer between
here and the store, with a timer of its own, took a third of what reading costs us.
"""

import asyncio
from typing import Protocol

import aiohttp

HELD = 256 * 1024
"""Bytes held at most, and one message more: what a slow reader leaves lying slows the writer."""
OVERHEAD = 256
"""Bytes that a message takes beside its own: a container may send many that are empty."""


class Socket(Protocol):
    """The reading side of a WebSocket."""

    async def receive(self) -> aiohttp.WSMessage:
        """Wait for the next message; the end, and what breaks the connection, are messages too."""


class Inbox:
    """Reads the messages of a WebSocket, up to the first that is not binary, which is the last."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._messages: list[aiohttp.WSMessage] = []
        self._bytes = 0
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def take(self, seconds: float) -> list[aiohttp.WSMessage]:
        """Take all that have come, at least one. Raises TimeoutError when none comes in time."""
        async with asyncio.timeout(seconds):
            await self._arrived.wait()
        if not self._messages:
            await self._reading  # it ended by an error
        taken, self._messages, self._bytes = self._messages, [], 0
        self._arrived.clear()
        self._room.set()
        return taken

    async def close(self) -> None:
        """Stop reading; the socket stays as it is."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        # No pings: their answers queue behind unread data. No timeout for each message: it is half of a read's cost.
        binary = True
        try:
            while binary:
                message = await self._socket.receive()
                binary = message.type is aiohttp.WSMsgType.BINARY
                self._messages.append(message)
                self._arrived.set()
                self._bytes += OVERHEAD + (len(message.data) if binary else 0)
                if self._bytes >= HELD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._arrived.set()
