"""Background work: what runs for as long as Firebreak does, and neither ends nor hangs unseen.

Work that raises begins again: a restart of the process would meet the same bug, and take containment, which works, down
with it. Work that hangs is ended by nothing but a restart: what Firebreak lives by says when its next turn is due, and
liveness fails when that is long past.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between tries of what fails
ENOUGH = 10  # doublings: more make the pause no longer, and some day a number that is too large
TURN = 300.0  # seconds: no turn takes as long, also where the API server does not answer
Run = Callable[[], Awaitable[None]]


class Work(StrEnum):
    """What runs in the background, as logs and the metric name it."""

    LEADERSHIP = "leadership"
    RESYNC = "resync"
    INCIDENTS = "incidents"
    APPROVALS = "approvals"
    RAILS = "rails"
    ENFORCEMENT = "enforcement"
    GUARDS = "guards"
    WATCH = "watch"
    CREDENTIALS = "credentials"
    WEBHOOK = "webhook"


def growing_pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: random, growing, bounded."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, ENOUGH)) * random.uniform(0.5, 1)  # noqa: S311 - jitter


async def attempt(work: Work, run: Run, failures: Counter) -> bool:
    """Do some work once. Returns whether it came to its end; what it raises is logged and counted, not handed on."""
    try:
        await run()
    except Exception:  # a bug must not end what has nothing to do with it
        failures.labels(work).inc()
        log.exception("background work failed", work=work)
        return False
    return True


async def supervise(work: Work, run: Run, failures: Counter) -> None:
    """Do work until it comes to its end by itself, or is cancelled. When it raises, it begins again after a pause."""
    in_a_row = 0
    while True:
        begun = time.monotonic()
        if await attempt(work, run, failures):
            return
        in_a_row = in_a_row + 1 if time.monotonic() - begun < LONGEST_PAUSE else 1
        await asyncio.sleep(growing_pause(in_a_row))


class Pulse:
    """When the next turn of what Firebreak lives by is due."""

    def __init__(self) -> None:
        self._due: dict[Work, float] = {}

    def expect(self, work: Work, within: float) -> None:
        """Say that work turns now, and again within so many seconds."""
        self._due[work] = time.monotonic() + within

    def overdue(self) -> list[Work]:
        """Return what should have turned and did not: it hangs."""
        now = time.monotonic()
        return [work for work, due in self._due.items() if due < now]
