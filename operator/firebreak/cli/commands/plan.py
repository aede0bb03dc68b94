"""`firebreak plan`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from datetime import UTC, datetime
from typing import Annotated

import typer

from firebreak.cli.failure import Exit, Failure
from firebreak.cli.session import Session, command


@command
def plan(
    session: Session,
    *,
    subject: Annotated[str, typer.Argument(metavar="INCIDENT|KIND/NAME", help="An incident, or what to plan for.")],
    name: Annotated[str | None, typer.Option(metavar="INCIDENT", help="Name of the incident to open.")] = None,
    playbook: Annotated[str | None, typer.Option(metavar="P", help="Playbook to plan with.")] = None,
    git: Annotated[
        bool, typer.Option("--git", help="Print the patches to commit, for objects that GitOps manages.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait.")] = 60.0,
) -> None:
    """Show each Change of an incident with reason, risk, undo and state.

    With --git, of an incident: YAML documents to commit, so that Argo CD, Flux or Helm put back nothing of it.

    Given pod/NAME (or another target, as `contain`), opens an incident of mode Plan: nothing else is touched.
    """
    from firebreak.cli.cluster import namespace_of
    from firebreak.cli.containing import Opening
    from firebreak.cli.opening import default_name, parse_target
    from firebreak.cli.planning import show_plan

    if git and "/" not in subject:
        from firebreak.cli.committing import show_commits

        session.run(show_commits(session, subject))
        return
    if git:
        hint = "plan first, then: firebreak plan INCIDENT --git"
        raise Failure("--git prints the patches of an incident", hint, Exit.USAGE)
    opening = None
    if "/" in subject:
        ref = parse_target(subject, lambda: namespace_of(session.options))
        chosen = name or default_name(ref, datetime.now(UTC), prefix="plan-")
        opening = Opening(chosen, ref, reason="what would be done?", mode="Plan", playbook=playbook)
    session.run(show_plan(session, opening or subject, seconds=timeout))
