"""`firebreak rules test`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from firebreak.cli.session import RulePaths, Session, command


@command
def cases(session: Session, *, paths: RulePaths = None) -> None:
    """Run the cases that rules have in their own files; without paths those of the shipped rules.

    A rule must find something in each case below `match`, and nothing in each below `miss`. Exit code 1 when a case
    goes otherwise, or when there is none at all.
    """
    from firebreak.cli.rules import load, run_cases

    run_cases(session.terminal, load(session.terminal, paths, None))
