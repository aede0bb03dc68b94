"""Times as the API server writes them, all in one form: texts that are in the order of the times."""

from datetime import UTC, datetime
from typing import Final

LENGTH: Final = len("2026-11-21T10:00:00.000000Z")  # of metav1.MicroTime
ZULU: Final = "Z"


def stamp_of(moment: float) -> str:
    """Return a moment, in seconds, in the API server's form; empty when it lies beyond the year 9999."""
    try:
        time = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return ""
    return f"{time.isoformat(timespec='microseconds')}{ZULU}"


def moment_of(stamp: str) -> float | None:
    """Return a stamp of the API server's form in seconds; None for every other text."""
    if len(stamp) != LENGTH or stamp[-1] != ZULU:
        return None
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
