"""`firebreak approve`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.session import IncidentName, Session, command


@command
def approve(
    session: Session,
    *,
    incident: IncidentName,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step that waits; `firebreak status` names it.")],
    digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="The plan that you read; any other is refused.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show what a step waits to do, ask, and approve it in your name: an Approval of exactly this plan.

    A plan that changes afterwards waits again. Exit code 1 when nothing waits, or the plan is another by now; 4 when
    you may not approve here.
    """
    from firebreak.cli.approving import approve_step

    session.run(approve_step(session, incident, step, digest=digest, yes=yes))
