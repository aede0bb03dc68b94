"""Words for people."""

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """Return items as a list that ends somewhere and says how many it leaves out."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


def printable(value: str) -> str:
    """Return one line that moves no cursor, changes no colour and hides nothing, whatever the value holds.

    Control and format characters (escape sequences, bidirectional overrides, zero-width ones) become `?`.
    """
    if value.isprintable():  # nearly always, and seen twenty times as fast
        return value
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in value)


def bounded(value: str, most: int) -> str:
    """Return at most so many characters of a text, as one printable line."""
    return printable(value[:most]).strip()
