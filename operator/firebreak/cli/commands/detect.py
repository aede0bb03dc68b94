"""`firebreak detect`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from pathlib import Path
from typing import Annotated

import typer

from firebreak.cli.session import PANEL, AllowFile, Session, command
from firebreak.cli.terminal import FindingForm


@command
def detect(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Audit logs, gzipped or not; `-` for stdin.")],
    *,
    rules: Annotated[
        list[Path] | None, typer.Option(metavar="FILE|DIR", help="Rules; default: those shipped. May be repeated.")
    ] = None,
    allow: AllowFile = None,
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help="Leave out findings below: informational, low, medium, high, critical.")
    ] = "informational",
    output: Annotated[
        FindingForm | None,
        typer.Option("--output", "-o", help="How findings are written; default json.", rich_help_panel=PANEL),
    ] = None,
) -> None:
    """Run the detection rules over audit logs, without a cluster.

    Reads JSON lines, EventLists, arrays, and what EKS, AKS, GKE, Fluent Bit and Vector make of them. Prints one JSON
    object a line for each finding; with -o ecs as a SIEM reads it, a table with -o table. What is no event is counted
    and named on stderr.

    Exit code 0 when nothing is found, 1 when something is, 2 when a file or a rule cannot be read, or a file holds
    something, but no audit event.
    """
    from firebreak.cli.detecting import run

    run(session, files, rules, allow, level, output)
