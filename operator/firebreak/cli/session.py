"""What every command gets: its terminal, its cluster options, and a way to run."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from firebreak.cli.terminal import Form, Terminal

P = ParamSpec("P")
T = TypeVar("T")

PANEL = "Cluster and output"
Kubeconfig = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Kubeconfig; default: KUBECONFIG, ~/.kube/config.", rich_help_panel=PANEL),
]
Context = Annotated[str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig.", rich_help_panel=PANEL)]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NS", help="Default: the context's namespace.", rich_help_panel=PANEL),
]
Output = Annotated[
    Form | None, typer.Option("--output", "-o", help="How results are written; default table.", rich_help_panel=PANEL)
]
RulePaths = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE|DIR", help="Rules of detection; default: those shipped.")
]
AllowFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Accounts to leave alone: a list of {rule: NAME, users: [...]}.")
]
IncidentName = Annotated[str, typer.Argument(metavar="INCIDENT", help="Name of the incident.")]


@dataclass(frozen=True)
class Options:
    """The options that every command takes, before or after its name."""

    kubeconfig: Kubeconfig = None
    context: Context = None
    namespace: Namespace = None
    output: Output = None

    def over(self, general: "Options") -> "Options":
        """Return these, with what is not given taken from those before the command's name."""
        return Options(**{f.name: getattr(self, f.name) or getattr(general, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Session:
    """One run of a command."""

    options: Options
    terminal: Terminal

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the command's work to its end."""
        return asyncio.run(work)


def command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Give a command the shared options; its first parameter becomes the session.

    A command that has an option of such a name has its own instead.
    """
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = [p for p in inspect.signature(Options).parameters.values() if p.name not in {o.name for o in own}]
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    def run(**given: Any) -> None:
        ctx: typer.Context = given.pop("ctx")
        options = Options(**{p.name: given.pop(p.name) for p in shared}).over(ctx.obj)
        if ctx.invoked_subcommand:  # the command before it does nothing but keep its options
            ctx.obj = options
            return
        session = Session(options, Terminal(options.output or Form.TABLE))
        function(session, **given)  # type: ignore[call-arg]  # typer fills what the signature names

    vars(run)["__signature__"] = inspect.Signature([context, *keyword_only])
    run.__annotations__ = {p.name: p.annotation for p in (context, *keyword_only)}
    run.__name__, run.__doc__ = function.__name__, _paragraphs(inspect.getdoc(function) or "")
    return run


def _paragraphs(text: str) -> str:
    """Each paragraph as one line: typer would keep the line ends of the source."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
