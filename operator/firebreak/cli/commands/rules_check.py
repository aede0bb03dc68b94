"""`firebreak rules check`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from firebreak.cli.session import AllowFile, RulePaths, Session, command


@command
def check(session: Session, *, paths: RulePaths = None, allow: AllowFile = None) -> None:
    """Load detection rules and list them; without paths those that are shipped.

    All that is wrong is told at once, with file, rule and field. Exit code 1 when something is.
    """
    from firebreak.cli.rules import load, show

    show(session.terminal, load(session.terminal, paths, allow))
