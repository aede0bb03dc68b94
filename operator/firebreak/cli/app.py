"""The typer application: the commands, the options before them, and the boundary where expected errors end."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from firebreak.cli.commands import (
    approve,
    close,
    contain,
    crds,
    detect,
    intake,
    plan,
    preflight,
    release,
    rules,
    run,
    status,
    verify,
    version,
    watch,
)  # fmt: skip
from firebreak.cli.failure import TRACEBACK, Exit, Failure
from firebreak.cli.session import Context, Kubeconfig, Namespace, Options, Output
from firebreak.cli.terminal import Terminal

PLUGIN = "kubectl-firebreak"
HELP = """Contain a compromised pod, preserve the evidence, take the attacker's access away.

The same command is a kubectl plugin when it is on PATH as `kubectl-firebreak`: `kubectl firebreak status`.
"""
EPILOG = (
    "Exit codes: 0 done; 1 the world is not as asked, refused or failed; 2 usage; "
    "3 timed out waiting; 4 the API server is not reachable or forbids it; "
    "5 nothing failed, but something is unknown or warned of (preflight)."
)
COMMANDS = (
    contain.contain, status.status, watch.watch, plan.plan, approve.approve, close.close, release.release,
    verify.verify, preflight.preflight, detect.detect, run.run, crds.crds, version.version,
)  # fmt: skip

app = typer.Typer(
    name="firebreak",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in COMMANDS:
    app.command()(each)
app.add_typer(rules.app, name="rules")
app.add_typer(intake.app, name="intake")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        version.show(Terminal())
        raise typer.Exit


@app.callback()
def general(
    ctx: typer.Context,
    *,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    output: Output = None,
    version_: Annotated[  # noqa: ARG001 - its callback has answered it
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Keep the options that stand before the command's name."""
    ctx.obj = Options(kubeconfig, context, namespace, output)


def main() -> None:
    """Run the command line of this process and exit."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:  # an ASCII terminal gets escapes instead of a traceback
            reconfigure(errors="backslashreplace")
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code; expected errors are told on stderr."""
    called = "kubectl firebreak" if Path(sys.argv[0]).name == PLUGIN else "firebreak"
    try:
        app(arguments, prog_name=called)
    except SystemExit as ended:
        return int(ended.code or 0)
    except Failure as failure:
        return _told(failure)
    except Exception as error:
        expected = _expected(error)
        if expected is None or TRACEBACK in os.environ:
            raise
        return _told(expected)
    return Exit.OK


def _told(failure: Failure) -> Exit:
    Terminal().fail(failure)
    return failure.code


def _expected(error: Exception) -> Failure | None:
    """Return an error of another room in words; None for a bug, which shows its traceback."""
    from firebreak.cli.foreign import translate  # noqa: PLC0415 - imports the clients: only when something failed

    return translate(error)
