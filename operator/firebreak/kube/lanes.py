"""Which of our own calls go first: a storm of incidents must not put captures and surveys before somebody's cut.

Calls that a cut waits for have seats of their own, and so has the Lease; all else shares a few. Who waits is seated
namespace by namespace in turn, so that a thousand incidents of one delay the first of another by one call.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import StrEnum

from firebreak.kube.seats import Seats


class Lane(StrEnum):
    """What a call is for."""

    LEASE = "lease"
    CUT = "cut"
    LATER = "later"


LEASE, CUTS, LATER = 2, 8, 12
"""Calls under way at once. So many fill a core; each more costs a connection, whose handshake costs more than it."""
STALLED = 1.0  # seconds: a call of a cut that takes longer keeps no other cut waiting
MEANWHILE = 1  # of those for later, while a cut is under way: what is on record must not stand still

_LANE: ContextVar[Lane] = ContextVar("lane", default=Lane.LATER)


class Lanes:
    """The seats of one connection to the API server."""

    def __init__(self) -> None:
        self._cuts, self._lease = Seats(lambda: CUTS, STALLED), Seats(lambda: LEASE)
        self._later = Seats(lambda: MEANWHILE if self._cuts.busy else LATER)
        self._seats = {Lane.LEASE: self._lease, Lane.CUT: self._cuts, Lane.LATER: self._later}

    @asynccontextmanager
    async def seat(self, path: str) -> AsyncIterator[None]:
        """Hold a seat for a call of this path while the block runs; `lane` says which."""
        try:
            async with self._seats[_LANE.get()].seat(_namespace(path)):
                yield
        finally:
            self._later.fill()  # the last cut may have gone


@contextmanager
def lane(chosen: Lane) -> Iterator[None]:
    """Say what the calls in the block are for. Tasks that begin in it keep it."""
    token = _LANE.set(chosen)
    try:
        yield
    finally:
        _LANE.reset(token)


def urgent() -> bool:
    """Whether a cut waits for the calls that are made now."""
    return _LANE.get() is Lane.CUT


def _namespace(path: str) -> str:
    """Return the namespace in the path of a call, "" for what has none."""
    _, found, rest = path.partition("/namespaces/")
    return rest.partition("/")[0] if found else ""
