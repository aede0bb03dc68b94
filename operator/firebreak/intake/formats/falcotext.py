"""Falco's text, as it is sent without json_output: `HH:MM:SS.nnnnnnnnn: Priority message (key=value ...)`.

Newer rules part message and fields by ` | `, and append container and pod without any mark; with
time_format_iso_8601 the time has a date. Sources: falcosecurity/falco userspace/engine/formats.cpp, falco.org "Output
Formatting" (-pk, -pc).

Text tells no names of rules, and whoever runs a command writes part of it: `sh -c 'k8s_pod_name=other'`. So what is
named twice, and differently, counts as not named; where Falco itself names none, the command's word remains, and the
route that ships for text only plans. JSON has neither weakness.
"""

import re
from datetime import UTC, datetime, time, timedelta

from firebreak.intake.alert import Alert, Subject
from firebreak.intake.formats.parsed import (
    MOST_NAME,
    Names,
    UnreadableError,
    flat,
    identity,
    line,
    moment,
    severity_of,
)

LINE = re.compile(
    r"(?:(?P<clock>\d\d:\d\d:\d\d(?:\.\d{1,9})?)|(?P<stamp>\d{4}-\d\d-\d\dT[0-9:.]{8,18}(?:Z|[+-]\d\d:?\d\d)?)): "
    r"(?P<priority>Emergency|Alert|Critical|Error|Warning|Notice|Informational|Debug) (?P<message>.+)"
)
KEY = re.compile(r"(?:^|[\s(|,])([A-Za-z][A-Za-z0-9_.]{0,63}(?:\[[^\]\s]{0,64}\])?)=")
NEXT = "send JSON instead: json_output: true in falco.yaml"
FORMAT = {"format": "text"}
"""A field of every alert of text, whatever the text says: routes go by it."""
LONGEST = 2**16
"""Characters of one line that are looked at."""

NAMESPACE = ("k8s_ns_name", "k8s.ns.name", "k8s.ns")
POD = ("k8s_pod_name", "k8s.pod.name", "k8s.pod")
POD_UID = ("k8s_pod_uid", "k8s.pod.uid")
CONTAINER = ("container_id", "container.id")
LOOSE = ("container", "id")
"""Hold a container's id, or a name: only an id counts."""

Fields = dict[str, set[str]]


def alert(source: str, raw: bytes, now: datetime) -> Alert:
    """Return the alert of one line. Raises UnreadableError when it is none of Falco's."""
    found = LINE.fullmatch(raw[:LONGEST].decode("utf-8", "replace").strip())
    if found is None:
        raise UnreadableError("a line", "it is neither JSON nor a line of Falco's text", NEXT)
    when = moment(found["stamp"]) if found["stamp"] else _today(found["clock"], now)
    if when is None:
        raise UnreadableError("a line", "its time is none", NEXT)
    names, message = Names(), found["message"]
    first = KEY.search(message)
    rule = line(message[: first.start()].rstrip(" (|") if first else message, MOST_NAME) or "text without a message"
    fields = _fields(message)
    if len(raw) > LONGEST:
        names.notes.append(f"the text is longer than {LONGEST} bytes, so nothing that it names was taken")
    subject = Subject() if len(raw) > LONGEST else _subject(fields, names)
    return Alert(
        source=source,
        rule=rule,
        severity=severity_of(found["priority"], names),
        time=when,
        identity=identity(rule, subject),
        repeats=True,
        summary=f"{rule} (from Falco's text, which tells no rule)",
        subject=subject,
        fields=flat(FORMAT, {key: values.pop() for key, values in fields.items() if len(values) == 1}),
        notes=tuple(names.notes),
    )


def _today(clock: str, now: datetime) -> datetime | None:
    """Return the moment nearest to now when a clock in UTC showed this: the text tells no date and no zone."""
    try:
        shown = time.fromisoformat(clock).replace(tzinfo=UTC)
    except ValueError:
        return None
    today = datetime.combine(now.astimezone(UTC).date(), shown)
    return min((today + timedelta(days=days) for days in (-1, 0, 1)), key=lambda moment_: abs(moment_ - now))


def _fields(text: str) -> Fields:
    """Return every value that each field has."""
    found = list(KEY.finditer(text))
    ends = [each.start() for each in found[1:]] + [len(text)]
    fields: Fields = {}
    for each, end in zip(found, ends[: len(found)], strict=True):
        fields.setdefault(each.group(1), set()).add(text[each.end() : end].strip().rstrip(") "))
    return fields


def _subject(fields: Fields, names: Names) -> Subject:
    def values(keys: tuple[str, ...]) -> set[str]:
        return set().union(*(fields.get(key, set()) for key in keys))

    def one(what: str, found: set[str]) -> str:
        """What all fields of one meaning agree on; `<NA>` beside a name is no agreement."""
        if len(found) > 1:
            names.notes.append(f"the text names more than one {what}, so none was taken")
        return next(iter(found)) if len(found) == 1 else ""

    ids = {value for value in values(LOOSE) if Names().container(value)}
    return Subject(
        namespace=names.namespace(one("namespace", values(NAMESPACE))),
        pod=names.object("pod", one("pod", values(POD))),
        pod_uid=names.uid(one("pod uid", values(POD_UID))),
        container_id=names.container(one("container", values(CONTAINER) | ids)),
    )
