"""How much of all incidents together is read out of pods at once: so many streams are open, and fewer are read.

A stream that is read has a turn. The turn ends when nothing came for a second, or after a while when others wait: a
copy that stalls, trickles or never ends keeps nobody waiting for longer than that. What is open and not read holds at
most one part of an upload in memory; what is read, three.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from firebreak.evidence.source import Source
from firebreak.kube.seats import Seats
from firebreak.model.outcome import Outcome
from firebreak.steps.capture import Kind

IDLE = 1.0  # seconds without a byte after which a turn is over
TURN = 5.0  # seconds of reading after which it is, when others wait
OPEN = 3  # streams that are open for each that is read
VOLATILE, DOCUMENTS, DESCRIBED = 12, 8, 2  # at once, of what is small; a `describe` takes a process of its own


class Turn:
    """The turns of one stream. Leave at the end."""

    def __init__(self, reading: Seats, namespace: str, seconds: float) -> None:
        self._reading = reading
        self._namespace = namespace
        self._seconds = seconds
        self._began = self._moved = 0.0  # on the loop's clock
        self._ending: asyncio.TimerHandle | None = None  # while there is a turn

    async def go_on(self) -> None:
        """Say that there is something to do; wait for a turn where there is none, or where it was long enough."""
        loop = asyncio.get_running_loop()
        if self._ending and self._reading.wanted and loop.time() - self._began > self._seconds:
            self.leave()
        if self._ending is None:
            await self._reading.take(self._namespace)
            self._began = loop.time()
            self._ending = loop.call_later(IDLE, self._look)
        self._moved = loop.time()

    def leave(self) -> None:
        """End the turn, if there is one."""
        if self._ending:
            self._ending.cancel()
            self._ending = None
            self._reading.give_back()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._moved >= IDLE:
            self.leave()
        else:
            self._ending = loop.call_at(self._moved + IDLE, self._look)


@dataclass(frozen=True)
class _Places:
    """What may be open of one kind, and read."""

    open: Seats
    reading: Seats

    @classmethod
    def of(cls, read: int, opened: int) -> "_Places":
        return cls(Seats(lambda: opened), Seats(lambda: read))


class Turns:
    """The places for each kind of artifact. A kind waits for none of another: what dies first not for long copies.

    `captures`: how many copies, and how many logs, are read at once; `seconds`: a turn while others wait.
    """

    def __init__(self, captures: int, *, seconds: float = TURN) -> None:
        self._seconds = seconds
        documents = _Places.of(DOCUMENTS, DOCUMENTS)
        self._places = {
            Kind.VOLATILE: _Places.of(VOLATILE, VOLATILE),
            Kind.POD: documents,
            Kind.SURROUNDINGS: documents,
            Kind.DESCRIBE: _Places.of(DESCRIBED, DESCRIBED),
            Kind.LOG: _Places.of(captures, captures * OPEN),
            Kind.FILES: _Places.of(captures, captures * OPEN),
        }

    @asynccontextmanager
    async def place(self, kind: Kind, namespace: str) -> AsyncIterator[Turn]:
        """Wait for a place, and hold it while the block runs."""
        places = self._places[kind]
        async with places.open.seat(namespace):
            turn = Turn(places.reading, namespace, self._seconds)
            try:
                yield turn
            finally:
                turn.leave()


class Paced:
    """A stream that is read in turns."""

    def __init__(self, inner: Source, turn: Turn) -> None:
        self._inner = inner
        self._turn = turn

    @property
    def outcome(self) -> Outcome:
        """The stream's own verdict."""
        return self._inner.outcome

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._turn.go_on()
        chunks = aiter(self._inner)
        try:
            async for chunk in chunks:
                await self._turn.go_on()
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
