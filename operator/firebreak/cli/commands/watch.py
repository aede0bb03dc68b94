"""`firebreak watch`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.session import Session, command


@command
def watch(
    session: Session,
    *,
    incident: Annotated[
        str | None, typer.Argument(metavar="INCIDENT", help="Name of the incident; without it all, until Ctrl-C.")
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Go on when the incident has come to rest.")] = False,
) -> None:
    """Follow an incident until it is Responded, Waiting, Planned, Closed or Stalled (exit code 1).

    Live on a terminal; one line for each change elsewhere, one JSON object for each with --output json.
    """
    from firebreak.cli.watching import watch_incidents

    session.run(watch_incidents(session, incident, forever=forever or incident is None))
