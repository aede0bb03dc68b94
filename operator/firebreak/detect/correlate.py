"""Correlations: what counts is how many distinct things came together within a timespan.

One algorithm for all kinds. Of each group the latest moment of each distinct thing is kept (requests of event_count,
values of value_count, rules of temporal): it is true when so many of them lie within the timespan. So a group holds at
most twice as many as are needed, however many events come. Time is the API servers' (`stageTimestamp`).

- Events come out of order when there are several API servers. What is at most GRACE seconds older than the timespan
  before the group's newest event still counts; what is older is counted as late and left out.
- A group fires when its condition becomes true, and then not again before the timespan has passed.
- Memory: at most MOST_KEPT events in all groups of a correlation. The group that was quiet for longest goes first, and
  is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from firebreak.detect.event import Event, ObjectRef
from firebreak.detect.fields import Field, Seen
from firebreak.detect.patterns import text_of
from firebreak.detect.rules import Correlation, Kind

GRACE: Final = 60.0  # seconds; an API server's webhook batch is sent after 30 at most
MOST_KEPT: Final = 10_000  # events of one correlation
LONGEST: Final = 256  # characters of a text that is kept; names of Kubernetes have at most 253

Group = tuple[str, ...]


@dataclass(slots=True)
class Counts:
    """What a detector had to leave out, since it started. Whoever runs it says so."""

    repeats: int = 0
    """Events that a rule matched and that came again."""
    unreadable: int = 0
    """Bodies that a rule asked for and that could not be decoded."""
    late: int = 0
    """Events that came too late for a correlation."""
    evicted: int = 0
    """Groups of a correlation that were forgotten because there were too many."""
    misdated: int = 0
    """Events without a time, or with one in the future, that were taken as happening when they came."""


class _Together:
    """The latest moments of one group, in the order of time."""

    __slots__ = ("fired", "latest")

    def __init__(self) -> None:
        self.latest: dict[str, tuple[float, Event]] = {}
        self.fired: float | None = None

    @property
    def newest(self) -> float:
        return next(reversed(self.latest.values()))[0]

    def put(self, key: str, at: float, event: Event) -> None:
        """Remember a thing's latest moment."""
        known = self.latest.pop(key, None)
        latest = known if known is not None and known[0] > at else (at, event)
        in_order = not self.latest or self.newest <= latest[0]
        self.latest[key] = latest
        if not in_order:
            self.latest = dict(sorted(self.latest.items(), key=lambda item: item[1][0]))

    def within(self, keys: Sequence[str], needed: int, timespan: float) -> tuple[Event, ...]:
        """Return so many events within the timespan, one of the keys' among them; none if there are not."""
        entries = list(self.latest.items())
        own = {index for index, (key, _) in enumerate(entries) if key in keys}
        for last in range(len(entries) - 1, needed - 2, -1):
            first = last - needed + 1
            together = entries[last][1][0] - entries[first][1][0] <= timespan
            if together and any(first <= index <= last for index in own):
                return tuple(event for _, (_, event) in entries[first : last + 1])
        return ()


class Tracker:
    """One correlation at work."""

    def __init__(self, correlation: Correlation, counts: Counts, most: int = MOST_KEPT) -> None:
        self.correlation = correlation
        self._counts = counts
        self._most = most
        self._groups: dict[Group, _Together] = {}
        self._kept = 0
        self._nameless = 0  # events without auditID, each a request of its own

    @property
    def kept(self) -> int:
        """How many events it holds."""
        return self._kept

    def add(self, seen: Seen, rule: str, at: float) -> tuple[tuple[Event, ...], Group]:
        """Take an event that a rule matched at a moment, in seconds; return those that complete the correlation."""
        correlation = self.correlation
        keys = self._keys(seen, rule)
        if not keys:
            return (), ()
        name = tuple(_value(field, seen) for field in correlation.groups[rule])
        together = self._groups.pop(name, None) or _Together()
        self._groups[name] = together  # last: the most recent
        horizon = correlation.timespan + GRACE
        if together.latest and at < together.newest - horizon:
            self._counts.late += 1
            return (), ()
        self._put(together, keys, at, _slim(seen.event))
        self._shrink(at - horizon)
        if together.fired is not None and abs(at - together.fired) < correlation.timespan:
            return (), ()
        events = together.within(keys, correlation.needed, correlation.timespan)
        if events:
            together.fired = at
        return events, name

    def _keys(self, seen: Seen, rule: str) -> list[str]:
        """The distinct things that an event brings."""
        match self.correlation.kind:
            case Kind.EVENT_COUNT:
                self._nameless += not seen.event.audit_id
                return [request_of(seen.event) if seen.event.audit_id else f"{self._nameless}"]
            case Kind.TEMPORAL:
                return [rule]
            case Kind.VALUE_COUNT:
                values = self.correlation.counted[rule].read(seen)[: 2 * self.correlation.needed]
                return [_short(text) for text in map(text_of, values) if text is not None]

    def _put(self, together: _Together, keys: Sequence[str], at: float, event: Event) -> None:
        before = len(together.latest)
        for key in keys:
            together.put(key, at, event)
        latest = together.latest
        oldest = together.newest - self.correlation.timespan - GRACE
        while len(latest) > 2 * self.correlation.needed or next(iter(latest.values()))[0] < oldest:
            del latest[next(iter(latest))]
        self._kept += len(latest) - before

    def _shrink(self, before: float) -> None:
        """Forget groups that are over, and while there are too many those that were quiet for longest."""
        while len(self._groups) > 1:
            name, oldest = next(iter(self._groups.items()))
            over = oldest.newest < before
            if not over and self._kept <= self._most:
                return
            self._counts.evicted += not over
            self._kept -= len(oldest.latest)
            del self._groups[name]


def request_of(event: Event) -> str:
    """Return what tells two requests apart, whatever stage of them an event is about.

    Not the auditID alone: a caller may choose it, with the header Audit-ID (k8s.io/apiserver, WithAuditInit), and
    would count as one request for ever.
    """
    parts = (event.audit_id, event.request_received_timestamp, event.verb, event.user.username, event.request_uri)
    return _digest("\0".join(parts))


def _value(field: Field, seen: Seen) -> str:
    return _short(",".join(text for text in map(text_of, field.read(seen)) if text is not None))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else _digest(text)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _slim(event: Event) -> Event:
    """Return an event as it is kept: without bodies, and with no text that its caller could make long."""
    ref = event.object_ref
    if ref is not None and any(len(text) > LONGEST for text in msgspec.structs.astuple(ref)):
        ref = ObjectRef(*(text[:LONGEST] for text in msgspec.structs.astuple(ref)))
    return msgspec.structs.replace(
        event,
        request_object=msgspec.Raw(),
        response_object=msgspec.Raw(),
        request_uri=event.request_uri[:LONGEST],
        user_agent=event.user_agent[:LONGEST],
        object_ref=ref,
    )
