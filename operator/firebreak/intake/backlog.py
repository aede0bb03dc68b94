"""Alerts that have no Incident yet: of senders that never send again, of those that wait for it, and of audit rules.

Bounded by bytes. What comes again while it waits is one entry with a count. While the API server is away an entry is
tried again for as long as this process runs; when no room is left the sender is told so, and what is lost is counted.
"""

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from firebreak.intake.alert import Alert
from firebreak.intake.desk import Desk
from firebreak.intake.limits import Budget
from firebreak.intake.metrics import Metrics
from firebreak.intake.taken import Outcome, Taken
from firebreak.kube.errors import ApiError
from firebreak.service.supervise import growing_pause

log = structlog.get_logger()

OVERHEAD = 8192  # bytes of an entry beside its texts: its task, its objects
EACH = 200  # bytes of a field beside its text

Identity = tuple[str, ...]
Answer = asyncio.Future[Taken | ApiError]
"""What became of an alert, or what the API server said when it was asked first."""


@dataclass(slots=True)
class _Waiting:
    alert: Alert
    since: float
    again: int = 0
    asking: list[Answer] = field(default_factory=list)
    """Of senders that still wait for the answer."""

    def tell(self, *answers: Taken | ApiError) -> None:
        """Answer who asks: the first with the first, all others with the last."""
        for number, asked in enumerate(self.asking):
            asked.set_result(answers[0 if number == 0 else -1])
        self.asking = []


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

    def put(self, alert: Alert, sender: str, *answers: Answer) -> bool:
        """Accept an alert, and return whether there was room. `answers` are told what became of it."""
        if taken := self._desk.at_once(alert):
            _Waiting(alert, 0.0, asking=[*answers]).tell(taken)
            return True
        identity = (alert.source, *alert.identity, *self._desk.routes.decide(alert).reach)
        if waiting := self._waiting.get(identity):
            waiting.again += not answers or len(waiting.asking) > 0  # who was told to come again is the first one still
            waiting.asking += answers
            return True
        size = weight(alert)
        if not self._budget.claim(sender, size):
            return False
        self._waiting[identity] = _Waiting(alert, time.monotonic(), asking=[*answers])
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
            taken = await self._until_taken(self._waiting[identity], sender)
        finally:
            waiting = self._waiting.pop(identity)
            self._budget.give_back(sender, size)
            self._ended.set()
        again = self._desk.again(waiting.alert, waiting.again) if waiting.again else None
        if waiting.again and again is None:
            self._metrics.alerts.labels(waiting.alert.source, Outcome.LOST).inc(waiting.again)
        waiting.tell(taken, again or taken)

    async def _until_taken(self, waiting: _Waiting, sender: str) -> Taken:
        failures = 0
        while True:
            try:
                taken = await self._desk.take(waiting.alert, sender)
            except ApiError as error:
                failures += 1
                log.warning("alert waits", rule=waiting.alert.rule, failures=failures, error=str(error))
                waiting.tell(error)
                await asyncio.sleep(growing_pause(failures))
                continue
            except Exception:
                self._metrics.alerts.labels(waiting.alert.source, Outcome.LOST).inc()
                log.exception("alert lost to a bug", rule=waiting.alert.rule)
                return Taken(Outcome.LOST, why="an error in Firebreak, which its log tells")
            if taken.outcome is Outcome.OPENED:
                self._metrics.open_seconds.observe(time.monotonic() - waiting.since)
            return taken


def weight(alert: Alert) -> int:
    """Return about how many bytes of memory an alert takes while it waits."""
    texts = sum(len(key) + len(value) + EACH for key, value in alert.fields.items())
    return OVERHEAD + texts + len(alert.summary) + sum(map(len, alert.identity))
