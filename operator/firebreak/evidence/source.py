"""What a capture hands over: bytes, and after the last of them a verdict on how complete they are."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from firebreak.model.outcome import Completeness, Outcome

MESSAGE_LENGTH = 1024
"""Characters at most in a message of an artifact; it may quote what a hostile container printed."""

REASON_PATTERN = r"^[A-Z][A-Za-z0-9]{0,63}$"
"""A reason is one CamelCase word."""


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
