"""One artifact of a pod, read, and read again when something between Firebreak and a living container broke it off.

A container that restarts gets a new writable layer: what is read then belongs to another life, which no stream can see
of itself. `Pinned` is the one rule for that. It is asked before and after each reading, where a change makes the
artifact partial whatever the stream says, and before the next one, which never takes the place of the first life's.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from firebreak.api.playbook import Capture
from firebreak.engine.case import Case
from firebreak.engine.sources import open_source
from firebreak.engine.turns import Paced, Turn
from firebreak.evidence.source import Source
from firebreak.kube.client import Api
from firebreak.kube.errors import NO_RIGHT, ApiError, Forbidden, Unauthorized, Unavailable
from firebreak.kube.source import INTERRUPTIONS, Reason
from firebreak.model.outcome import Completeness, Outcome
from firebreak.model.pod import Pod
from firebreak.steps.capture import Kind, Request

log = structlog.get_logger()

AGAIN_WITHIN = 60.0  # seconds since a reading was broken off
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 1.0  # seconds between two; what dies first is lost by long ones
NOT_KNOWN = frozenset({Reason.CONTAINER_NOT_RUNNING, Reason.NOT_FOUND})
"""What a kubelet that has just started says of containers that it will find again in a moment (seen)."""


class Life(Enum):
    """What became of the pod and container of first sight."""

    GOES_ON = auto()
    ENDED = auto()
    """It runs no more, and no other has taken its place."""
    ANOTHER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Seen:
    """The answer to one look; `doubt`, a reason and words, says why what is read may be another container's."""

    life: Life
    doubt: tuple[str, str] | None = None


class Pinned:
    """Compares pod and container with those of first sight; None for one that had not started then."""

    def __init__(self, api: Api, request: Request, first_sight: str | None) -> None:
        self._api = api
        self._request = request
        self._container_id = first_sight

    async def look(self) -> Seen:
        """Read the pod. What cannot be read is not taken to be the same."""
        try:
            pod = Pod(await self._api.get(self._request.pod.ref))
        except (Unavailable, Unauthorized, Forbidden) as error:
            return Seen(Life.UNKNOWN, (Reason.SERVER_ERROR, _unread(error)))
        except ApiError as error:
            return Seen(Life.ANOTHER, ("PodChanged", _unread(error)))
        name = self._request.container
        if name is None or self._request.previous:  # a previous log is another life by intent
            return Seen(Life.GOES_ON)
        if self._container_id is None and name not in pod.restarted:  # it started after the first sight of its pod
            self._container_id = pod.container_ids.get(name)
        if pod.container_ids.get(name) != self._container_id:
            words = f"container {name!r} restarted since the incident began; this is what the new one holds"
            return Seen(Life.ANOTHER, ("ContainerRestarted", words))
        return Seen(Life.GOES_ON if name in pod.running else Life.ENDED)


def _unread(error: ApiError) -> str:
    return f"whether it is still the same pod could not be read: {error.message}"


class Watched:
    """A stream of a pod, judged also by what is seen of the pod before and after it."""

    def __init__(self, inner: Source, pinned: Pinned) -> None:
        self._inner = inner
        self._pinned = pinned
        self._doubt: tuple[str, str] | None = None

    @property
    def outcome(self) -> Outcome:
        """The stream's own verdict, or partial when it may have come from another pod or container."""
        inner = self._inner.outcome
        if self._doubt and inner.complete:
            return Outcome(Completeness.PARTIAL, *self._doubt)
        return inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._doubt = (await self._pinned.look()).doubt
        chunks = aiter(self._inner)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        self._doubt = (await self._pinned.look()).doubt or self._doubt


class Rereading:
    """Opens the source of one artifact, and again when something between us and a living container broke it off.

    The one place that tries again: a source is read once, and says how that ended.
    """

    def __init__(self, case: Case, request: Request, options: Capture, first_sight: str | None, turn: Turn) -> None:
        self._case, self._request, self._options = case, request, options
        self._pinned = Pinned(case.tools.api, request, first_sight)
        self._turn = turn
        self._until: float | None = None
        self._pause = FIRST_PAUSE

    async def open(self) -> Source:
        """Open it, to be read in turns."""
        source = await open_source(self._case, self._request, self._options)
        document = self._request.kind in {Kind.POD, Kind.SURROUNDINGS}  # read at once, of a pod that it names
        return Paced(source if document else Watched(source, self._pinned), self._turn)

    async def again(self, outcome: Outcome) -> Source | None:
        """Open it once more, unless what was read is all that there is to be had."""
        # An API server that has just started refuses for a moment, for want of a right, what it allowed before (seen).
        refused = outcome.reason == Reason.FORBIDDEN and (NO_RIGHT in outcome.message or self._until is not None)
        if not refused and outcome.reason not in INTERRUPTIONS | NOT_KNOWN:
            return None
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + AGAIN_WITHIN
        while loop.time() < self._until:
            await asyncio.sleep(self._pause)
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
            life = (await self._pinned.look()).life
            if life is Life.UNKNOWN:
                continue
            over = life is not Life.GOES_ON
            if over and (outcome.completeness is Completeness.PARTIAL or outcome.reason not in INTERRUPTIONS):
                return None  # what was read of the first container is worth more than all of the next
            log.info("read again", artifact=self._request.name, reason=outcome.reason)
            return await self.open()
        return None
