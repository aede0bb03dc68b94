"""The one object that owns the terminal: data to stdout, all else to stderr, nothing of the cluster unchecked."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firebreak.cli.failure import Failure
from firebreak.cli.text import clean

WIDE = 4096  # columns where nobody looks: a pipe gets whole lines


class Form(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class FindingForm(StrEnum):
    """How findings are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    ECS = "ecs"


def words(value: object, style: str = "") -> Text:
    """Return text as it is: no markup, no control characters."""
    return Text(clean(value), style=style, overflow="fold")


def exact(value: object) -> Text:
    """Return text that is to be copied, a command or an address: the terminal may wrap it, no line end is put in."""
    return Text(clean(value), no_wrap=True, overflow="ignore")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table like kubectl's: no lines, cells fold when the terminal is narrow."""
    result = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        result.add_column(header, overflow="fold")
    for row in rows:
        result.add_row(*(words(cell) for cell in row))
    return result


def stack(*parts: RenderableType | None) -> Group:
    """Return parts below each other; what is None is left out."""
    return Group(*(part for part in parts if part is not None))


class Terminal:
    """Where a command's words go. Streams are the process's own unless given."""

    def __init__(
        self,
        form: Form = Form.TABLE,
        out: TextIO | None = None,
        err: TextIO | None = None,
        typed: TextIO | None = None,
    ) -> None:
        self.form = form
        self._out = out or sys.stdout
        self._typed = typed or sys.stdin
        self._stdout = _console(self._out)
        self._stderr = _console(err or sys.stderr)

    @property
    def live_here(self) -> bool:
        """Whether somebody looks at stdout, and at a table."""
        return self.form is Form.TABLE and self._stdout.is_terminal

    def emit(self, value: Any, human: Callable[[], RenderableType]) -> None:
        """Print a result: `value` as JSON or YAML when asked for, else what `human` draws."""
        match self.form:
            case Form.JSON:
                self._plain(json.dumps(value, indent=2))  # ASCII only: what is not printable is escaped
            case Form.YAML:
                import yaml  # noqa: PLC0415 - only who asks for YAML waits for it

                self._plain(yaml.safe_dump(value, sort_keys=False).rstrip("\n"))
            case Form.TABLE:
                self._stdout.print(human(), crop=False)

    def record(self, value: Any) -> None:
        """Print one JSON object on one line: one record of a stream."""
        self._plain(json.dumps(value))

    def document(self, text: str) -> None:
        """Print text of our own that goes to a file or another program, as it is."""
        self._plain(text.rstrip("\n"))

    def say(self, text: str) -> None:
        """Print one line of a result."""
        self._stdout.print(words(text), soft_wrap=True)

    def note(self, text: str) -> None:
        """Tell something that is no result."""
        self._stderr.print(words(text), soft_wrap=True)

    def tell(self, drawn: RenderableType) -> None:
        """Show something that is no result."""
        self._stderr.print(drawn, crop=False)

    def fail(self, failure: Failure) -> None:
        """Tell why there is no result, and what to do next."""
        self._stderr.print(Text.assemble(("error: ", "bold red"), clean(failure.message)), soft_wrap=True)
        if failure.hint:
            self._stderr.print(Text.assemble(("next:  ", "bold"), clean(failure.hint)), soft_wrap=True)

    def confirm(self, question: str) -> None:
        """Ask a person; raises Failure when the answer is not yes, or nobody is there to answer."""
        if not self._typed.isatty():
            raise Failure("this needs a person's yes, and nobody is at the terminal", "add --yes if you mean it")
        self._stderr.print(words(f"{question} [y/N] "), end="")
        if self._typed.readline().strip().lower() not in {"y", "yes"}:
            raise Failure("not confirmed; nothing was done", "run the command again and answer y, or add --yes")

    def live(self) -> AbstractContextManager[Live]:
        """Draw over what was drawn before, until the block ends."""
        return Live(console=self._stdout, auto_refresh=False, transient=False)

    def _plain(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _console(stream: TextIO) -> Console:
    return Console(file=stream, width=None if stream.isatty() else WIDE, markup=False, highlight=False, emoji=False)
