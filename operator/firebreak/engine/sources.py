"""From a request to the stream that answers it, watched for the one thing that no stream can see of itself.

A container that restarts gets a new writable layer: what is read then belongs to another life. So the container's id is
compared before and after, and a change makes the artifact partial whatever the stream says.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping

import structlog

from firebreak.api.base import Json
from firebreak.api.playbook import REVOKE, Capture
from firebreak.engine.case import Case, Tools, as_met
from firebreak.engine.turns import Paced, Turn
from firebreak.evidence.source import BytesSource, Source
from firebreak.kube.describe import DescribeSource
from firebreak.kube.errors import NO_RIGHT, ApiError, Forbidden, Unavailable
from firebreak.kube.logs import LogSource
from firebreak.kube.source import INTERRUPTIONS, ContainerRef, Limits, Reason
from firebreak.kube.surroundings import surroundings
from firebreak.kube.tarsource import TarSource
from firebreak.kube.volatile import VolatileSource
from firebreak.model.outcome import Completeness, Outcome
from firebreak.model.pod import Pod
from firebreak.model.record import step
from firebreak.model.redact import redact_pod
from firebreak.steps.capture import Kind, Request
from firebreak.steps.reach import secret_mounts

log = structlog.get_logger()

AGAIN_WITHIN = 60.0  # seconds since a reading was broken off
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds between two
NOT_KNOWN = frozenset({Reason.CONTAINER_NOT_RUNNING, Reason.NOT_FOUND})
"""What a kubelet that has just started says of containers that it will find again in a moment (seen)."""

METHODS: Mapping[Kind, str] = {
    Kind.VOLATILE: "pods/exec: /proc read by the container's own shell",
    Kind.POD: "GET of the pod",
    Kind.LOG: "pods/log with timestamps",
    Kind.DESCRIBE: "kubectl describe",
    Kind.SURROUNDINGS: "GET and LIST of what stands around the pod",
    Kind.FILES: "pods/exec: the container's own tar, its archive checked and filtered here",
}


class Rereading:
    """Opens the source of one artifact, and again when something between us and a living container broke it off."""

    def __init__(self, case: Case, request: Request, options: Capture, first_sight: str | None, turn: Turn) -> None:
        self._case, self._request, self._options = case, request, options
        self._first_sight = first_sight
        self._turn = turn
        self._until: float | None = None
        self._pause = FIRST_PAUSE

    async def open(self) -> Source:
        """Open it, to be read in turns."""
        source = await open_source(self._case, self._request, self._options, self._first_sight)
        return Paced(source, self._turn)

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
            try:
                lives_on = await self._lives_on()
            except (Unavailable, Forbidden):
                continue
            if not lives_on and (outcome.completeness is Completeness.PARTIAL or outcome.reason not in INTERRUPTIONS):
                return None  # what was read of the first container is worth more than all of the next
            log.info("read again", artifact=self._request.name, reason=outcome.reason)
            return await self.open()
        return None

    async def _lives_on(self) -> bool:
        """Whether the container of first sight still runs. Raises `Unavailable` and `Forbidden`."""
        name = self._request.container
        try:
            pod = Pod(await self._case.tools.api.get(self._request.pod.ref))
        except (Unavailable, Forbidden):
            raise
        except ApiError:
            return False
        if name is None or self._request.previous:
            return True
        same = pod.container_ids.get(name) == self._first_sight
        late = self._first_sight is None and name not in pod.restarted  # it started after the first sight of its pod
        return name in pod.running and (same or late)


async def open_source(case: Case, request: Request, options: Capture, first_sight: str | None) -> Source:
    """Return the stream for a request. `first_sight` is the container's id when the incident began."""
    pod, tools = request.pod, case.tools
    if request.kind is Kind.POD:
        return await _document(tools.api.get(pod.ref))
    if request.kind is Kind.SURROUNDINGS:
        return await _document(_surroundings(case, pod))
    limits = Limits(max_bytes=options.max_bytes, total_seconds=options.timeout_seconds)
    return Watched(_stream(tools, request, options, limits), tools, request, first_sight)


def _stream(tools: Tools, request: Request, options: Capture, limits: Limits) -> Source:
    pod, target = request.pod, ContainerRef(request.pod.namespace, request.pod.name, request.container or "")
    match request.kind:
        case Kind.DESCRIBE:
            return DescribeSource(tools.api, pod.namespace, pod.name, kubectl=tools.settings.kubectl)
        case Kind.LOG:
            return LogSource(tools.api, target, limits, previous=request.previous)
        case Kind.VOLATILE:
            return VolatileSource(tools.api, target)
        case _:
            return TarSource(tools.api, target, options.paths, secret_mounts(pod, target.container), limits)


async def _surroundings(case: Case, pod: Pod) -> Json:
    """What stands around a pod as it was met: meanwhile it was detached, and its rights may be revoked already."""
    changes = step(case.status, REVOKE).changes.values()
    revoked = {change.object: change.before for change in changes if change.before}
    record = case.status.pods.get(pod.uid)
    return await surroundings(case.tools.api, as_met(pod, record) if record else pod, revoked)


async def _document(reading: Awaitable[Json]) -> Source:
    """A small document, read at once; literal environment values are left out of it."""
    try:
        found = await reading
    except ApiError as error:
        reason = Reason.SERVER_ERROR if isinstance(error, Unavailable) else type(error).__name__
        outcome = Outcome(Completeness.MISSING, reason, str(error))
        return BytesSource(b"", outcome)
    return BytesSource(json.dumps(redact_pod(found), indent=1, sort_keys=True).encode())


class Watched:
    """A stream of a pod, judged also by whether pod and container are still those that were pinned."""

    def __init__(self, inner: Source, tools: Tools, request: Request, first_sight: str | None) -> None:
        self._inner = inner
        self._tools = tools
        self._request = request
        self._pinned = first_sight
        self._changed: tuple[str, str] | None = None

    @property
    def outcome(self) -> Outcome:
        """The stream's own verdict, or partial when it came from another pod or container."""
        inner = self._inner.outcome
        if self._changed and inner.complete:
            return Outcome(Completeness.PARTIAL, *self._changed)
        return inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._look()
        chunks = aiter(self._inner)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        await self._look()

    async def _look(self) -> None:
        """Compare uid and container id with those at first sight. What cannot be read is not taken to be the same."""
        name = self._request.container
        try:
            pod = Pod(await self._tools.api.get(self._request.pod.ref))
        except (Unavailable, Forbidden) as error:
            words = f"whether it is still the same pod could not be read: {error.message}"
            self._changed = (Reason.SERVER_ERROR, words)
            return
        except ApiError as error:
            self._changed = ("PodChanged", f"whether it is still the same pod could not be read: {error.message}")
            return
        if name is None or self._request.previous:  # a previous log is another life by intent
            return
        if self._pinned is None and name not in pod.restarted:  # it started after the first sight of its pod
            self._pinned = pod.container_ids.get(name)
        if pod.container_ids.get(name) != self._pinned:
            words = f"container {name!r} restarted since the incident began; this is what the new one holds"
            self._changed = ("ContainerRestarted", words)
