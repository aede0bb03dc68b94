"""`firebreak intake` without a further command: the intake itself."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.failure import Exit, Failure
from firebreak.cli.session import Session, command


@command
def receive(
    session: Session,
    *,
    settings: Annotated[bool, typer.Option("--settings", help="List all settings instead, and run nothing.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Start without tokens, certificates or TLS: to try it out.")
    ] = False,
) -> None:
    """Receive alerts and open incidents; settings come from FIREBREAK_INTAKE_* variables.

    `firebreak intake --settings` lists them all with their defaults.
    """
    from firebreak.cli.receiving import receive_until_told
    from firebreak.cli.reference import INTAKE
    from firebreak.cli.running import validated
    from firebreak.intake.settings import IntakeSettings

    if settings:
        INTAKE.show(session.terminal)
        return
    if session.options.context or session.options.namespace:
        hint = "name a file of that context alone with --kubeconfig; fallbackNamespace stands in the routes"
        raise Failure("intake takes no --context and no --namespace", hint, Exit.USAGE)
    chosen = validated(IntakeSettings, session.options.kubeconfig, "firebreak intake --settings")
    session.run(receive_until_told(chosen, insecure=insecure))
