"""`firebreak verify`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.session import Session, command


@command
def verify(
    session: Session,
    *,
    incident: Annotated[str | None, typer.Argument(metavar="INCIDENT", help="Name of the incident.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The bundle's address; no cluster is asked.")] = None,
    seal: Annotated[str | None, typer.Option(metavar="SHA256", help="Seal that the bundle must have.")] = None,
) -> None:
    """Verify sealed evidence: every byte hashed again, every list compared with what is there.

    Of an incident, the status says where it lies and which seal it has; when FIREBREAK_STORE is set, evidence is sought
    in that store only. Credentials of the store come from its environment variables and FIREBREAK_STORE_OPTIONS. Exit
    code 1 when it is not as it was sealed.
    """
    from firebreak.cli.verifying import verify_incident, verify_url

    if url is not None and incident is None:
        session.run(verify_url(session, url, seal))
    elif incident is not None and url is None:
        session.run(verify_incident(session, incident, seal))
    else:
        raise typer.BadParameter("name an incident, or an address with --url, and not both")
