"""`firebreak intake explain`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from firebreak.cli.session import Session, command


class FormatName(StrEnum):
    """The formats of alerts."""

    FALCO = "falco"
    FALCOSIDEKICK = "falcosidekick"
    ALERTMANAGER = "alertmanager"
    GENERIC = "generic"


@command
def explain(
    session: Session,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What a sender posts; - reads stdin.")],
    format_: Annotated[FormatName | None, typer.Option("--format", help="Default: told from the content.")] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings file; default: what ships.")
    ] = None,
) -> None:
    """Show what the intake would make of a body: the alerts, which route decides and why, and the Incidents.

    Nothing is sent, no cluster is asked. As a table the output is YAML with comments, fit for kubectl apply. Exit code
    1 when something in the body is refused.
    """
    from firebreak.cli.explaining import explain_body, read_body, read_routes

    routes = read_routes(settings)
    explain_body(session.terminal, read_body(file), format_, routes, datetime.now(UTC))
