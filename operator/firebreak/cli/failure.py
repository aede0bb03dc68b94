"""How a command fails: what happened, to what, what to do next, and the exit code that says so to scripts."""

from enum import IntEnum
from typing import Final

TRACEBACK: Final = "FIREBREAK_TRACEBACK"  # the variable that shows where an expected error came from


class Exit(IntEnum):
    """The exit codes; `firebreak --help` lists them."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    TIMEOUT = 3
    UNREACHABLE = 4
    UNPROVEN = 5


class Failure(Exception):
    """An expected end without success. `hint` is what a person can do next."""

    def __init__(self, message: str, hint: str = "", code: Exit = Exit.REFUSED) -> None:
        self.message = message
        self.hint = hint
        self.code = code
        super().__init__(message)


def unread(named: object, error: OSError, hint: str, code: Exit = Exit.USAGE) -> Failure:
    """Return that a file cannot be read; `named` is how the person named it."""
    return Failure(f"{named} cannot be read: {error.strerror or error}", hint, code)
