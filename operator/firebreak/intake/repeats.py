"""Alerts that come again: counted in memory at once, on the Incident seldom, and bounded in both.

The first repeat is written at once, further ones of an incident at most every ten seconds. Each write holds the
resourceVersion of what it read, so that two replicas that count the same incident lose nothing to each other.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter

from firebreak.api.base import Json
from firebreak.api.incident import State
from firebreak.intake.alert import Alert
from firebreak.intake.formats.parsed import moment
from firebreak.intake.routes import Decision
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Conflict, NotFound
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.names import LAST_SEEN, REPEATS

log = structlog.get_logger()

SELDOM = 10.0  # seconds between two writes to one incident
MOST = 10_000  # incidents that are remembered
TRIES = 5  # until the next turn: the operator writes to the same incident
AT_ONCE = 4  # incidents that are written to
LARGEST = 999_999_999

Key = tuple[str, ...]
"""Namespace and name of the first incident of an alert, whatever its generation is by now, and how far it goes."""
Again = Callable[[Alert, Decision], Awaitable[None]]
"""Opens another incident for an alert whose incident is over, or gone. Raises `ApiError`."""


@dataclass(slots=True)
class Known:
    """An incident that this process opened or found, and what is not yet counted on it. Small, for there are many."""

    ref: Ref
    decision: Decision
    last: Alert
    uncounted: int = 0
    written: float = float("-inf")


class Repeats:
    """What is known of the incidents that were opened. `clock` counts seconds and never goes back."""

    def __init__(self, api: Api, again: Again, unwritten: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._again = again
        self._unwritten = unwritten
        self._clock = clock
        self._known: OrderedDict[Key, Known] = OrderedDict()
        self._due: dict[Key, float] = {}
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many incidents have repeats that are not yet on record."""
        return len(self._due)

    def learn(self, key: Key, ref: Ref, alert: Alert, decision: Decision) -> None:
        """Remember an incident that was just opened, or found to be there, and what was decided about its alert."""
        before = self._known.pop(key, None)
        uncounted, written = (before.uncounted, before.written) if before else (0, float("-inf"))
        self._known[key] = Known(ref, replace(decision, why=()), _small(alert), uncounted, written)
        if len(self._known) > MOST:
            forgotten, known = self._known.popitem(last=False)
            self._unwritten.inc(known.uncounted)
            self._due.pop(forgotten, None)

    def count(self, key: Key, alert: Alert, times: int = 1) -> Ref | None:
        """Count so many repeats and return their incident; None when none is known here."""
        known = self._known.get(key)
        if known is None:
            return None
        self._known.move_to_end(key)
        known.uncounted += times
        known.last = _small(alert) if alert.time > known.last.time else known.last
        if key not in self._due:
            self._due[key] = max(self._clock(), known.written + SELDOM)
            self._wake.set()
        return known.ref

    async def run(self) -> None:
        """Write what is due, for ever."""
        while True:
            now = self._clock()
            due = [key for key, at in self._due.items() if at <= now]
            if due:
                await self._write(due)
                continue
            self._wake.clear()
            first = min(self._due.values(), default=now + SELDOM)
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=max(0.0, first - now))
            except TimeoutError:
                continue

    async def flush(self) -> None:
        """Write all that is not on record yet; what fails stays uncounted and is logged."""
        await self._write(list(self._due))

    async def _write(self, keys: list[Key]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(key: Key) -> None:
            async with gate:
                await self._write_one(key)

        await asyncio.gather(*map(one, keys))

    async def _write_one(self, key: Key) -> None:
        self._due.pop(key, None)
        known = self._known.get(key)
        if known is None or not known.uncounted:
            return
        known.written = self._clock()
        try:
            await self._counted(key, known)
        except ApiError as error:
            log.warning("repeats not counted yet", incident=str(known.ref), error=str(error))
        if known.uncounted and self._known.get(key) is known:
            self._due[key] = known.written + SELDOM

    async def _counted(self, key: Key, known: Known) -> None:
        for _ in range(TRIES):
            found = await find(self._api, known.ref)
            if found is None or news(known.last, found):
                await self._opened_again(key, known)
                return
            number, last = known.uncounted, known.last.time
            try:
                await self._api.patch(known.ref, _body(found, number, last))
            except (Conflict, NotFound):
                continue
            known.uncounted -= number
            return

    async def _opened_again(self, key: Key, known: Known) -> None:
        """Open another incident for the last repeat, and count the others there. Raises `ApiError`, nothing lost."""
        del self._known[key]
        try:
            await self._again(known.last, known.decision)
        except ApiError:
            self._known.setdefault(key, known)
            raise
        others, known.uncounted = known.uncounted - 1, 0
        if others and (other := self._known.get(key)):
            other.uncounted += others
            self._due.setdefault(key, self._clock())


def _small(alert: Alert) -> Alert:
    """The alert without what only routes look at, and a sender may fill with a megabyte."""
    return replace(alert, fields={})


def news(alert: Alert, found: Json) -> bool:
    """Whether an alert says something that its incident cannot know: that incident was closed before it happened.

    What happened before and is only sent again, by a sender that repeats or by one who replays, opens nothing.
    """
    closed = closed_at(found)
    return closed is not None and alert.time > closed


def closed_at(found: Json) -> datetime | None:
    """Return when an incident was closed; None when it is open. Until the operator tells it, the last write does."""
    if mapping(found.get("spec")).get("state") != State.CLOSED:
        return None
    told = text(mapping(mapping(found.get("status")).get("timings")).get("closedAt"))
    metadata = mapping(found.get("metadata"))
    writes = [
        text(entry.get("time")) for entry in mappings(metadata.get("managedFields")) if not entry.get("subresource")
    ]
    last = told or max(writes, default="") or text(metadata.get("creationTimestamp"))
    return moment(last) or datetime.min.replace(tzinfo=UTC)


def _body(found: Json, number: int, last: datetime) -> Json:
    metadata = mapping(found.get("metadata"))
    annotations = mapping(metadata.get("annotations"))
    count, seen = text(annotations.get(REPEATS)), text(annotations.get(LAST_SEEN))
    before = int(count) if count.isascii() and count.isdigit() and len(count) <= len(str(LARGEST)) else 0
    written = {
        REPEATS: str(min(before + number, LARGEST)),
        LAST_SEEN: max(seen, last.astimezone(UTC).isoformat(timespec="seconds")),
    }
    return {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": written}}
