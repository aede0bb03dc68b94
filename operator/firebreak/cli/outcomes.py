"""What became of Changes that a person had carried out: for people, for programs, and for the exit code."""

from collections.abc import Mapping, Sequence
from itertools import islice

from rich.console import RenderableType

from firebreak.api.base import Json
from firebreak.api.status import ChangeState
from firebreak.cli.failure import Failure
from firebreak.cli.terminal import stack, table, words
from firebreak.cli.view import change as drawn
from firebreak.engine.execute import Result
from firebreak.model.change import Change
from firebreak.model.names import ORIGINAL_LABELS
from firebreak.model.record import report
from firebreak.steps.release import labels_back

MOST_LABELS = 40  # of one pod that are shown


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


def given_back(changes: Sequence[Change]) -> RenderableType | None:
    """Return every label that pods get back, for a person to look through: not only Firebreak may have recorded it."""
    labelled = [(change.target.name, labels_back(change)) for change in changes if change.target.kind == "Pod"]
    rows = [(pod, key, value) for pod, labels in labelled for key, value in _most(labels)]
    if not rows:
        return None
    warning = "Read them: who could write the pod before it was cut may have chosen them, and Services select by them."
    return stack(table(("POD", "LABEL GIVEN BACK", "VALUE"), rows), words(warning), words(""))


def _most(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """As many of a pod's labels as a person reads, and how many more there are."""
    left = len(labels) - MOST_LABELS
    more = [(f"and {left} more", f"in the pod's annotation {ORIGINAL_LABELS}")] if left > 0 else []
    return [*islice(labels.items(), MOST_LABELS), *more]


def require_done(results: Sequence[Result]) -> None:
    """Raise Failure when something was not done; it names the first."""
    undone = [r for r in results if r.state is not ChangeState.DONE]
    if undone:
        first = undone[0]
        words_ = f"{len(undone)} of {len(results)} Changes were not made; {first.change.target}: {first.message}"
        raise Failure(words_, "see to the cause and run the command again; it does what is left")
