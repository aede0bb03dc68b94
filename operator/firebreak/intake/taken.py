"""What became of an alert."""

from dataclasses import dataclass
from enum import StrEnum

from firebreak.api.base import Json


class Outcome(StrEnum):
    """What became of an alert, as answers, logs and the metric name it."""

    OPENED = "opened"
    REPEATED = "repeated"
    IGNORED = "ignored"
    """By a route of the settings."""
    STALE = "stale"
    """Too old to be news: a replay, or a clock that is wrong."""
    LOST = "lost"
    """Not even the fallback namespace took it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one alert: its incident, or why there is none."""

    outcome: Outcome
    namespace: str = ""
    name: str = ""
    why: str = ""

    def to_json(self) -> Json:
        """Return what the sender is told."""
        told = {"namespace": self.namespace, "incident": self.name, "why": self.why}
        return {"outcome": self.outcome, **{key: value for key, value in told.items() if value}}
