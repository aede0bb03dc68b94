"""What `firebreak detect` does: files through the rules, findings as they come."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import typer

from firebreak.cli.failure import Exit, Failure, unread
from firebreak.cli.rules import load
from firebreak.cli.session import Session
from firebreak.cli.terminal import FindingForm, Form, Terminal, table
from firebreak.detect.decoding import Malformed
from firebreak.detect.ecs import finding_record
from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event, ObjectRef
from firebreak.detect.finding import Finding, Level
from firebreak.detect.reading import read

NAMED: Final = 20  # places with no event in them that are named; further ones are counted
STDIN: Final = Path("-")
HINT: Final = "name files with audit events, or - for stdin"
HEADERS: Final = ("TIME", "LEVEL", "RULE", "USER", "VERB", "RESOURCE", "NAMESPACE", "NAME")


def run(
    session: Session,
    files: Sequence[Path],
    rules: Sequence[Path] | None,
    allow: Path | None,
    level: str,
    output: FindingForm | None,
) -> None:
    """Look at all files and print what is found. Raises `Failure`, and typer's Exit with 1 when something was."""
    form = output or FindingForm(session.options.output or Form.JSON)
    terminal = session.terminal if form is FindingForm.ECS else Terminal(Form(form))
    try:
        lowest = list(Level).index(Level(level))
    except ValueError:
        raise Failure(f"{level!r} is no level", f"there are {', '.join(Level)}", Exit.USAGE) from None
    detector, eventless = Detector(load(terminal, rules, allow, Exit.USAGE)), list[str]()
    every = _findings(terminal, detector, files, eventless)
    found = (each for each in every if list(Level).index(each.level) >= lowest)
    if form in {FindingForm.JSON, FindingForm.ECS}:
        count = 0
        for count, each in enumerate(found, start=1):  # noqa: B007 - as it is found: a log may be long
            terminal.record(row(each) if form is FindingForm.JSON else finding_record(each, "").document)
    else:
        rows = [row(each) for each in found]
        count = len(rows)
        terminal.emit(rows, lambda: table(HEADERS, ([each[h.lower()] for h in HEADERS] for each in rows)))
    if eventless:  # that nothing was found in them says nothing
        raise Failure(f"no audit event in {', '.join(eventless)}", HINT, Exit.USAGE)
    if count:
        raise typer.Exit(Exit.REFUSED)


def row(finding: Finding) -> dict[str, Any]:
    """A finding as it is printed: of several events the last one's user, verb and object."""
    last = finding.events[-1]
    ref = last.object_ref or ObjectRef()
    return {
        "time": finding.time.isoformat(),
        "rule": finding.rule,
        "level": finding.level.value,
        "title": finding.title,
        "user": last.user.username,
        "verb": last.verb,
        "resource": f"{ref.resource}/{ref.subresource}" if ref.subresource else ref.resource,
        "namespace": ref.namespace,
        "name": ref.name,
        "auditIDs": [event.audit_id for event in finding.events if event.audit_id],
    }


def _findings(terminal: Terminal, detector: Detector, files: Sequence[Path], eventless: list[str]) -> Iterator[Finding]:
    """What the rules find. Names of files that hold something, but no event, are added to `eventless`."""
    for file in files:
        named = "stdin" if file == STDIN else str(file)
        malformed, events = 0, False
        for each in _read(file, named):
            if isinstance(each, Malformed):
                malformed += 1
                if malformed <= NAMED:
                    terminal.note(f"{named}: {each.where}: {each.why}")
            else:
                events = True
                yield from detector.feed(each, datetime.now(UTC))
        if malformed:
            terminal.note(f"{named}: {malformed} {'places hold' if malformed > 1 else 'place holds'} no audit event")
            if not events:
                eventless.append(named)


def _read(file: Path, named: str) -> Iterator[Event | Malformed]:
    try:
        if file == STDIN:
            with open(sys.stdin.fileno(), "rb", closefd=False) as stream:
                yield from read(stream)
            return
        with file.open("rb") as stream:
            yield from read(stream)
    except OSError as error:
        raise unread(named, error, HINT) from None
