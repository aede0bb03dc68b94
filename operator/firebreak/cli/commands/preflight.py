"""`firebreak preflight`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from typing import Annotated

import typer

from firebreak.cli.session import Session, command


@command
def preflight(
    session: Session,
    *,
    probe: Annotated[bool, typer.Option(help="Prove that NetworkPolicies are enforced; else read the record.")] = True,
    image: Annotated[
        str | None, typer.Option(metavar="IMG", help="Image of the probe; default the operator's.")
    ] = None,
    account: Annotated[
        str, typer.Option(metavar="NAME", help="The operator's service account, whose rights are checked.")
    ] = "firebreak",
) -> None:
    """Check what Firebreak stands on: API server, CRDs, rights by tier, guards, evidence store, enforcement, clocks.

    The namespace (-n) is Firebreak's own, by default FIREBREAK_NAMESPACE or firebreak. The store is the one that
    FIREBREAK_STORE names here; to check the operator's run this inside its pod.

    Exit code 0 when all is well (tiers that were left out are a choice), 1 when a check FAILED, 5 when nothing failed
    but something is unknown or warned of.
    """
    from firebreak.cli.preflight import Wish, preflight_checks

    session.run(preflight_checks(session, Wish(probe=probe, image=image, account=account)))
