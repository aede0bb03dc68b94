"""Many small requests, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

_AT_ONCE = 8

T = TypeVar("T")
R = TypeVar("R")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Results in the order of the items; the first error in that order, after all work has ended."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> R:
        async with turn:
            return await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    done: list[R] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
