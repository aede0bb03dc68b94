"""`firebreak intake schema`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

import json

from firebreak.cli.session import Session, command


@command
def schema(session: Session) -> None:
    """Print the JSON schema of Firebreak's own shape of alerts: docs/alert.schema.json."""
    from firebreak.intake.formats import generic

    session.terminal.document(json.dumps(generic.schema(), indent=2))
