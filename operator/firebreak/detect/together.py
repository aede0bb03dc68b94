"""One group of a correlation: its things' latest moments; and events that only say that what was newest goes on.

Most events of most groups do: a pod that calls all day from one address. They are recognised by the values that the
correlation asks for and by their time, as the API server wrote it: in its form the order of texts is that of times. A
group learns its moment only when something else happens in it.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

from firebreak.detect.event import Event
from firebreak.detect.fields import Field, characters
from firebreak.detect.stamps import LENGTH, ZULU, moment_of, stamp_of

MOST: Final = 10_000  # groups that are recognised
LONGEST: Final = 1_024  # characters of the values by which a group is recognised

Thing = str | int
Key = tuple[Any, ...]


class Latest:
    """The latest moment of one thing, and an event of about then."""

    __slots__ = ("at", "event", "of_event")

    def __init__(self, at: float, event: Event) -> None:
        self.at = at
        self.event = event
        self.of_event = at


class Together:
    """The latest moments of one group, in the order of time. Moments are in seconds."""

    __slots__ = ("_known", "fired", "latest", "newest", "stamp", "until")

    def __init__(self) -> None:
        self.latest: dict[Thing, Latest] = {}
        self.newest = -inf
        self.fired: float | None = None
        self.stamp = self.until = ""  # of the newest event that was recognised, and of the last that may be
        self._known: tuple[dict[Key, Together], Key] | None = None

    def goes_on(self, things: Sequence[Thing], at: float, fresh: float) -> bool:
        """Tell whether an event brings only what the newest one brought, and move its moment on.

        The event that stands for it stays for a while: a pod that calls all day from one address is one entry.
        """
        newest = self._newest()
        if newest is None or len(things) != 1 or self.latest.get(things[0]) is not newest:
            return False
        if not newest.at <= at <= newest.of_event + fresh:
            return False
        newest.at = self.newest = at
        return True

    def put(self, thing: Thing, at: float, event: Event) -> None:
        """Remember a thing's latest moment."""
        known = self.latest.pop(thing, None)
        latest = known if known is not None and known.at > at else Latest(at, event)
        in_order = self.newest <= latest.at
        self.latest[thing] = latest
        if not in_order:
            self.latest = dict(sorted(self.latest.items(), key=lambda item: item[1].at))
        self.newest = max(self.newest, latest.at)

    def within(self, things: Sequence[Thing], needed: int, timespan: float) -> tuple[Event, ...]:
        """Return so many events within the timespan, one of the things' among them; none if there are not."""
        entries = list(self.latest.items())
        own = {index for index, (thing, _) in enumerate(entries) if thing in things}
        for last in range(len(entries) - 1, needed - 2, -1):
            first = last - needed + 1
            together = entries[last][1].at - entries[first][1].at <= timespan
            if together and any(first <= index <= last for index in own):
                return tuple(each.event for _, each in entries[first : last + 1])
        return ()

    def catch_up(self) -> bool:
        """Learn the moment of the last event that was recognised, and recognise no more; tell whether there was one."""
        if self._known is None:
            return False
        groups, key = self._known
        groups.pop(key, None)
        before, self._known, self.until = self.newest, None, ""
        newest = self._newest()
        if newest is not None:
            newest.at = self.newest = max(self.newest, moment_of(self.stamp) or -inf)
        return self.newest > before

    def recognise(self, groups: "dict[Key, Together]", key: Key, stamp: str, until: float) -> None:
        """Let events of these values, from one with this stamp on, be taken for what goes on until a moment."""
        if characters(key) > LONGEST or moment_of(stamp) != self.newest:
            return
        if len(groups) >= MOST:
            for each in tuple(groups.values()):
                each.catch_up()
        self._known, groups[key] = (groups, key), self
        self.stamp, self.until = stamp, stamp_of(until)

    def _newest(self) -> Latest | None:
        return next(reversed(self.latest.values()), None)


class Steady:
    """The groups of a correlation's rule that are recognised."""

    def __init__(self, key: Callable[[Event], Key]) -> None:
        self._key = key
        self._groups: dict[Key, Together] = {}

    @classmethod
    def of(cls, fields: Sequence[Field]) -> "Steady | None":
        """Return those that are recognised by the values of these fields; None if one lies in a body."""
        reads = [field.of_event for field in fields if field.of_event is not None]
        return cls(_key(reads)) if len(reads) == len(fields) else None

    def goes_on(self, event: Event) -> bool:
        """Tell whether an event says only that what was newest in its group goes on, and take note of it."""
        known = self._groups.get(self._key(event))
        if known is None:
            return False
        stamp = event.stage_timestamp
        if not known.stamp <= stamp <= known.until or len(stamp) != LENGTH or stamp[-1] != ZULU:
            return False
        known.stamp = stamp
        return True

    def recognise(self, event: Event, together: Together, until: float) -> None:
        """Take the next events that bring what this one brought for what goes on."""
        together.recognise(self._groups, self._key(event), event.stage_timestamp, until)


def _key(reads: Sequence[Callable[[Event], Any]]) -> Callable[[Event], Key]:
    if len(reads) == 2:  # noqa: PLR2004 - what most have: one to group by, one to count
        first, second = reads
        return lambda event: (first(event), second(event))
    return lambda event: tuple([read(event) for read in reads])
