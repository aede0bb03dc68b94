"""What audit events come wrapped in on their way through logs of clouds and shippers.

- `EventList` of audit.k8s.io/v1, and JSON arrays of any of these.
- EKS: CloudWatch Logs. A subscription document (`logEvents`), `aws logs filter-log-events` (`events`), a result of Logs
  Insights (`results` of `@message` fields); each with the event as text in `message`. Source: Amazon's CloudWatch Logs
  User Guide, "Subscriptions"; its API reference, FilterLogEvents and GetQueryResults.
- AKS: a diagnostic record of category kube-audit or kube-audit-admin, the event as text in `properties.log`; `records`
  of Event Hubs. Source: Microsoft's "Monitor AKS data reference".
- GKE: see `cloudaudit`.
- Fluent Bit and Vector: the line as text, or the parsed event, in `log` or `message`.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from firebreak.detect import cloudaudit
from firebreak.detect.decoding import UNREADABLE, Malformed, NoEventError, lenient, parsed, strict
from firebreak.detect.event import Event

DEEPEST: Final = 6  # wrappings within each other: an array of records of text of a list of events has five
MOST_ITEMS: Final = 1_000_000  # of a list, and commas of all that is in it, to be taken apart without building values
TOO_DEEP: Final = "wrapped too often"
LISTS: Final = ("items", "logEvents", "events", "records", "results")
WRAPS: Final = ("message", "@message", "log")


def events(data: bytes, where: str, deep: int = DEEPEST) -> Iterator[Event | Malformed]:
    """Yield each audit event of a document, and what is none in its place. `where` names it. Never raises."""
    if deep == 0:
        yield Malformed(where, TOO_DEEP)
        return
    event = strict(data)
    if event is not None:
        yield event
    elif items := _items(data):
        for number, item in enumerate(items, start=1):
            yield from events(bytes(item), f"{where}, item {number}", deep - 1)
    else:
        yield from _document(data, where, deep)


class _List(msgspec.Struct):
    """An `EventList`, its items as they are: what an API server sends is not taken apart twice."""

    items: tuple[msgspec.Raw, ...] = ()
    verb: msgspec.Raw = msgspec.Raw()


_LIST: Final = msgspec.json.Decoder(_List)


def _items(data: bytes) -> tuple[msgspec.Raw, ...]:
    if data.count(b",") > MOST_ITEMS:
        return ()  # it may be a list of nothing but zeros, each of which would take 80 bytes here
    try:
        found = _LIST.decode(data)
    except UNREADABLE:
        return ()
    return () if len(found.verb) else found.items


def _document(data: bytes, where: str, deep: int) -> Iterator[Event | Malformed]:
    try:
        value = parsed(data)
    except NoEventError as error:
        yield Malformed(where, str(error))
    else:
        yield from _value(value, where, deep)


def _value(value: Any, where: str, deep: int) -> Iterator[Event | Malformed]:
    if deep == 0:
        yield Malformed(where, TOO_DEEP)
    elif isinstance(value, str):
        yield from _document(value.encode(errors="replace"), where, deep - 1)
    elif isinstance(value, list):
        for number, each in enumerate(value, start=1):
            yield from _value(each, f"{where}, item {number}", deep - 1)
    elif isinstance(value, dict):
        yield from _object(value, where, deep)
    else:
        yield Malformed(where, "no JSON object")


def _object(value: dict[str, Any], where: str, deep: int) -> Iterator[Event | Malformed]:
    inner = next((value[key] for key in LISTS if isinstance(value.get(key), list)), None)
    if inner is None and _is_cell(value):
        inner = value["value"]
    if inner is None:
        inner = next((value[key] for key in WRAPS if isinstance(value.get(key), str | dict)), None)
    if inner is None and isinstance(value.get("properties"), dict):
        inner = value["properties"].get("log")
    if inner is not None and "verb" not in value:
        yield from _value(inner, where, deep - 1)
        return
    try:
        yield cloudaudit.event(value) if "protoPayload" in value else lenient(value)
    except NoEventError as error:
        yield Malformed(where, str(error))


def _is_cell(value: dict[str, Any]) -> bool:
    """Whether this is the message in a row of Logs Insights: `{"field": "@message", "value": ...}`."""
    return value.get("field") == "@message" and isinstance(value.get("value"), str)
