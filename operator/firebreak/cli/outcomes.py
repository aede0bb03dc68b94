"""What became of Changes that a person had carried out: for people, for programs, and for the exit code."""

from collections.abc import Sequence

from rich.console import RenderableType

from firebreak.api.base import Json
from firebreak.api.status import ChangeState
from firebreak.cli.failure import Failure
from firebreak.cli.terminal import stack, table, words
from firebreak.cli.view import change as drawn
from firebreak.engine.execute import Result
from firebreak.model.change import Change
from firebreak.model.record import report


def outcomes(results: Sequence[Result]) -> RenderableType:
    """Return the table of what was done."""
    rows = [(f"{r.change.verb} {r.change.target}", r.state, r.message) for r in results]
    return table(("CHANGE", "RESULT", "NOTE"), rows)


def as_json(results: Sequence[Result]) -> list[Json]:
    """Return it for programs."""
    return [{"change": r.change.id, "why": r.change.why, "result": str(r.state), "message": r.message} for r in results]


def intended(changes: Sequence[Change]) -> RenderableType:
    """Return what will be done, for a person to agree to."""
    return stack(*(drawn(report(c, ChangeState.PLANNED, c.refusal or "")) for c in changes), words(""))


def require_done(results: Sequence[Result]) -> None:
    """Raise Failure when something was not done; it names the first."""
    undone = [r for r in results if r.state is not ChangeState.DONE]
    if undone:
        first = undone[0]
        words_ = f"{len(undone)} of {len(results)} Changes were not made; {first.change.target}: {first.message}"
        raise Failure(words_, "see to the cause and run the command again; it does what is left")
