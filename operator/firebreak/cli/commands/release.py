"""`firebreak release`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.commands.close import Nature
from firebreak.cli.session import IncidentName, Session, command


@command
def release(
    session: Session,
    *,
    incident: IncidentName,
    network: Annotated[bool, typer.Option(help="Lift the quarantine.")] = True,
    rights: Annotated[bool, typer.Option("--rights", help="Give back the revoked rights as well.")] = False,
    keep_detached: Annotated[
        bool, typer.Option("--keep-detached", help="Do not give a pod its own labels back.")
    ] = False,
    verdict: Annotated[Nature | None, typer.Option(help="Close the incident first, with this verdict.")] = None,
    uid: Annotated[
        str | None, typer.Option(metavar="UID", help="Of an incident that is gone; `status` names it.")
    ] = None,
    unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Do not wait for the operator to confirm the close: none runs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for the close.")] = 60.0,
) -> None:
    """Lift an incident's quarantine, with your own rights; --rights gives back what was revoked.

    Only this incident's own marks go: a pod that another incident holds stays cut. It works for an incident that was
    deleted, too. Rights can be given back by somebody who holds them. An incident that is active is closed first, with
    --verdict, or it would be cut off again.
    """
    from firebreak.cli.releasing import Wish, release_incident

    wish = Wish(
        network=network,
        rights=rights,
        keep_detached=keep_detached,
        verdict=verdict,
        uid=uid,
        unconfirmed=unconfirmed,
        yes=yes,
        seconds=timeout,
    )
    session.run(release_incident(session, incident, wish))
