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
        self._raw: Mapping[str, tuple[bytes, bool]] = _NOTHING
        self._bodies: Mapping[str, Any] = _NOTHING

    def body(self, attribute: str, key: bytes) -> Any:
        """Return a body in which a key may occur; None for one in which it does not, or that is not there."""
        if attribute in self._bodies:
            return self._bodies[attribute]
        raw = self._raw.get(attribute)
        if raw is None:
            data = bytes(getattr(self.event, attribute))
            raw = data, b"\\u" in data or b"\\/" in data
            self._raw = {**self._raw, attribute: raw}
        data, escaped = raw
        if not escaped and key not in data:
            return None
        body = self._read(data)
        self._bodies = {**self._bodies, attribute: body}
        return body

    def _read(self, data: bytes) -> Any:
        try:
            return _decode(data)
        except (ValueError, RecursionError):
            try:
                return as_the_server_reads(data)
            except (ValueError, RecursionError):
                self.unreadable = True
                return None


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
    cost: Cost = field(compare=False, default=Cost.PLAIN)
    written_by_server: bool = field(compare=False, default=True)
    """Whether an empty text is never recorded, so that only null can mean it."""


def find(name: str) -> Field:
    """Return the field of a name such as `user.username` or `requestObject.spec.hostNetwork`.

    Raises UnknownField.
    """
    if name in _PLAIN:
        return Field(name, _PLAIN[name])
    for root, read in _MAPS.items():
        if name.startswith(f"{root}.") and len(name) > len(root) + 1:
            return Field(name, _entry(read, name[len(root) + 1 :]), Cost.MAP, written_by_server=False)
    root, *parts = name.split(".")
    if root not in _BODIES or not parts or not all(parts):
        raise UnknownField(f"no audit event has a field {name!r}; there are {', '.join(sorted(_PLAIN))}, {_OPEN}")
    if len(parts) > LONGEST_PATH:
        raise UnknownField(f"{name!r} has more than {LONGEST_PATH} parts")
    return Field(name, _path(_BODIES[root], parts), Cost.BODY, written_by_server=False)


def _scalar(attribute: str) -> Callable[[Seen], Values]:
    get = attrgetter(attribute)

    def read(seen: Seen) -> Values:
        value = get(seen.event)
        return (value,) if value else ()

    return read


def _several(attribute: str) -> Callable[[Seen], Values]:
    get = attrgetter(attribute)

    def read(seen: Seen) -> Values:
        return get(seen.event) or ()

    return read


def _of(outer: str, inner: Callable[[Any], Values]) -> Callable[[Seen], Values]:
    get = attrgetter(outer)

    def read(seen: Seen) -> Values:
        part = get(seen.event)
        return () if part is None else inner(part)

    return read


def _own(attribute: str) -> Callable[[Any], Values]:
    get = attrgetter(attribute)

    def read(part: Any) -> Values:
        value = get(part)
        if isinstance(value, tuple):
            return value
        return (value,) if value else ()

    return read


def _structure(name: str, attribute: str, kind: type[msgspec.Struct]) -> dict[str, Callable[[Seen], Values]]:
    own = (each for each in msgspec.structs.fields(kind) if each.name != "extra")
    return {f"{name}.{each.encode_name}": _of(attribute, _own(each.name)) for each in own}


def _last_address(seen: Seen) -> Values:
    return (seen.event.source_ips or ())[-1:]


_TOP: Final = ("audit_id", "stage", "level", "verb", "request_uri", "user_agent",
               "request_received_timestamp", "stage_timestamp")  # fmt: skip
_NAMES: Final = {each.name: each.encode_name for each in msgspec.structs.fields(Event)}
_PLAIN: Final[Mapping[str, Callable[[Seen], Values]]] = {
    **{_NAMES[name]: _scalar(name) for name in _TOP},
    "sourceIPs": _several("source_ips"),
    "sourceIPs.last": _last_address,
    **_structure("user", "user", User),
    **_structure("impersonatedUser", "impersonated_user", User),
    **_structure("objectRef", "object_ref", ObjectRef),
    **_structure("responseStatus", "response_status", Status),
}
_MAPS: Final[Mapping[str, Callable[[Event], Mapping[str, Any] | None]]] = {
    "annotations": attrgetter("annotations"),
    "user.extra": attrgetter("user.extra"),
    "impersonatedUser.extra": lambda event: event.impersonated_user.extra if event.impersonated_user else None,
}
_OPEN: Final = ", ".join(f"{root}.KEY" for root in _MAPS) + ", " + ", ".join(f"{root}.PATH" for root in _BODIES)


def _entry(read: Callable[[Event], Mapping[str, Any] | None], key: str) -> Callable[[Seen], Values]:
    """Read one entry of a flat map; its key may have dots."""

    def entry(seen: Seen) -> Values:
        value = (read(seen.event) or {}).get(key)
        if value is None:
            return ()
        return value if isinstance(value, tuple) else (value,)

    return entry


Step = tuple[tuple[str, int], ...]


def _path(body: str, parts: Sequence[str]) -> Callable[[Seen], Values]:
    """Read a path of a body.

    A key may itself have dots (labels, annotations): from each map on, the shortest key that leads to a value is
    taken. The longest would let the author of a patch hide `spec.hostNetwork` behind a key of that very name, which
    the API server ignores.
    """
    count, last = len(parts), parts[-1]
    key = last.encode() if last.isprintable() and not {'"', "\\"} & set(last) else b""  # else it is escaped in JSON
    steps: list[Step] = [
        tuple((".".join(parts[start:end]), end) for end in range(start + 1, count + 1)) for start in range(count)
    ]

    def read(seen: Seen) -> Values:
        found: list[Any] = []
        _collect(seen.body(body, key), 0, steps, found)
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
