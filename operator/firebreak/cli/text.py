"""Text for people from values of the cluster, which may be an attacker's: pure functions."""

from collections.abc import Sequence
from datetime import UTC, datetime

from firebreak.model.words import printable

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))
_MOST_OF_A_UNIT = 2  # as kubectl does: 90 seconds stay seconds, 2 minutes become minutes
LONGEST = 4096


def clean(value: object) -> str:
    """Return any value as one printable line that ends somewhere."""
    return printable(str(value)[:LONGEST])


def moment(stamp: str | None) -> datetime | None:
    """Parse an RFC 3339 time; None when there is none or it cannot be read."""
    if not stamp:
        return None
    try:
        parsed = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def age(stamp: str | None, now: datetime) -> str:
    """Return how long ago something was, as kubectl shows it; `?` when it cannot be known."""
    then = moment(stamp)
    return "?" if then is None else duration((now - then).total_seconds())


def duration(seconds: float) -> str:
    """Return a number of seconds in the largest unit of which there are at least two."""
    seconds = max(0.0, seconds)
    for size, unit in _UNITS:
        if seconds >= size * _MOST_OF_A_UNIT:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def between(first: str | None, last: str | None) -> str:
    """Return the time from one moment to another, in ms below ten seconds; empty when one is missing."""
    start, end = moment(first), moment(last)
    if start is None or end is None:
        return ""
    seconds = (end - start).total_seconds()
    return f"{seconds * 1000:.1f} ms" if abs(seconds) < 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - readable


def size(count: int) -> str:
    """Return a number of bytes in binary units."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - binary units
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def shown(names: Sequence[str], most: int = 10) -> str:
    """Return names as a list that ends somewhere."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return clean(", ".join(names[:most])) + more
