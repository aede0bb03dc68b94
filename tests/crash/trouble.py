"""Where a run is disturbed, and how: each call of Firebreak's, to whatever server, is a point."""

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from fake_api import Answer, Call, Close, FakeApi, Meanwhile, Silence, Stale
from fake_api.faults import How

UNIQUE = re.compile(r"\d{8}T\d+Z-[0-9a-f]{8}")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STREAMS = {"pods/exec", "pods/log"}


class Kind(StrEnum):
    """What befalls a call. The first two kill the process that made it."""

    DIES_BEFORE = "dies-before"
    DIES_AFTER = "dies-after"
    CONFLICT = "409"
    BUSY = "429"
    BROKEN = "500"
    UNAVAILABLE = "503"
    SILENT = "silent-after"
    RESET = "reset"
    LOST = "lost-after"
    STALE = "stale"
    DROPPED = "watches-drop"
    EXPIRED = "watches-expire"

    @property
    def deadly(self) -> bool:
        return self in {Kind.DIES_BEFORE, Kind.DIES_AFTER}


@dataclass(frozen=True, order=True)
class Point:
    """The n-th call of a run that looks like this, whichever process makes it. `where`: api, store or outside."""

    where: str
    what: str
    n: int
    verb: str = ""

    def __str__(self) -> str:
        return f"{self.where}-{re.sub(r'[^A-Za-z0-9.]+', '-', self.what).strip('-')}-{self.n}"


@dataclass
class Tally:
    """Names each call by what it asks, in the order in which they came."""

    points: list[Point] = field(default_factory=list)
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    _named: dict[int, Point] = field(default_factory=dict)

    def call(self, call: Call) -> Point:
        """The point of a call to the API server, however often it is asked for."""
        if call.n not in self._named:
            verb = _verb(call)
            path = call.path.removeprefix("/apis/").removeprefix("/api/v1/")
            self._named[call.n] = self.next("api", f"{call.verb} {path}", verb)
        return self._named[call.n]

    def next(self, where: str, what: str, verb: str) -> Point:
        what = UID.sub("UID", UNIQUE.sub("NEW", what))
        self._seen[where, what] += 1
        point = Point(where, what, self._seen[where, what], verb)
        self.points.append(point)
        return point


def _verb(call: Call) -> str:
    if call.resource in STREAMS:
        return "stream"
    if call.is_write:
        return "write"
    return "watch" if call.verb == "watch" else "read" if call.method == "GET" else "ask"


READS = (Kind.DIES_BEFORE, Kind.BUSY, Kind.BROKEN, Kind.UNAVAILABLE, Kind.SILENT, Kind.RESET)
CHANGES = (Kind.DIES_BEFORE, Kind.DIES_AFTER, Kind.CONFLICT, *READS[1:], Kind.LOST)


def kinds(point: Point) -> tuple[Kind, ...]:
    """What can befall a call."""
    if point.where == "store":
        after = (Kind.DIES_AFTER, Kind.LOST) if point.verb == "create" else ()
        return (Kind.DIES_BEFORE, Kind.RESET, *after)
    if point.where == "outside":
        return (Kind.DIES_BEFORE, Kind.DIES_AFTER, Kind.BUSY, Kind.BROKEN, Kind.SILENT, Kind.LOST)
    watches = (Kind.DROPPED, Kind.EXPIRED)
    if point.verb == "read":
        return (*READS, Kind.STALE, *watches)
    if point.verb == "stream":  # one that is never answered is a gap, for it may be the container that keeps silent
        return tuple(kind for kind in (*READS, *watches) if kind is not Kind.SILENT)
    return (*CHANGES, *watches) if point.verb == "write" else (*READS, *watches)


def how(kind: Kind, fake: FakeApi) -> How:
    """The fault of the fake API server that stands for a kind which kills nobody."""
    hows: dict[Kind, How] = {
        Kind.CONFLICT: Answer(409),
        Kind.BUSY: Answer(429, retry_after=1),
        Kind.BROKEN: Answer(500),
        Kind.UNAVAILABLE: Answer(503),
        Kind.SILENT: Silence(),
        Kind.RESET: Close(),
        Kind.LOST: Close(after_effect=True),
        Kind.STALE: Stale(),
        Kind.DROPPED: Meanwhile(fake.drop_watches),
        Kind.EXPIRED: Meanwhile(fake.expire_watches),
    }
    return hows[kind]
