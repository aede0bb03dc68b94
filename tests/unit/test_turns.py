"""Captures of all incidents together: bounded in number, and nobody who stalls keeps others waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from firebreak.engine.turns import OPEN, Paced, Turns
from firebreak.evidence.source import COMPLETE
from firebreak.model.outcome import Outcome
from firebreak.steps.capture import Kind
from harness import PATIENCE


class Pipe:
    """A stream that gives what the test puts into it, None at its end."""

    def __init__(self) -> None:
        self.given: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.outcome: Outcome = COMPLETE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.given.get():
            yield chunk


class Reader:
    """Reads a stream to its end; `read` is what came so far, `order` the namespaces of all who share it."""

    def __init__(self, turns: Turns, namespace: str, order: list[str] | None = None) -> None:
        self.pipe = Pipe()
        self.order = [] if order is None else order
        self.read: list[bytes] = []
        self.began = asyncio.Event()
        self._more = asyncio.Event()
        self.task = asyncio.create_task(self._run(turns, namespace))

    async def _run(self, turns: Turns, namespace: str) -> None:
        async with turns.place(Kind.FILES, namespace) as turn:
            self.began.set()
            async for chunk in Paced(self.pipe, turn):
                self.read.append(chunk)
                self.order.append(namespace)
                self._more.set()

    async def came(self, number: int) -> None:
        """Wait until so many chunks were read."""
        while len(self.read) < number:
            self._more.clear()
            await self._more.wait()


async def test_a_stream_that_stalls_gives_its_turn_to_the_next_and_goes_on_later() -> None:
    turns = Turns(1)
    hostile, healthy = Reader(turns, "shop"), Reader(turns, "bank")
    async with asyncio.timeout(PATIENCE):
        await hostile.began.wait()
        for part in (b"one", b"two", None):
            healthy.pipe.given.put_nowait(part)
        await healthy.task
        assert (hostile.read, healthy.read) == ([], [b"one", b"two"])
        hostile.pipe.given.put_nowait(b"late")
        hostile.pipe.given.put_nowait(None)
        await hostile.task
    assert hostile.read == [b"late"]


async def test_a_stream_that_never_ends_takes_turns_with_those_that_wait() -> None:
    turns, order = Turns(1, seconds=0.0), list[str]()
    endless = Reader(turns, "shop", order)
    endless.pipe.given.put_nowait(b"first")
    async with asyncio.timeout(PATIENCE):
        await endless.came(1)
        healthy = Reader(turns, "bank", order)
        for part in (b"one", None):
            healthy.pipe.given.put_nowait(part)
        await healthy.began.wait()
        for _ in range(1000):
            endless.pipe.given.put_nowait(b"more")
        await healthy.task
    assert order[:5] == ["shop", "shop", "bank", "shop", "shop"]  # a chunk each in turn
    endless.task.cancel()
    await asyncio.gather(endless.task, return_exceptions=True)


async def test_so_many_copies_are_open_and_no_more() -> None:
    turns = Turns(2)
    readers = [Reader(turns, "shop") for _ in range(2 * OPEN + 1)]
    async with asyncio.timeout(PATIENCE):
        await readers[2 * OPEN - 1].began.wait()
        assert [reader.began.is_set() for reader in readers] == [True] * 2 * OPEN + [False]
        readers[0].pipe.given.put_nowait(None)
        await readers[-1].began.wait()
        for reader in readers[1:]:
            reader.pipe.given.put_nowait(None)
        await asyncio.gather(*(reader.task for reader in readers))


async def test_what_dies_first_waits_for_no_copy() -> None:
    turns = Turns(1)
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        for _ in range(OPEN):
            await stack.enter_async_context(turns.place(Kind.FILES, "shop"))
            await stack.enter_async_context(turns.place(Kind.LOG, "shop"))
        for kind in (Kind.VOLATILE, Kind.POD, Kind.SURROUNDINGS, Kind.DESCRIBE):
            await stack.enter_async_context(turns.place(kind, "shop"))
