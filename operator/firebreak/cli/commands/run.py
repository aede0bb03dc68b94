"""`firebreak run`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from firebreak.cli.session import Session, command


@command
def run(session: Session) -> None:
    """Run the operator, inside a cluster or from a laptop; settings come from FIREBREAK_* variables.

    Every setting is listed in the documentation. --kubeconfig wins over FIREBREAK_KUBECONFIG.
    """
    from firebreak.cli.running import read_settings, serve_until_told

    session.run(serve_until_told(read_settings(session.options.kubeconfig)))
