"""One audit event out of JSON that nobody vouches for: fast where it is as it should be, else field by field.

What ships audit logs changes them: nulls for what is empty, numbers as text, keys of its own. A field that has another
type than it should counts as not there; an event that lacks its verb is none.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from firebreak.detect.event import Event
from firebreak.detect.shallow import DEEPEST, as_the_server_reads, deeper, shallow

SIZES: Final = {b"{": 232, b"[": 64, b",": 8}
"""Bytes of memory that a map, a list and a value in it take at least (CPython 3.11, 64 bits)."""
MOST_MEMORY: Final = 192 * 2**20
"""Above what one event can make of this, whose body has at most 3 MiB (k8s.io/apiserver, MaxRequestBodyBytes), so that
nobody hides a call; and below what the intake's container has."""
USUAL: Final = 8
"""Times its length is what JSON may take all the same: real events take four or five, noise takes thirty."""
_EVENT: Final = msgspec.json.Decoder(Event)
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is no audit event. `why` quotes nothing of it but its place."""

    where: str
    """As people find it: `line 3`, or `line 3, item 17`."""
    why: str


class NoEventError(Exception):
    """What was given is no audit event; the text says why."""


def strict(data: bytes) -> Event | None:
    """Return the audit event that a JSON object is as the API server writes it; None for anything else."""
    try:
        event = _EVENT.decode(data)
    except UNREADABLE:
        return None
    return event if event.verb else None


def whole(data: bytes) -> bool:
    """Tell whether this is JSON, and all of it. Builds nothing where it can be helped."""
    try:
        _RAW.decode(data)
    except UNREADABLE:
        try:
            parsed(data)
        except NoEventError:
            return False
    return True


def parsed(data: bytes) -> Any:
    """Return any JSON as plain values, unless they are noise that takes all memory. Raises NoEventError."""
    if sum(data.count(opening) * size for opening, size in SIZES.items()) > max(MOST_MEMORY, len(data) * USUAL):
        raise NoEventError("too many values: it would take too much memory to read it; send fewer at once")
    try:
        return msgspec.json.decode(shallow(data) if deeper(data, DEEPEST) else data)
    except UNREADABLE as error:
        place = str(error).partition("(")[2].rstrip(")")
    try:
        return as_the_server_reads(data)
    except ValueError:
        raise NoEventError(f"no JSON{': ' + place if place.startswith('byte') else ''}") from None


def lenient(value: Any) -> Event:
    """Return an audit event from plain values, as far as they have the right types. Raises NoEventError."""
    if not isinstance(value, dict):
        raise NoEventError("no JSON object")
    event: Event = _struct(value, Event)
    if not event.verb:
        raise NoEventError("no verb in it: no event of audit.k8s.io/v1")
    return event


def _struct(value: dict[str, Any], kind: type[msgspec.Struct]) -> Any:
    found: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        given = value.get(each.encode_name)
        if given is None:
            continue
        if each.type is msgspec.Raw:
            text = json.dumps(given, separators=(",", ":"))  # unlike msgspec it writes what is no Unicode
            found[each.name] = msgspec.Raw(text.encode())
            continue
        inner = next((k for k in _kinds(each.type) if issubclass(k, msgspec.Struct)), None)
        if inner and isinstance(given, dict):
            found[each.name] = _struct(given, inner)
            continue
        try:
            found[each.name] = msgspec.convert(given, each.type, strict=False)
        except UNREADABLE:
            continue
    return kind(**found)


def _kinds(annotation: Any) -> list[type]:
    """The classes of a type that may be a union."""
    return [each for each in getattr(annotation, "__args__", (annotation,)) if isinstance(each, type)]
