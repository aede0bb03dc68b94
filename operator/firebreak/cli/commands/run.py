"""`firebreak run`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.failure import Exit, Failure
from firebreak.cli.session import Session, command


@command
def run(
    session: Session,
    *,
    settings: Annotated[bool, typer.Option("--settings", help="List all settings instead, and run nothing.")] = False,
) -> None:
    """Run the operator, inside a cluster or from a laptop; settings come from FIREBREAK_* variables.

    `firebreak run --settings` lists them all with their defaults. --kubeconfig wins over FIREBREAK_KUBECONFIG.
    """
    from firebreak.cli.reference import OPERATOR
    from firebreak.cli.running import read_settings, serve_until_told

    if settings:
        OPERATOR.show(session.terminal)
        return
    if session.options.context or session.options.namespace:
        hint = "name a file of that context alone with --kubeconfig; Firebreak's own namespace is FIREBREAK_NAMESPACE"
        raise Failure("run takes no --context and no --namespace: it watches all namespaces", hint, Exit.USAGE)
    session.run(serve_until_told(read_settings(session.options.kubeconfig)))
