"""`firebreak close`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from enum import StrEnum
from typing import Annotated

import typer

from firebreak.cli.session import IncidentName, Session, command


class Nature(StrEnum):
    """What an incident turned out to be."""

    TRUE_POSITIVE = "TruePositive"
    FALSE_POSITIVE = "FalsePositive"
    EXERCISE = "Exercise"


@command
def close(
    session: Session,
    *,
    incident: IncidentName,
    verdict: Annotated[Nature, typer.Option(help="What it turned out to be.")],
    ticket: Annotated[str | None, typer.Option(metavar="T", help="A reference into your ticket system.")] = None,
    delete_pods: Annotated[
        bool, typer.Option("--delete-pods", help="Then delete the quarantined pods, with your own rights.")
    ] = False,
    even_unsealed: Annotated[
        bool, typer.Option("--even-unsealed", help="With --delete-pods: although evidence is lost by it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for the operator's last word.")
    ] = 60.0,
) -> None:
    """End the work on an incident. Its quarantine stays until `firebreak release`."""
    from firebreak.cli.closing import Deletion, close_and_delete

    deletion = Deletion(even_unsealed=even_unsealed, yes=yes) if delete_pods else None
    session.run(close_and_delete(session, incident, verdict, ticket, deletion, seconds=timeout))
