"""Alerts that were accepted and have no Incident yet: of senders that never send again, and of the audit rules.

Bounded by bytes. What comes again while it waits is one entry with a count. While the API server is away an entry is
tried again for as long as this process runs; when no room is left the sender is told so, and what is lost is counted.
"""

import asyncio
import time
from dataclasses import dataclass

import structlog

from firebreak.intake.alert import Alert
from firebreak.intake.desk import Desk
from firebreak.intake.limits import Budget
from firebreak.intake.metrics import Metrics
from firebreak.intake.taken import Outcome
from firebreak.kube.errors import ApiError
from firebreak.service.supervise import growing_pause

log = structlog.get_logger()

OVERHEAD = 8192  # bytes of an entry beside its texts: its task, its objects
EACH = 200  # bytes of a field beside its text

Identity = tuple[str, ...]


@dataclass(slots=True)
class _Waiting:
    alert: Alert
    since: float
    again: int = 0


class Backlog:
    """What waits to be opened."""

    def __init__(self, desk: Desk, budget: Budget, metrics: Metrics) -> None:
        self._desk = desk
        self._budget = budget
        self._metrics = metrics
        self._waiting: dict[Identity, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, alert: Alert, sender: str) -> bool:
        """Accept an alert, and return whether there was room."""
        if self._desk.at_once(alert):
            return True
        identity = (alert.source, *alert.identity)
        if waiting := self._waiting.get(identity):
            waiting.again += 1
            return True
        size = weight(alert)
        if not self._budget.claim(sender, size):
            return False
        self._waiting[identity] = _Waiting(alert, time.monotonic())
        task = asyncio.create_task(self._open(identity, sender, size))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def room(self) -> None:
        """Wait until an entry has gone."""
        self._ended.clear()
        await self._ended.wait()

    async def drain(self, seconds: float) -> None:
        """Give what waits so long to be opened; what is not is told of, one by one, and given up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for waiting in self._waiting.values():
            log.error("alert lost: ended before it could be opened", rule=waiting.alert.rule, why=waiting.alert.summary)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self, identity: Identity, sender: str, size: int) -> None:
        try:
            await self._until_taken(self._waiting[identity], sender)
        finally:
            again = self._waiting.pop(identity)
            self._budget.give_back(sender, size)
            self._ended.set()
            for _ in range(again.again):
                if self._desk.at_once(again.alert) is None:
                    self._metrics.alerts.labels(again.alert.source, Outcome.LOST).inc()

    async def _until_taken(self, waiting: _Waiting, sender: str) -> None:
        failures = 0
        while True:
            try:
                taken = await self._desk.take(waiting.alert, sender)
            except ApiError as error:
                failures += 1
                log.warning("alert waits", rule=waiting.alert.rule, failures=failures, error=str(error))
                await asyncio.sleep(growing_pause(failures))
                continue
            except Exception:
                self._metrics.alerts.labels(waiting.alert.source, Outcome.LOST).inc()
                log.exception("alert lost to a bug", rule=waiting.alert.rule)
                return
            if taken.outcome is Outcome.OPENED:
                self._metrics.open_seconds.observe(time.monotonic() - waiting.since)
            return


def weight(alert: Alert) -> int:
    """Return about how many bytes of memory an alert takes while it waits."""
    texts = sum(len(key) + len(value) + EACH for key, value in alert.fields.items())
    return OVERHEAD + texts + len(alert.summary) + sum(map(len, alert.identity))
