"""The one loop that follows what the API server has: list, watch from there, go on after a break.

Incidents, Approvals, and what others may undo are followed by it. Not by kopf, which needs half a millisecond of a cut,
reads all that exists into memory, and ends the operator at an error that it does not expect in the stream.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import PERMANENT, ApiError, Unauthorized, Unavailable
from firebreak.kube.retries import LONGEST_PAUSE
from firebreak.service.supervise import FIRST_PAUSE, growing_pause

log = structlog.get_logger()

DENIED = 60.0  # seconds until what was refused is tried again, where the resync does the same work
STEADY = 1.0  # seconds: a watch that lasted so long is opened again at once when it ends
BOOKMARK = "BOOKMARK"


@dataclass(frozen=True)
class Source:
    """What is followed.

    `begin` reads what is there and returns the resourceVersion to watch from. `saw` takes an event and does not wait.
    `meanwhile` says what happens while the watch is broken. `vital`: it is never left for long.
    """

    path: str
    begin: Callable[[], Awaitable[str]]
    saw: Callable[[str, Json], None]
    meanwhile: str
    fields: str | None = None
    metadata_only: bool = False
    vital: bool = False


def _nobody(_: ApiError | None) -> None:
    """Nobody is told."""


async def follow(api: Api, source: Source, turned: Callable[[ApiError | None], None] = _nobody) -> None:
    """Follow a source until cancelled: after a break from where it broke, from `begin` when that is too old.

    `turned` is told of each sign of life (None) and of each error. What `begin` and `saw` raise goes on from here,
    but for `ApiError`.
    """
    loop, version, failures = asyncio.get_running_loop(), "", 0
    while True:
        error: ApiError | None = None
        opened = math.inf
        try:
            version = version or await source.begin()
            opened = loop.time()
            turned(None)
            async for event in api.watch(
                source.path, version, fields=source.fields, metadata_only=source.metadata_only
            ):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != BOOKMARK:
                    source.saw(event["type"], event["object"])
                turned(None)
        except ApiError as problem:
            error = problem
            turned(error)
            version = version if isinstance(error, Unavailable) else ""
        failures = 0 if loop.time() - opened >= STEADY else failures + 1
        if error and failures == 1:
            words = "a watch broke and is tried again"
            log.warning(words, path=source.path, meanwhile=source.meanwhile, error=str(error))
        if failures:
            await _wait(api, error, _pause(error, failures, vital=source.vital))


async def _wait(api: Api, error: ApiError | None, seconds: float) -> None:
    """Pause; while nobody knows us, until somebody does: then soon."""
    if isinstance(error, Unauthorized):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await api.credentials.taken.wait()
        seconds = FIRST_PAUSE
    await asyncio.sleep(seconds)


def _pause(error: ApiError | None, failures: int, *, vital: bool) -> float:
    """Return the seconds to wait: as long as the server asks for, else a random, growing while."""
    if isinstance(error, (*PERMANENT, Unauthorized)) and not vital:
        return DENIED
    asked = error.retry_after if error else None
    return min(growing_pause(failures) if asked is None else asked, LONGEST_PAUSE)
