"""How much of what was wanted is in hand: the verdict on a captured stream, for who reads it and who stores it."""

from dataclasses import dataclass
from enum import StrEnum


class Completeness(StrEnum):
    """How much of what was wanted has been kept."""

    COMPLETE = "Complete"
    """Proven complete by the capture's own means."""
    PARTIAL = "Partial"
    """Something is kept, and something is missing or in doubt."""
    MISSING = "Missing"
    """Nothing is kept; the record says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict: completeness, a CamelCase reason for machines, and a printable sentence for people."""

    completeness: Completeness
    reason: str
    message: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything asked for is in hand."""
        return self.completeness is Completeness.COMPLETE
