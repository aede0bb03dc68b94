"""What a rule found: the rule, the events that made it fire, and what they have in common."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from firebreak.detect.event import Event


class Level(StrEnum):
    """Sigma's levels, lowest first."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Aim(StrEnum):
    """What of its events a rule holds to be compromised: `firebreak: {target: ...}` in the rule's file."""

    CALLER = "caller"
    """The pod whose token made the call (`user.extra`), else the service account; nobody's when it is a person."""
    OBJECT = "object"
    """The pod that the call was about, e.g. the one exec'd into."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. Of a correlation: the events that completed it, first to last, at most as many as are kept."""

    rule: str
    """The rule's name (`name` of the Sigma rule, unique among those loaded), e.g. `secret-enumeration`."""
    title: str
    level: Level
    aim: Aim
    tags: tuple[str, ...]
    """As in the rule, e.g. `attack.t1552.007`."""
    time: datetime
    """Of the last event, by the API server's clock; the reader's where the event has none."""
    events: tuple[Event, ...]
    group: tuple[tuple[str, str], ...] = ()
    """Of a correlation: what it grouped by, field and value."""
