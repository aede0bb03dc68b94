"""`firebreak contain`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from firebreak.cli.kinds import BY_LABEL, IN_WORDS
from firebreak.cli.session import Session, command


class Severity(StrEnum):
    """How bad it is."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


class ModeName(StrEnum):
    """How far Firebreak goes."""

    RESPOND = "Respond"
    PRESERVE = "Preserve"
    PLAN = "Plan"


@command
def contain(
    session: Session,
    *,
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help=f"The kind is {IN_WORDS}. {BY_LABEL}")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in your words, for who reads it later.")],
    name: Annotated[
        str | None, typer.Option(metavar="INCIDENT", help="Its name; default: the target and the time.")
    ] = None,
    playbook: Annotated[str | None, typer.Option(metavar="P", help="Playbook to run; default standard.")] = None,
    mode: Annotated[
        ModeName, typer.Option(help="Respond; Preserve: evidence only, no cut; Plan: touch nothing.")
    ] = ModeName.RESPOND,
    severity: Annotated[Severity, typer.Option(help="For people and reports.")] = Severity.HIGH,
    wait: Annotated[bool, typer.Option(help="Wait until it is contained (or preserved, or planned).")] = True,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait.")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the Incident and send nothing.")] = False,
) -> None:
    """Open an Incident: Firebreak cuts the target off, preserves the evidence, and says what it did.

    For example: firebreak contain pod/web-x2x9k -n shop --reason "shell in the web server". Exit code 1 when the cut is
    not proven to hold: `firebreak status` says why.
    """
    from firebreak.cli.cluster import namespace_of
    from firebreak.cli.containing import Opening, contain_target
    from firebreak.cli.opening import default_name, parse_target

    ref = parse_target(target, lambda: namespace_of(session.options))
    opening = Opening(
        name=name or default_name(ref, datetime.now(UTC)),
        target=ref,
        reason=reason,
        mode=mode,
        severity=severity,
        playbook=playbook,
    )
    if dry_run:
        session.terminal.document(opening.as_text(session.terminal.form))
        return
    session.run(contain_target(session, opening, seconds=timeout if wait else None))
