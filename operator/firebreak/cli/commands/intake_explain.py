"""`firebreak intake explain`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from firebreak.cli.session import AllowFile, Session, command


class FormatName(StrEnum):
    """The formats of alerts."""

    FALCO = "falco"
    FALCOSIDEKICK = "falcosidekick"
    ALERTMANAGER = "alertmanager"
    GENERIC = "generic"
    AUDIT = "audit"


@command
def explain(
    session: Session,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What a sender posts; - reads stdin.")],
    format_: Annotated[FormatName | None, typer.Option("--format", help="Default: told from the content.")] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings file; default: what ships.")
    ] = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE|DIR", help="Rules, for audit events; default: those shipped. May be repeated."),
    ] = None,
    allow: AllowFile = None,
) -> None:
    """Show what the intake would make of a body: the alerts, which route decides and why, and the Incidents.

    Of audit events the alerts are what the detection rules find. Nothing is sent, no cluster is asked. As a table the
    output is YAML with comments, fit for kubectl apply by who has the verb respond on incidents.

    Exit code 1 when something in the body is refused, 2 when a file cannot be read, or settings or rules are wrong.
    """
    from firebreak.cli import explaining
    from firebreak.cli.failure import Exit
    from firebreak.cli.rules import load

    routes, body, now = explaining.read_routes(settings), explaining.read_body(file), datetime.now(UTC)
    name = format_.value if format_ else explaining.format_of(body)
    parsed = explaining.parse_body(body, name, lambda: load(session.terminal, rules, allow, Exit.USAGE), now)
    explaining.explain(session.terminal, name, parsed, routes, now)
