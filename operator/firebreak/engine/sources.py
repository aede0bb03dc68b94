"""From a request to the stream that answers it, watched for the one thing that no stream can see of itself.

A container that restarts gets a new writable layer: what is read then belongs to another life. So the container's id is
compared before and after, and a change makes the artifact partial whatever the stream says.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping

from firebreak.api.base import Json
from firebreak.api.playbook import Capture
from firebreak.engine.case import Tools
from firebreak.evidence.source import BytesSource, Source
from firebreak.kube import survey
from firebreak.kube.describe import DescribeSource
from firebreak.kube.errors import ApiError, NotFound
from firebreak.kube.logs import LogSource
from firebreak.kube.redact import redact_pod
from firebreak.kube.source import ContainerRef, Limits
from firebreak.kube.tarsource import TarSource
from firebreak.kube.volatile import VolatileSource
from firebreak.model.outcome import Completeness, Outcome
from firebreak.model.pod import Pod
from firebreak.steps import capture
from firebreak.steps.capture import Request
from firebreak.steps.reach import secret_mounts

METHODS: Mapping[capture.Source, str] = {
    capture.Source.VOLATILE: "pods/exec: /proc read by the container's own shell",
    capture.Source.POD: "GET of the pod",
    capture.Source.LOG: "pods/log with timestamps",
    capture.Source.DESCRIBE: "kubectl describe",
    capture.Source.SURROUNDINGS: "GET and LIST of what stands around the pod",
    capture.Source.FILES: "pods/exec: the container's own tar, its archive checked and filtered here",
}


async def open_source(tools: Tools, request: Request, options: Capture, first_sight: str | None) -> Source:
    """Return the stream for a request. `first_sight` is the container's id when the incident began."""
    pod = request.pod
    if request.source is capture.Source.POD:
        return await _document(_pod(tools, pod))
    if request.source is capture.Source.SURROUNDINGS:
        return await _document(survey.surroundings(tools.api, pod))
    limits = Limits(max_bytes=options.max_bytes, total_seconds=options.timeout_seconds)
    if request.source is capture.Source.DESCRIBE:
        return DescribeSource(tools.api, pod.namespace, pod.name, kubectl=tools.settings.kubectl)
    target = ContainerRef(pod.namespace, pod.name, request.container or "")
    if request.previous:
        return LogSource(tools.api, target, limits, previous=True)
    return Watched(_out_of_container(tools, request, target, options, limits), tools, request, first_sight)


def _out_of_container(tools: Tools, request: Request, target: ContainerRef, options: Capture, limits: Limits) -> Source:
    if request.source is capture.Source.LOG:
        return LogSource(tools.api, target, limits)
    if request.source is capture.Source.VOLATILE:
        return VolatileSource(tools.api, target)
    return TarSource(tools.api, target, options.paths, secret_mounts(request.pod, target.container), limits)


async def _pod(tools: Tools, pod: Pod) -> Json:
    found = await tools.api.get(pod.ref)
    if found["metadata"]["uid"] != pod.uid:
        raise NotFound(str(pod.ref), "the pod is gone; another one has its name now")
    return found


async def _document(reading: Awaitable[Json]) -> Source:
    """A small document, read at once; literal environment values are left out of it."""
    try:
        found = await reading
    except ApiError as error:
        outcome = Outcome(Completeness.MISSING, type(error).__name__, str(error))
        return BytesSource(b"", outcome)
    return BytesSource(json.dumps(redact_pod(found), indent=1, sort_keys=True).encode())


class Watched:
    """A stream out of a container, judged also by whether the container is still the one that was pinned."""

    def __init__(self, inner: Source, tools: Tools, request: Request, first_sight: str | None) -> None:
        self._inner = inner
        self._tools = tools
        self._request = request
        self._pinned = first_sight
        self._restarted = ""

    @property
    def outcome(self) -> Outcome:
        """The stream's own verdict, or partial when the container is another one."""
        inner = self._inner.outcome
        if self._restarted and inner.complete:
            return Outcome(Completeness.PARTIAL, "ContainerRestarted", self._restarted)
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
        """Compare the container's id with the one at first sight. What cannot be read is not assumed to be the same."""
        name = self._request.container or ""
        try:
            now = Pod(await self._tools.api.get(self._request.pod.ref)).container_ids.get(name)
        except ApiError as error:
            self._restarted = f"whether container {name!r} is still the same could not be read: {error.message}"
            return
        if now != self._pinned:
            self._restarted = f"container {name!r} restarted since the incident began; this is what the new one holds"
