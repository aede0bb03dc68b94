"""Waiting for what nobody announces: a file that grows, a status, another process at rest."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
LOOK = 0.05  # seconds between looks


class Unmeasurable(Exception):
    """A part cannot be measured here; the text says why."""


async def until(look: Callable[[], Awaitable[T | None]], seconds: float = 60.0) -> T:
    """Look until there is something, and return it. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while (found := await look()) is None:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(LOOK)
    return found
