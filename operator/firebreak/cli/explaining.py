"""`firebreak intake explain`: the intake's own adapters and routes, shown instead of carried out."""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from firebreak.api.base import Json
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.terminal import Form, Terminal
from firebreak.cli.text import clean
from firebreak.intake.alert import Alert
from firebreak.intake.formats import FORMATS, format_of
from firebreak.intake.formats.parsed import MOST_BYTES
from firebreak.intake.opening import incident
from firebreak.intake.routes import Routes, RoutesError, load


def read_routes(file: Path | None) -> Routes:
    """Return the settings of a file, or those that ship. Raises Failure."""
    if file is None:
        return Routes()
    try:
        return load(file.read_text(encoding="utf-8"), str(file))
    except (RoutesError, UnicodeDecodeError) as error:
        raise Failure(str(error), "correct the settings file; docs/alerts.md has its keys", Exit.USAGE) from error


def read_body(file: Path) -> bytes:
    """Return as much of a file, or of stdin, as shows whether it is too large."""
    if str(file) == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)


def explain_body(terminal: Terminal, body: bytes, format_: str | None, routes: Routes, now: datetime) -> None:
    """Print what would come of a body. Raises Failure when something in it is refused."""
    name = format_ or format_of(body)
    parsed = FORMATS[name](body, {}, now)
    records = [_record(alert, routes, now) for alert in parsed.alerts]
    passed, refused = [clean(each) for each in parsed.passed], [clean(each) for each in parsed.refusals]
    if terminal.form is Form.TABLE:
        terminal.document("\n".join(_as_yaml(name, records, passed)))
    else:
        terminal.emit({"format": name, "alerts": records, "passed": passed, "refused": refused}, lambda: "")
    for each in refused:
        terminal.note(f"refused: {each}")
    if refused:
        hint = f"correct what is named; if the format is not {name}, name it with --format"
        raise Failure(f"{len(refused)} of the body refused", hint)


def _record(alert: Alert, routes: Routes, now: datetime) -> Json:
    decision = routes.decide(alert)
    opening = None if decision.ignore else incident(alert, decision)
    stale = routes.stale(alert, now)
    record: dict[str, Any] = {
        "rule": clean(alert.rule),
        "severity": alert.severity.value,
        "time": alert.time.isoformat(),
        "route": decision.route,
        "why": [clean(each) for each in decision.why],
        "now": clean(stale) if stale else "",
        "unresolved": bool(opening and opening.unresolved),
        "incident": opening.body if opening else None,
    }
    return record


def _as_yaml(name: str, records: list[Json], passed: list[str]) -> Iterator[str]:
    yield f"# format {name}: {len(records)} to decide on"
    for each in passed:
        yield f"# opens nothing: {each}"
    for record in records:
        yield "---"
        yield f"# {record['rule']}, {record['severity']}, {record['time']}"
        yield from (f"# {each}" for each in record["why"])
        if record["now"]:
            yield f"# sent now, it would be refused: {record['now']}"
        if record["unresolved"]:
            yield "# its pod is looked for by the container's id first; this is what is opened if none is found"
        if record["incident"] is None:
            yield "# ignored: opens nothing"
        else:
            yield yaml.safe_dump(record["incident"], sort_keys=False, allow_unicode=False).rstrip("\n")
