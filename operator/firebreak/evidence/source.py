"""What a capture hands over: bytes, and after the last of them a verdict on how complete they are."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MESSAGE_LENGTH = 1024
"""Characters at most in a message of an artifact; it may quote what a hostile container printed."""

REASON_PATTERN = r"^[A-Z][A-Za-z0-9]{0,63}$"
"""A reason is one CamelCase word."""


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
    """A verdict: completeness, a CamelCase reason for machines and a sentence for people.

    The message is cut and cleaned, for it may quote a container. Raises ValueError for a reason that is no CamelCase
    word.
    """

    completeness: Completeness
    reason: str
    message: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(REASON_PATTERN, self.reason):
            raise ValueError(f"a reason is one CamelCase word, which {self.reason[:64]!r} is not")
        object.__setattr__(self, "message", clip(self.message))


COMPLETE = Outcome(Completeness.COMPLETE, "Captured")


class Source(Protocol):
    """A stream of captured bytes. Iterated once; an exception means that it broke, and what came before is kept.

    If its iterator has an `aclose` method, that is awaited in every case.
    """

    @property
    def outcome(self) -> Outcome:
        """The verdict; read only after the iteration has ended by itself."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A small document that is in memory already."""

    data: bytes
    outcome: Outcome = COMPLETE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data


def clip(message: str) -> str:
    """A message made safe to store and show: bounded, no control characters, no text direction tricks."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in message[: MESSAGE_LENGTH + 1])
    return shown if len(shown) <= MESSAGE_LENGTH else f"{shown[: MESSAGE_LENGTH - 1]}…"
