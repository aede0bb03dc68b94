"""Seats that are shared fairly: whoever waits for one is seated by turns of a key, a namespace say."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Seats:
    """As many seats as `number` says at that moment. Keys take turns; within a key, who came first is seated first.

    Who sits for more than `longest` seconds waits for somebody else, a webhook that stalls: that seat is free again.
    """

    def __init__(self, number: Callable[[], int], longest: float = math.inf) -> None:
        self._number = number
        self._longest = longest
        self._taken = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether somebody sits or waits."""
        return bool(self._taken or self._waiting)

    async def take(self, key: str) -> None:
        """Wait for a seat. Each one that is taken is to be given back."""
        if not self._waiting and self._taken < self._number():
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self.fill()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # seated at the very moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave a seat to the next one."""
        self._taken -= 1
        self.fill()

    def fill(self) -> None:
        """Seat who waits, as far as there are seats."""
        while self._waiting and self._taken < self._number():
            key, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            del self._waiting[key]
            if queue:
                self._waiting[key] = queue  # behind the other keys
            if not turn.done():  # else its waiter was cancelled
                self._taken += 1
                turn.set_result(None)

    @asynccontextmanager
    async def seat(self, key: str) -> AsyncIterator[None]:
        """Hold a seat while the block runs."""
        await self.take(key)
        seated = True

        def leave() -> None:
            nonlocal seated
            if seated:
                seated = False
                self.give_back()

        timer = asyncio.get_running_loop().call_later(self._longest, leave) if self._longest < math.inf else None
        try:
            yield
        finally:
            if timer:
                timer.cancel()
            leave()
