"""An event loop whose clock stands while anything is under way, and leaps to the next timer when nothing is.

Pauses, retries and the resync of minutes pass in no time, in the same order in every run. It is for what runs wholly
in this process: a program or thread that works outside would be leapt over.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRACE = 0.001  # seconds that the kernel has to carry what was sent over loopback, before the clock leaps
START = 1_000_000.0  # seconds: any moment will do, as with the real monotonic clock


class _Leaping(selectors.DefaultSelector):
    """Waits for sockets as ever, but where it would wait for a timer it moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        if timeout <= 0:
            return super().select(0)
        found = super().select(0) or super().select(GRACE)
        if not found:
            self.now += timeout
        return found


class Clockwork(asyncio.SelectorEventLoop):
    """The loop; `run` runs a coroutine on a new one."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """At once, in this thread: else it would be leapt over."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
            future.set_exception(error)
        return future


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(work)
