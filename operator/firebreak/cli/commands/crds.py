"""`firebreak crds`."""

# ruff: noqa: PLC0415 - what is heavy is imported when the command runs, so that --help answers at once

from pathlib import Path
from typing import Annotated

import typer

from firebreak.cli.failure import Failure
from firebreak.cli.session import Session, command

OutputDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Write a file for each of them there instead.")]


@command
def crds(session: Session, *, output_dir: OutputDir = None) -> None:
    """Print the CustomResourceDefinitions as YAML: `firebreak crds | kubectl apply -f -`."""
    from firebreak.api.crd import CRDS, render

    files = {name: render(crd()) for name, crd in CRDS.items()}
    if output_dir is None:
        session.terminal.document("---\n".join(files.values()))
        return
    if not output_dir.is_dir():
        raise Failure(f"{output_dir} is not a folder; nothing was written", f"mkdir -p {output_dir}")
    for name, text in files.items():
        (output_dir / name).write_text(text, encoding="utf-8")
        session.terminal.note(f"wrote {output_dir / name}")
