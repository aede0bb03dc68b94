"""`firebreak status`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.session import Session, command


@command
def status(
    session: Session,
    *,
    incident: Annotated[
        str | None, typer.Argument(metavar="INCIDENT", help="Name of the incident; without it a table of all.")
    ] = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="The table of all namespaces.")
    ] = False,
) -> None:
    """Show incidents: what is cut and since when, what is sealed, what waits for you.

    Quarantines whose incident is gone are named below the table, with the command that releases them.
    """
    from firebreak.cli.showing import show_all, show_one

    if incident is None:
        session.run(show_all(session, everywhere=all_namespaces))
    else:
        session.run(show_one(session, incident))
