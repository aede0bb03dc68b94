"""Progress for the person who waits, on stderr: stdout carries results."""

import sys


def say(text: str) -> None:
    """Write one line at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
