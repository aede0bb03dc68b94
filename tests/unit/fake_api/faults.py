"""Ways in which the fake API server fails on request."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .journal import Call

When = Callable[[Call], bool]


def always(_call: Call) -> bool:
    return True


@dataclass(frozen=True)
class Answer:
    """Answer with this HTTP status; with `after_effect` the write is done all the same.

    retry_after is in seconds.
    """

    status: int
    retry_after: int | None = None
    message: str = "asked for by the test"
    after_effect: bool = False


@dataclass(frozen=True)
class Close:
    """Close the connection without an answer; with `after_effect` the server has acted."""

    after_effect: bool = False


@dataclass(frozen=True)
class Silence:
    """Act, and never answer: the caller gives up. What streams (watch, exec, log) is not even begun."""


@dataclass(frozen=True)
class Meanwhile:
    """Call `happens` and then answer as ever."""

    happens: Callable[[], None]


@dataclass(frozen=True)
class Hold:
    """Wait for this event before acting; other faults for the same call still apply."""

    until: asyncio.Event


@dataclass(frozen=True)
class Stale:
    """A get or list shows the state before the latest change to what it asks for."""


@dataclass(frozen=True)
class Expire:
    """A watch gets an ERROR event with code 410 and ends."""


@dataclass(frozen=True)
class Crash:
    """Call `callback` before or after the effect and close the connection: the caller dies here."""

    callback: Callable[[Call], None]
    after_effect: bool


How = Answer | Close | Silence | Meanwhile | Hold | Stale | Expire | Crash


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What to do to the calls for which `when` holds; to the first `times` of them, None means all.

    The first `skip` of them are left alone.
    """

    when: When
    how: How
    times: int | None = None
    skip: int = 0


class Faults:
    """The faults in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._seen: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        self._seen.append((fault, 0))

    def clear(self) -> None:
        self._seen.clear()

    async def meet(self, call: Call) -> How | None:
        """Wait for every Hold; return the first other fault that applies."""
        due = [self._due(index, call) for index in range(len(self._seen))]
        hows = [how for how in due if how is not None]
        for how in hows:
            if isinstance(how, Hold):
                await how.until.wait()
        return next((how for how in hows if not isinstance(how, Hold)), None)

    def _due(self, index: int, call: Call) -> How | None:
        fault, seen = self._seen[index]
        if not fault.when(call):
            return None
        self._seen[index] = (fault, seen + 1)
        last = None if fault.times is None else fault.skip + fault.times
        return fault.how if fault.skip <= seen and (last is None or seen < last) else None
