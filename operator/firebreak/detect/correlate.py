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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import Final

import msgspec

from firebreak.detect.event import Event, ObjectRef
from firebreak.detect.fields import Seen, Values
from firebreak.detect.patterns import text_of
from firebreak.detect.rules import Correlation, Kind
from firebreak.detect.together import Steady, Thing, Together

GRACE: Final = 60.0  # seconds; an API server's webhook batch is sent after 30 at most
MOST_KEPT: Final = 10_000  # events of one correlation
FRESH: Final = 0.25  # of a timespan: so old may be the event that stands for a thing that goes on
LONGEST: Final = 256  # characters of a text that is kept; names of Kubernetes have at most 253

Group = tuple[str, ...]
Things = Callable[[Seen, str], Sequence[Thing]]
NOTHING: Final[tuple[tuple[Event, ...], Group]] = ((), ())


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


class Tracker:
    """One correlation at work."""

    def __init__(self, correlation: Correlation, counts: Counts, most: int = MOST_KEPT) -> None:
        self.correlation = correlation
        self._counts = counts
        self._most = most
        self._groups: dict[Group, Together] = {}
        self._kept = 0
        self._nameless = 0  # events without auditID, each a request of its own
        kinds: dict[Kind, Things] = {
            Kind.VALUE_COUNT: self._values,
            Kind.EVENT_COUNT: self._requests,
            Kind.TEMPORAL: lambda _, rule: (rule,),
        }
        self._things = kinds[correlation.kind]
        """The distinct things that an event of a rule brings."""
        self._read = {rule: [each.read for each in fields] for rule, fields in correlation.groups.items()}
        self._steady = {rule: self._steady_of(rule) for rule in correlation.rules}

    @property
    def kept(self) -> int:
        """How many events it holds."""
        return self._kept

    def steady(self, rule: str) -> Steady | None:
        """Return what recognises events of a rule that need not be added, for they bring nothing new."""
        return self._steady[rule]

    def _steady_of(self, rule: str) -> Steady | None:
        correlation = self.correlation
        if correlation.kind is Kind.EVENT_COUNT:
            return None  # each brings a request
        counted = (correlation.counted[rule],) if correlation.kind is Kind.VALUE_COUNT else ()
        return Steady.of((*correlation.groups[rule], *counted))

    def add(
        self, seen: Seen, rule: str, at: float, believed: float, *, undated: bool = False
    ) -> tuple[tuple[Event, ...], Group]:
        """Take an event that a rule matched at a moment, in seconds; return those that complete the correlation.

        `believed` is the last moment that an event's own time may name. `undated`: it names none, and the moment is
        the reader's, who may read an old log: then no other group is over for it.
        """
        correlation, timespan = self.correlation, self.correlation.timespan
        things = self._things(seen, rule)
        if not things:
            return NOTHING
        group = tuple([_joined(read(seen)) for read in self._read[rule]])
        together = self._groups.pop(group, None) or Together()
        self._groups[group] = together  # last: the most recent
        together.catch_up()
        if not together.goes_on(things, at, timespan * FRESH):
            if at < together.newest - timespan - GRACE:
                self._counts.late += 1
                return NOTHING
            self._put(together, things, at, slim(seen.event))
            self._shrink(-inf if undated else at - timespan - GRACE)
        if len(together.latest) < correlation.needed:
            self._recognise(together, things, seen.event, rule, believed)
            return NOTHING
        if together.fired is not None and abs(at - together.fired) < timespan:
            return NOTHING
        events = together.within(things, correlation.needed, timespan)
        if events:
            together.fired = at
        return events, group

    def _recognise(self, together: Together, things: Sequence[Thing], event: Event, rule: str, believed: float) -> None:
        """Let what comes next of an event's one thing be told by little, while it is the newest of its group."""
        steady, known = self._steady[rule], together.latest.get(things[0]) if len(things) == 1 else None
        if steady is not None and known is not None and known.at == together.newest:
            steady.recognise(event, together, min(known.of_event + self.correlation.timespan * FRESH, believed))

    def _values(self, seen: Seen, rule: str) -> Sequence[Thing]:
        values = self.correlation.counted[rule].read(seen)
        if len(values) == 1:
            text = text_of(values[0])
            return () if text is None else (_short(text),)
        texts = map(text_of, values[: 2 * self.correlation.needed])
        return [_short(text) for text in texts if text is not None]

    def _requests(self, seen: Seen, _: str) -> Sequence[Thing]:
        if seen.event.audit_id:
            return (request_of(seen.event),)
        self._nameless += 1
        return (f"{self._nameless}",)

    def _put(self, together: Together, things: Sequence[Thing], at: float, event: Event) -> None:
        before = len(together.latest)
        for thing in things:
            together.put(thing, at, event)
        latest = together.latest
        oldest = together.newest - self.correlation.timespan - GRACE
        while len(latest) > 2 * self.correlation.needed or next(iter(latest.values())).at < oldest:
            del latest[next(iter(latest))]
        self._kept += len(latest) - before

    def _shrink(self, before: float) -> None:
        """Forget groups that are over, and while there are too many those that were quiet for longest."""
        while len(self._groups) > 1:
            name, oldest = next(iter(self._groups.items()))
            if oldest.catch_up():  # it was not quiet
                self._groups[name] = self._groups.pop(name)
                continue
            over = oldest.newest < before
            if not over and self._kept <= self._most:
                return
            self._counts.evicted += not over
            self._kept -= len(oldest.latest)
            del self._groups[name]


def request_of(event: Event) -> int:
    """Return what tells two requests apart, whatever stage of them an event is about: 64 bits, keyed by this process.

    Not the auditID alone: a caller may choose it, with the header Audit-ID (k8s.io/apiserver, WithAuditInit), and
    would count as one request for ever.
    """
    time = event.request_received_timestamp
    return hash((event.audit_id, time, event.verb, event.user.username, event.request_uri))


def _joined(values: Values) -> str:
    """Return what a field has as one text."""
    if len(values) == 1 and isinstance(values[0], str):
        return _short(values[0])
    return _short(",".join(text for text in map(text_of, values) if text is not None))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else _digest(text)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def slim(event: Event) -> Event:
    """Return an event as it is kept: without bodies, and with no text that its caller could make long."""
    ref = event.object_ref
    texts = () if ref is None else (ref.name, ref.namespace, ref.resource, ref.subresource, ref.api_group)
    longest = max(map(len, (event.request_uri, event.user_agent, *texts)))
    if longest <= LONGEST and not len(event.request_object) and not len(event.response_object):
        return event
    if ref is not None:
        ref = ObjectRef(*(text[:LONGEST] for text in msgspec.structs.astuple(ref)))
    return msgspec.structs.replace(
        event,
        request_object=msgspec.Raw(),
        response_object=msgspec.Raw(),
        request_uri=event.request_uri[:LONGEST],
        user_agent=event.user_agent[:LONGEST],
        object_ref=ref,
    )
