"""Telling: chapters, words, commands with their real output, and claims that are asserted.

Fits 80 columns, needs no terminal and no colour. Every command that is shown is the one that runs.
"""

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.terminal import run_in_terminal

WIDTH = 80
COMMAND_SECONDS = 180


class DemoError(Exception):
    """The demo cannot go on; the text says why, and what to do next."""


@dataclass
class Story:
    """Owns the terminal. `environment` is what the shown commands run in; `hidden` maps secrets to what is shown."""

    environment: Mapping[str, str]
    hidden: dict[str, str] = field(default_factory=dict, repr=False)
    claims: int = 0
    broken: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    last: str = "chapter"  # what was written last, for the blank lines between

    def chapter(self, title: str) -> None:
        """Begin a chapter, with the time since the beginning."""
        clock = f"{time.monotonic() - self.began:.0f} s"
        self._write(f"\n== {title} {'=' * (WIDTH - len(title) - len(clock) - 5)} {clock}\n")
        self.last = "chapter"

    def tell(self, text: str) -> None:
        """Say something in words."""
        self._apart("words")
        self._write(textwrap.fill(self._masked(text), WIDTH, break_long_words=False, break_on_hyphens=False) + "\n")

    def run(self, command: str, *, stdin: str = "", refused: bool = False, tail: int = 0, quiet: bool = False) -> str:
        """Show a shell command, run it, show what it wrote, and return that. Raises DemoError when it fails.

        With `refused` it may fail, and what it says then is returned; `tail` shows the last lines only, `quiet` none.
        """
        self.show_command(command, stdin)
        output, code = self._execute(["sh", "-c", command], stdin)
        shown = output.splitlines()[-tail:] if tail else output.splitlines()
        self.show([] if quiet else shown)
        self._require(command, output, code, refused=refused)
        return output

    def run_in_terminal(self, command: str, *, warns: int = 0) -> str:
        """The same for a command that draws for a person: it sees a terminal of 80 columns.

        `warns` is the exit code by which it says that it has a warning; that is no failure.
        """
        self.show_command(command)
        output, code = run_in_terminal(["sh", "-c", command], self.environment, columns=WIDTH, timeout=COMMAND_SECONDS)
        self.show(output.splitlines())
        self._require(command, output, 0 if code == warns else code, refused=False)
        return output

    def ask(self, command: str) -> str:
        """Run a command without showing it, and return what it wrote. Raises DemoError when it fails."""
        output, code = self._execute(["sh", "-c", command])
        self._require(command, output, code, refused=False)
        return output

    def show_command(self, command: str, stdin: str = "") -> None:
        """Show a command as a person would type it."""
        self._apart("command")
        here = f" <<'EOF'\n{stdin.rstrip()}\nEOF" if stdin else ""
        self._write(self._masked("$ " + continued(command, WIDTH - 2) + here + "\n"))

    def show(self, lines: list[str], *, after: int = 0) -> None:
        """Show a command's output in 80 columns: tables with narrower gaps, the rest broken between words.

        With `after` the first lines, a table's header, only say where the columns are.
        """
        self.last = "output"
        for line in squeezed([self._masked(line.rstrip()) for line in lines], WIDTH)[after:]:
            self._write("\n".join(folded(line)) + "\n")

    def claim(self, what: str, holds: object, seen: str = "") -> None:
        """Assert something about the world; what does not hold makes the demo fail at its end."""
        if self.last != "claim":
            self._apart("claim")
        self.claims += 1
        if not holds:
            self.broken.append(what)
        words = f"{what}{f' ({seen})' if seen else ''}"
        mark = "  yes   " if holds else "  NOT SO"
        self._write(textwrap.fill(self._masked(f"{mark} {words}"), WIDTH, subsequent_indent=" " * 9) + "\n")

    def end(self) -> int:
        """Say what the claims came to; return the exit code, which is 0 when all are so."""
        if self.broken:
            self.tell(f"{len(self.broken)} of {self.claims} claims are NOT SO: {'; '.join(self.broken)}.")
            return 1
        self.tell(f"All {self.claims} claims were checked, and all are so.")
        return 0

    def _apart(self, what: str) -> None:
        """Leave a blank line, but for what stands right below a chapter's title."""
        if self.last != "chapter":
            self._write("\n")
        self.last = what

    def _execute(self, arguments: list[str], stdin: str = "") -> tuple[str, int]:
        try:
            done = subprocess.run(  # noqa: S603 - the demo's own commands, shown to whoever runs it
                arguments,
                env=dict(self.environment),
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise DemoError(f"`{arguments[-1][:200]}` did not end within {COMMAND_SECONDS} s") from late
        return done.stdout, done.returncode

    def _require(self, command: str, output: str, code: int, *, refused: bool) -> None:
        if code and not refused:
            raise DemoError(self._masked(f"`{command}` ended with exit code {code}:\n{output.strip()[-1500:]}"))

    def _masked(self, text: str) -> str:
        for secret, shown in self.hidden.items():
            text = text.replace(secret, shown)
        return text

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def folded(line: str) -> list[str]:
    """Break a line that is too long between words; one without room to break stays whole, for copying."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def continued(command: str, width: int) -> str:
    """Break a long shell command between words outside quotes; it stays the same command, for copying."""
    lines = [""]
    for word in re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+\s*""", command):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width - 2:
            lines.append("    ")
        lines[-1] += word
    return "\\\n".join(lines)


def squeezed(lines: list[str], width: int) -> list[str]:
    """Narrow the gaps between a table's columns to one blank, if it is too wide otherwise."""
    widest = max(map(len, lines), default=0)
    if widest <= width:
        return lines
    padded = [line.ljust(widest) for line in lines]
    blank = [all(line[i] == " " for line in padded) for i in range(widest)]
    kept = [i for i in range(widest) if not (blank[i] and i + 1 < widest and blank[i + 1])]
    return ["".join(line[i] for i in kept).rstrip() for line in padded]


def environment(**more: str) -> dict[str, str]:
    """What shown commands run in: this process's environment, no colours, and what is given."""
    return {**os.environ, "NO_COLOR": "1", "TERM": "dumb", **more}
