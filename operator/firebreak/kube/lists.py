"""Lists that many ask for at the same time: sent once, for all who asked before it was sent.

A storm of incidents in one namespace asks for the same lists. One answer for each of them would be as many times the
calls, and as many copies in memory at once. Nobody gets an answer to a call that was sent before they asked.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from firebreak.api.base import Json
from firebreak.kube.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """Which objects are asked for, and what is kept of each."""

    path: str
    labels: str | None
    fields: str | None
    accept: str
    keep: Callable[[Json], Json | None] | None


@dataclass
class _Reading(Generic[T]):
    """One question, as long as somebody asks it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: int = 0
    sent: int = 0
    found: list[T | ApiError] = field(default_factory=list)
    """The last answer, once there is one."""


class Shared(Generic[T]):
    """The readings under way, by what is asked. What they return belongs to all who asked: nobody changes it."""

    def __init__(self) -> None:
        self._readings: dict[Hashable, _Reading[T]] = {}
        self._moments = itertools.count(1)

    async def read(self, wanted: Hashable, send: Callable[[], Awaitable[T]]) -> T:
        """Return what `send` finds when it is called from now on. Raises the `ApiError` that it raises.

        Of one question one is under way at a time; who asks meanwhile shares the next one.
        """
        reading = self._readings.setdefault(wanted, _Reading())
        reading.asking += 1
        asked = next(self._moments)
        try:
            async with reading.turn:
                if reading.sent < asked:
                    await self._send(reading, send)
                (found,) = reading.found
                if isinstance(found, ApiError):
                    raise found
                return found
        finally:
            reading.asking -= 1
            if not reading.asking:  # kept no longer than somebody waits for it
                del self._readings[wanted]

    async def _send(self, reading: _Reading[T], send: Callable[[], Awaitable[T]]) -> None:
        sent = next(self._moments)
        try:
            found: T | ApiError = await send()
        except ApiError as error:  # all who wait would meet it, one after another
            found = error
        reading.sent, reading.found = sent, [found]
