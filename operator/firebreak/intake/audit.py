"""Audit events that the API server sends: accepted at once, looked at after.

A slow receiver costs the API server memory (kubernetes #85489), so the answer comes as soon as the batch has its place
in a queue that is bounded by bytes; without a place it is 503, and the API server sends the batch again. What was
answered and not yet looked at dies with the process: who must not lose an event follows the log file, which has a
checkpoint.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

import msgspec
import structlog

from firebreak.detect.event import Event
from firebreak.detect.finding import Finding
from firebreak.detect.shallow import shallow
from firebreak.intake import findings
from firebreak.intake.backlog import Backlog
from firebreak.intake.limits import Budget
from firebreak.intake.metrics import Metrics
from firebreak.intake.refusal import overloaded
from firebreak.intake.server import Letter, Reply

log = structlog.get_logger()

TURN = 100  # events that are looked at before others have their turn: some milliseconds
SENDER = "audit rules"

Decode = Callable[[bytes], Iterable[object]]
"""Yields each `Event` of a document, and something that says why in the place of what is none."""
Feed = Callable[[Event], list[Finding]]
"""All rules and correlations; an event that was seen before finds nothing."""


class _Batch(msgspec.Struct):
    """An `EventList` of audit.k8s.io/v1."""

    items: tuple[msgspec.Raw, ...]


_BATCH, _EVENT = msgspec.json.Decoder(_Batch), msgspec.json.Decoder(Event)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def batch(body: bytes) -> Iterator[Event | None]:
    """Yield the events that an API server's webhook sent, None in the place of what is none."""
    try:
        items = _items(body)
    except _UNREADABLE:
        items = (msgspec.Raw(),)
    for item in items:
        try:
            yield _EVENT.decode(item)
        except _UNREADABLE:
            yield None


def _items(body: bytes) -> tuple[msgspec.Raw, ...]:
    try:
        return _BATCH.decode(body).items
    except RecursionError:  # as rare as who sends such a thing, and twenty times the work
        return _BATCH.decode(shallow(body)).items


class AuditStream:
    """Batches of audit events through the rules; each finding is an alert like any other."""

    def __init__(self, decode: Decode, feed: Feed, backlog: Backlog, budget: Budget, metrics: Metrics) -> None:
        self._decode = decode
        self._feed = feed
        self._backlog = backlog
        self._budget = budget
        self._metrics = metrics
        self._batches: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def take(self, letter: Letter) -> Reply:
        """Accept a batch. Raises `Refused` when there is no place for it."""
        if not self._budget.claim(letter.sender.name, len(letter.body)):
            raise overloaded("too many audit events wait for the rules; send this batch again")
        self._batches.put_nowait((letter.sender.name, letter.body))
        return Reply(200, {"accepted": len(letter.body)})

    async def run(self) -> None:
        """Look at batch after batch, for ever."""
        while True:
            sender, body = await self._batches.get()
            try:
                await self.look_at(self._decode(body))
            finally:
                self._budget.give_back(sender, len(body))

    async def look_at(self, events: Iterable[object]) -> None:
        """Put events through the rules, and what these find into the backlog; waits while that has no room."""
        malformed = 0
        for number, event in enumerate(events, start=1):
            if not isinstance(event, Event):
                malformed += 1
                continue
            self._metrics.events.inc()
            for finding in self._feed(event):
                await self._hand_on(finding)
            if number % TURN == 0:
                await asyncio.sleep(0)
        if malformed:
            self._metrics.malformed.inc(malformed)
            log.warning("audit events not read", number=malformed)

    async def _hand_on(self, finding: Finding) -> None:
        self._metrics.findings.labels(finding.level).inc()
        alert = findings.alert(finding)
        while not self._backlog.put(alert, SENDER):
            await self._backlog.room()
