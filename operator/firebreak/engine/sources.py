"""From a request to the stream that answers it."""

import json
from collections.abc import Awaitable, Mapping

from firebreak.api.base import Json
from firebreak.api.playbook import REVOKE, Capture
from firebreak.engine.case import Case, as_met
from firebreak.evidence.source import BytesSource, Source
from firebreak.kube.describe import DescribeSource
from firebreak.kube.errors import ApiError, Unavailable
from firebreak.kube.logs import LogSource
from firebreak.kube.source import ContainerRef, Limits, Reason
from firebreak.kube.surroundings import surroundings
from firebreak.kube.tarsource import TarSource
from firebreak.kube.volatile import VolatileSource
from firebreak.model.outcome import Completeness, Outcome
from firebreak.model.pod import Pod
from firebreak.model.record import step
from firebreak.model.redact import redact_pod
from firebreak.steps.capture import Kind, Request
from firebreak.steps.reach import secret_mounts

METHODS: Mapping[Kind, str] = {
    Kind.VOLATILE: "pods/exec: /proc read by the container's own shell",
    Kind.POD: "GET of the pod",
    Kind.LOG: "pods/log with timestamps",
    Kind.DESCRIBE: "kubectl describe",
    Kind.SURROUNDINGS: "GET and LIST of what stands around the pod",
    Kind.FILES: "pods/exec: the container's own tar, its archive checked and filtered here",
}


async def open_source(case: Case, request: Request, options: Capture) -> Source:
    """Return the document for a request, or the stream."""
    pod, tools = request.pod, case.tools
    if request.kind is Kind.POD:
        return await _document(tools.api.get(pod.ref))
    if request.kind is Kind.SURROUNDINGS:
        return await _document(_surroundings(case, pod))
    limits = Limits(max_bytes=options.max_bytes, total_seconds=options.timeout_seconds)
    target = ContainerRef(pod.namespace, pod.name, request.container or "")
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
    return await surroundings(case.tools.bindings, as_met(pod, record) if record else pod, revoked)


async def _document(reading: Awaitable[Json]) -> Source:
    """A small document, read at once; literal environment values are left out of it."""
    try:
        found = await reading
    except ApiError as error:
        reason = Reason.SERVER_ERROR if isinstance(error, Unavailable) else type(error).__name__
        outcome = Outcome(Completeness.MISSING, reason, str(error))
        return BytesSource(b"", outcome)
    return BytesSource(json.dumps(redact_pod(found), indent=1, sort_keys=True).encode())
