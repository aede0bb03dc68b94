"""`firebreak intake explain`: the intake's own adapters and routes, shown instead of carried out."""

import io
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from firebreak.api.base import Json
from firebreak.cli.failure import Exit, Failure, unread
from firebreak.cli.terminal import Form, Terminal
from firebreak.cli.text import clean
from firebreak.detect.decoding import Malformed
from firebreak.detect.evaluate import Detector
from firebreak.detect.reading import read
from firebreak.detect.rules import Ruleset
from firebreak.intake import findings
from firebreak.intake.alert import Alert
from firebreak.intake.formats import FORMATS, alertmanager, falco, falcosidekick, generic
from firebreak.intake.formats.parsed import Parsed, Refusal, UnreadableError, decoded, refused
from firebreak.intake.opening import incident
from firebreak.intake.routes import Routes, RoutesError, load
from firebreak.intake.settings import IntakeSettings
from firebreak.model.loose import mapping

MOST_EVENTS: int = IntakeSettings.model_fields["audit_bytes"].default
"""Bytes of a body of audit events: as much as the intake takes by default."""


def read_routes(file: Path | None) -> Routes:
    """Return the settings of a file, or those that ship. Raises Failure."""
    if file is None:
        return Routes()
    try:
        return load(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise unread(file, error, "name the settings file; without --settings those that ship hold") from None
    except (RoutesError, UnicodeDecodeError) as error:
        raise Failure(str(error), "correct the settings file; docs/alerts.md has its keys", Exit.USAGE) from error


def read_body(file: Path) -> bytes:
    """Return as much of a file, or of stdin, as shows whether it is too large. Raises Failure."""
    if str(file) == "-":
        return sys.stdin.buffer.read(MOST_EVENTS + 1)
    try:
        with file.open("rb") as stream:
            return stream.read(MOST_EVENTS + 1)
    except OSError as error:
        raise unread(file, error, "name a file with what a sender posts, or - for stdin") from None


def parse_body(body: bytes, format_: str, rules: Callable[[], Ruleset], now: datetime) -> Parsed:
    """Return the alerts of a body; of audit events, what the rules find in them."""
    if format_ != findings.SOURCE:
        return FORMATS[format_](body, {}, now)
    if len(body) > MOST_EVENTS:
        return refused("the body", f"it has more than {MOST_EVENTS} bytes", "use firebreak detect for long logs")
    detector, alerts, refusals = Detector(rules()), [], []
    for each in read(io.BufferedReader(io.BytesIO(body))):
        if isinstance(each, Malformed):
            refusals.append(Refusal(each.where, each.why, "send events of audit.k8s.io/v1"))
        else:
            alerts += [findings.alert(finding) for finding in detector.feed(each, now)]
    return Parsed(tuple(alerts), tuple(refusals))


def format_of(body: bytes) -> str:
    """Return the format that a body most likely has, for people who name none; Falco's, the loosest, at worst."""
    document: Any = None
    for part in (body, body.lstrip().partition(b"\n")[0]):  # a log is a document a line
        try:
            document = decoded(part)
            break
        except UnreadableError:
            continue
    first = mapping(document[0] if isinstance(document, list) and document else document)
    if "auditID" in first or str(first.get("apiVersion", "")).startswith("audit.k8s.io/"):
        return findings.SOURCE
    if first.keys() & {"specversion", "uuid"}:
        return falcosidekick.SOURCE
    if isinstance(first.get("alerts"), list):
        return alertmanager.SOURCE if first.keys() & {"version", "groupKey", "receiver"} else generic.SOURCE
    return falco.SOURCE


def explain(terminal: Terminal, name: str, parsed: Parsed, routes: Routes, now: datetime) -> None:
    """Print what would come of a body. Raises Failure when something in it is refused."""
    seen: set[tuple[str, str]] = set()
    records = [_record(alert, routes, now, seen) for alert in parsed.alerts]
    passed, turned_away = [clean(each) for each in parsed.passed], [clean(each) for each in parsed.refusals]
    if terminal.form is Form.TABLE:
        terminal.document("\n".join(_as_yaml(name, records, passed)))
    else:
        terminal.emit({"format": name, "alerts": records, "passed": passed, "refused": turned_away}, lambda: "")
    for each in turned_away:
        terminal.note(f"refused: {each}")
    if turned_away:
        hint = f"correct what is named; if the format is not {name}, name it with --format"
        raise Failure(f"{len(turned_away)} of the body refused", hint)


def _record(alert: Alert, routes: Routes, now: datetime, seen: set[tuple[str, str]]) -> Json:
    """One alert; `seen` are the incidents of those before it."""
    decision = routes.decide(alert)
    opening = None if decision.ignore else incident(alert, decision)
    stale, key = routes.stale(alert, now), (opening.namespace, opening.name) if opening else None
    repeats = key in seen
    seen |= {key} if key else set()
    record: dict[str, Any] = {
        "rule": clean(alert.rule),
        "severity": alert.severity.value,
        "time": alert.time.isoformat(),
        "route": decision.route,
        "why": [clean(each) for each in decision.why],
        "now": clean(stale) if stale else "",
        "unresolved": bool(opening and opening.unresolved),
        "repeat": repeats,
        "incident": opening.body if opening else None,
    }
    return record


def _as_yaml(name: str, records: list[Json], passed: list[str]) -> Iterator[str]:
    yield f"# format {name}: {len(records)} to decide on"
    for each in passed:
        yield f"# opens nothing: {each}"
    for record in records:
        yield "---" if record["incident"] and not record["repeat"] else "#"
        yield f"# {record['rule']}, {record['severity']}, {record['time']}"
        yield from (f"# {each}" for each in record["why"])
        if record["now"]:
            yield f"# sent now, it would be refused: {record['now']}"
        if record["unresolved"]:
            yield "# its pod is looked for by the container's id first; this is what is opened if none is found"
        if record["incident"] is None:
            yield "# ignored: opens nothing"
        elif record["repeat"]:
            yield f"# a repeat: counted on {record['incident']['metadata']['name']}, see above"
        else:
            yield yaml.safe_dump(record["incident"], sort_keys=False, allow_unicode=False).rstrip("\n")
