"""The fields of an audit event as a rule names them: which there are, and how their values are read.

A field has any number of values: a list's elements are its values, and a path that meets a list goes into each of its
maps. What is absent, null, or empty in a part that the API server writes has none.

Source of the names: audit.k8s.io/v1 as JSON (`detect.event`). `sourceIPs.last` is ours: the address of the connection's
peer. The addresses before it come from the caller's own headers (k8s.io/apimachinery/pkg/util/net, SourceIPs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from operator import attrgetter
from typing import Any, Final

import msgspec

from firebreak.detect.event import Event, ObjectRef, Status, User
from firebreak.detect.shallow import as_the_server_reads

LONGEST_PATH: Final = 16  # parts; a Kubernetes object needs about ten
_BODIES: Final = {"requestObject": "request_object", "responseObject": "response_object"}
_NOTHING: Final[Mapping[str, Any]] = {}
_decode = msgspec.json.Decoder().decode


class UnknownField(ValueError):
    """No audit event has such a field; the text names those that there are."""


class Seen:
    """An event that is being looked at, with its bodies decoded once, and only if a rule asks."""

    __slots__ = ("_bodies", "_raw", "event", "unreadable")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.unreadable = False
        """Whether a body was asked for that is no JSON."""
        self._raw: dict[str, tuple[bytes, bool]] = {}
        self._bodies: dict[str, Any] = {}

    def bytes_of(self, body: str) -> tuple[bytes, bool]:
        """Return a body as it came, and whether its keys may be written otherwise than they are."""
        raw = self._raw.get(body)
        if raw is None:
            data = bytes(getattr(self.event, body))
            raw = self._raw[body] = data, b"\\u" in data or b"\\/" in data
        return raw

    def body(self, place: "Place") -> Any:
        """Return the body in which a path may be; None for one that has it not, or that is not there."""
        data, escaped = self.bytes_of(place.body)
        if not escaped and not all(key in data for key in place.keys):
            return None
        if place.body not in self._bodies:
            self._bodies[place.body] = self._read(data)
        return self._bodies[place.body]

    def _read(self, data: bytes) -> Any:
        try:
            return _decode(data)
        except (ValueError, RecursionError):
            try:
                return as_the_server_reads(data)
            except (ValueError, RecursionError):
                self.unreadable = True
                return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an event a path into a body leads."""

    body: str
    """The attribute of `Event`."""
    keys: tuple[bytes, ...]
    """What is in every body that has it, unless it is escaped."""


class Cost(IntEnum):
    """What reading a field takes; cheap ones are asked first."""

    PLAIN = 0
    MAP = 1
    BODY = 2


Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. Two of the same name are the same field."""

    name: str
    read: Callable[[Seen], Values] = field(compare=False, repr=False)
    of_event: Callable[[Event], Values] | None = field(compare=False, repr=False, default=None)
    """The same, where no body is looked into."""
    cost: Cost = field(compare=False, default=Cost.PLAIN)
    written_by_server: bool = field(compare=False, default=True)
    """Whether an empty text is never recorded, so that only null can mean it."""
    place: Place | None = field(compare=False, default=None)
    """Of a path into a body."""


def characters(value: Any) -> int:
    """Return how many characters are in a text, or in all that is in a tuple; anything else is one."""
    return len(value) if isinstance(value, str) else sum(map(characters, value)) if isinstance(value, tuple) else 1


def find(name: str) -> Field:
    """Return the field of a name such as `user.username` or `requestObject.spec.hostNetwork`.

    Raises UnknownField.
    """
    if name in _PLAIN:
        return _outside(name, _PLAIN[name])
    for root, entry in _MAPS.items():
        if name.startswith(f"{root}.") and len(name) > len(root) + 1:
            return _outside(name, entry(name[len(root) + 1 :]), Cost.MAP, written_by_server=False)
    root, *parts = name.split(".")
    if root not in _BODIES or not parts or not all(parts):
        raise UnknownField(f"no audit event has a field {name!r}; there are {', '.join(sorted(_PLAIN))}, {_OPEN}")
    if len(parts) > LONGEST_PATH:
        raise UnknownField(f"{name!r} has more than {LONGEST_PATH} parts")
    place = Place(_BODIES[root], _keys(parts))
    return Field(name, _path(place, parts), cost=Cost.BODY, written_by_server=False, place=place)


def _outside(
    name: str, read: Callable[[Event], Values], cost: Cost = Cost.PLAIN, *, written_by_server: bool = True
) -> Field:
    """Return a field outside the bodies."""
    return Field(name, lambda seen: read(seen.event), read, cost, written_by_server)


def _scalar(attribute: str) -> Callable[[Event], Values]:
    get = attrgetter(attribute)

    def read(event: Event) -> Values:
        value = get(event)
        return (value,) if value else ()

    return read


def _several(attribute: str) -> Callable[[Event], Values]:
    get = attrgetter(attribute)

    def read(event: Event) -> Values:
        return get(event) or ()

    return read


def _of(outer: str, inner: str) -> Callable[[Event], Values]:
    get, own = attrgetter(outer), attrgetter(inner)

    def read(event: Event) -> Values:
        part = get(event)
        value = None if part is None else own(part)
        return (value,) if value else ()

    return read


def _all_of(outer: str, inner: str) -> Callable[[Event], Values]:
    get, own = attrgetter(outer), attrgetter(inner)

    def read(event: Event) -> Values:
        part = get(event)
        return () if part is None else own(part) or ()

    return read


def _structure(name: str, attribute: str, kind: type[msgspec.Struct]) -> dict[str, Callable[[Event], Values]]:
    own = (each for each in msgspec.structs.fields(kind) if each.name != "extra")
    return {
        f"{name}.{each.encode_name}": (_all_of if each.name == "groups" else _of)(attribute, each.name) for each in own
    }


def _last_address(event: Event) -> Values:
    return (event.source_ips or ())[-1:]


_TOP: Final = ("audit_id", "stage", "level", "verb", "request_uri", "user_agent",
               "request_received_timestamp", "stage_timestamp")  # fmt: skip
_NAMES: Final = {each.name: each.encode_name for each in msgspec.structs.fields(Event)}
_PLAIN: Final[Mapping[str, Callable[[Event], Values]]] = {
    **{_NAMES[name]: _scalar(name) for name in _TOP},
    "sourceIPs": _several("source_ips"),
    "sourceIPs.last": _last_address,
    **_structure("user", "user", User),
    **_structure("impersonatedUser", "impersonated_user", User),
    **_structure("objectRef", "object_ref", ObjectRef),
    **_structure("responseStatus", "response_status", Status),
}


def _of_annotations(key: str) -> Callable[[Event], Values]:
    def read(event: Event) -> Values:
        value = event.annotations.get(key) if event.annotations else None
        return () if value is None else (value,)

    return read


def _of_extra(key: str) -> Callable[[Event], Values]:
    def read(event: Event) -> Values:
        extra = event.user.extra  # written out, for it is asked of most events
        return extra.get(key, ()) if extra else ()

    return read


def _of_impersonated_extra(key: str) -> Callable[[Event], Values]:
    def read(event: Event) -> Values:
        extra = event.impersonated_user.extra if event.impersonated_user else None
        return extra.get(key, ()) if extra else ()

    return read


_MAPS: Final[Mapping[str, Callable[[str], Callable[[Event], Values]]]] = {
    "annotations": _of_annotations,
    "user.extra": _of_extra,
    "impersonatedUser.extra": _of_impersonated_extra,
}
"""By the name of a flat map: how one entry of it is read. A key may have dots."""
_OPEN: Final = ", ".join(f"{root}.KEY" for root in _MAPS) + ", " + ", ".join(f"{root}.PATH" for root in _BODIES)

Step = tuple[tuple[str, int], ...]


def _keys(parts: Sequence[str]) -> tuple[bytes, ...]:
    """Return what has to be in a body that has a path: its last two parts, which tell most, the last first.

    Two may be one key, with a dot between them. So only the last is known to end one.
    """
    plain = [None if not part.isprintable() or {'"', "\\"} & set(part) else part for part in parts]
    last, before = plain[-1], plain[-2] if len(plain) > 1 else None
    return tuple(key.encode() for key in (last and f'{last}"', before) if key)


def _path(place: Place, parts: Sequence[str]) -> Callable[[Seen], Values]:
    """Read a path of a body.

    A key may itself have dots (labels, annotations): from each map on, the shortest key that leads to a value is
    taken. The longest would let the author of a patch hide `spec.hostNetwork` behind a key of that very name, which
    the API server ignores.
    """
    count = len(parts)
    steps: list[Step] = [
        tuple((".".join(parts[start:end]), end) for end in range(start + 1, count + 1)) for start in range(count)
    ]

    def read(seen: Seen) -> Values:
        found: list[Any] = []
        _collect(seen.body(place), 0, steps, found)
        return found

    return read


def _collect(node: Any, at: int, steps: Sequence[Step], found: list[Any]) -> None:
    """Add to `found` what lies at the path's end, below `node`."""
    if isinstance(node, list):
        for each in node:
            if not isinstance(each, list):  # no object of Kubernetes has a list in a list
                _collect(each, at, steps, found)
    elif at == len(steps):
        if node is not None:
            found.append(node)
    elif isinstance(node, dict):
        before = len(found)
        for key, end in steps[at]:
            if key in node:
                _collect(node[key], end, steps, found)
                if len(found) > before:
                    return
