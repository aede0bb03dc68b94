"""Words for people."""

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """Return items as a list that ends somewhere and says how many it leaves out."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more
