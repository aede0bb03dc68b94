"""Audit events that the API server sends: accepted at once, looked at after.

A slow receiver costs the API server memory (kubernetes #85489), so the answer comes as soon as the batch is there, in
a queue that is bounded by the bytes that may be held; beyond them it is 503, and the API server sends the batch again.
What was answered and not yet looked at dies with the process.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from firebreak.detect.decoding import Malformed
from firebreak.detect.envelopes import events
from firebreak.detect.event import Event
from firebreak.detect.finding import Finding
from firebreak.detect.follow import Position, Tail, batches
from firebreak.detect.reading import sent
from firebreak.intake import findings
from firebreak.intake.backlog import Backlog
from firebreak.intake.limits import Budget
from firebreak.intake.metrics import Metrics
from firebreak.intake.server import Letter, Reply

log = structlog.get_logger()

TURN = 100  # events that are looked at before their findings are handed on: some milliseconds
MOST_MALFORMED = 100_000  # of one batch: 32 MiB hold no more lines of anything that a log has
SENDER = "audit rules"

Feed = Callable[[Event], list[Finding]]
"""All rules and correlations; an event that was seen before finds nothing."""
Tell = Callable[[Finding], None]
"""Tells a SIEM; never waits for it."""


@dataclass(slots=True)
class _Turn:
    """What some events of a batch came to. `ended`: there are no more."""

    findings: list[Finding] = field(default_factory=list)
    events: int = 0
    malformed: int = 0
    ended: bool = False


class AuditStream:
    """Batches of audit events through the rules; each finding is an alert like any other.

    Events are decoded and looked at in a thread. A caller of the API server can make one that takes seconds (a patch of
    three megabytes of nested lists), a sender a batch that takes minutes; alerts and probes are answered meanwhile.
    """

    def __init__(self, feed: Feed, tell: Tell, backlog: Backlog, budget: Budget, metrics: Metrics) -> None:
        self._feed = feed
        self._tell = tell
        self._backlog = backlog
        self._budget = budget
        self._metrics = metrics
        self._batches: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._looking = asyncio.Lock()

    async def take(self, letter: Letter) -> Reply:
        """Accept a batch, which had its place before it was read."""
        self._batches.put_nowait((letter.sender.name, letter.body))
        return Reply(200, {"accepted": len(letter.body)}, keeps=True)

    async def run(self) -> None:
        """Look at batch after batch, for ever."""
        while True:
            sender, body = await self._batches.get()
            try:
                await self.look_at(sent(body))
            finally:
                self._budget.give_back(sender, len(body))

    async def follow(self, tail: Tail) -> None:
        """Look at what is written to a log file, for ever. What has its Incident is not read again after a restart."""
        read, problem = None, ""
        with contextlib.closing(tail):
            async for batch in batches(tail):
                if batch:
                    await self.look_at(each for line in batch.lines for each in events(line, "a line"))
                    self._metrics.malformed.inc(batch.skipped)
                    read = batch.position
                if read and not len(self._backlog):
                    before, problem = problem, _kept(tail, read)
                    read = read if problem else None
                    if problem not in {"", before}:
                        log.error("how far the audit log was read is not kept; trying again", problem=problem)

    async def look_at(self, found: Iterable[Event | Malformed]) -> None:
        """Put events through the rules, and what these find into the backlog; waits while that has no room."""
        each, turn, malformed = iter(found), _Turn(), 0
        while not turn.ended and malformed <= MOST_MALFORMED:
            async with self._looking:  # a thread at a time: what is sent and what is followed share the rules
                turn = await asyncio.to_thread(self._turn, each)
            malformed += turn.malformed
            self._metrics.events.inc(turn.events)
            self._metrics.malformed.inc(turn.malformed)
            for finding in turn.findings:
                await self._hand_on(finding)
        if malformed:
            log.warning("audit events not read", number=malformed, the_rest_left_out=not turn.ended)

    def _turn(self, each: Iterator[Event | Malformed]) -> _Turn:
        """Look at the next events."""
        turn = _Turn()
        for event in itertools.islice(each, TURN):
            if isinstance(event, Malformed):
                turn.malformed += 1
            else:
                turn.events += 1
                turn.findings += self._feed(event)
        turn.ended = turn.events + turn.malformed < TURN
        return turn

    async def _hand_on(self, finding: Finding) -> None:
        self._metrics.findings.labels(finding.level).inc()
        self._tell(finding)
        alert = findings.alert(finding)
        while not self._backlog.put(alert, SENDER):
            await self._backlog.room()


def _kept(tail: Tail, position: Position) -> str:
    """Keep how far a log was read, and return what went wrong. Reading goes on: what it finds is worth more."""
    try:
        tail.done(position)
    except OSError as error:
        return str(error)
    return ""
