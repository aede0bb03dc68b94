"""An incident created to the pod contained, against a bare client that sends the same two calls.

Both are read off the API server's audit stamps. Firebreak's way starts when the API server receives the Incident and
ends when it has answered the later of label and policy; the bare client's starts when it receives the first of the two.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from benchmarks.audit import AuditLog, Event, answered, received
from cluster.provider import ClusterInfo
from firebreak.engine.execute import send
from firebreak.kube.client import Api
from firebreak.kube.errors import NotFound
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef
from firebreak.steps.quarantine import first_cut

PATIENCE = 60.0  # seconds for one round
LOOK = 0.05  # seconds between looks at the audit log


@dataclass(frozen=True)
class Round:
    """One pair of measurements, in milliseconds."""

    firebreak: float
    bare: float


async def measure(info: ClusterInfo, rounds: int) -> list[Round]:
    """Measure both ways in turn, each on a pod of its own. Firebreak must be installed and running."""
    if info.audit_log is None:
        message = "this cluster names no audit log; without the API server's stamps there is nothing to compare"
        raise SystemExit(message)
    namespace = f"bench-{secrets.token_hex(3)}"
    async with await Api.connect(str(info.kubeconfig)) as api:
        await api.create("Namespace", None, {"metadata": {"name": namespace}})
        try:
            await _account(api, namespace)
            log = AuditLog(info.audit_log)
            return [await _round(api, log, namespace, number) for number in range(rounds)]
        finally:
            await api.delete(Ref("Namespace", namespace))


async def _account(api: Api, namespace: str) -> None:
    """Pods can be created once the namespace has its default account."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(NotFound):
                await api.get(Ref("ServiceAccount", "default", namespace))
                return
            await asyncio.sleep(LOOK)


async def _round(api: Api, log: AuditLog, namespace: str, number: int) -> Round:
    return Round(await _by_firebreak(api, log, namespace, f"f{number}"), await _bare(api, log, namespace, f"b{number}"))


async def _by_firebreak(api: Api, log: AuditLog, namespace: str, pod: str) -> float:
    await _pod(api, namespace, pod)
    body = {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": pod},
        "spec": {"target": {"pod": pod}},
    }
    created = await api.create("Incident", namespace, body)
    incident = IncidentRef(namespace, pod, created["metadata"]["uid"])
    opened = await _event(log, "create", "incidents", namespace, pod)
    cuts = [await _event(log, *call) for call in _calls(incident, pod)]
    await _settled(api, Ref("Incident", pod, namespace))
    return _milliseconds(received(opened), max(answered(cut) for cut in cuts))


async def _settled(api: Api, incident: Ref) -> None:
    """Wait until the cut is judged, then end the response: it would run beside the next measurement.

    The pod never starts, so a capture would wait for it.
    """
    async with asyncio.timeout(PATIENCE):
        while not await _contained(api, incident):  # noqa: ASYNC110 - see _event
            await asyncio.sleep(LOOK)
    await api.delete(incident)


async def _contained(api: Api, incident: Ref) -> bool:
    status = (await api.get(incident)).get("status") or {}
    return "containedAt" in (status.get("timings") or {})


async def _bare(api: Api, log: AuditLog, namespace: str, pod: str) -> float:
    await _pod(api, namespace, pod)
    incident = IncidentRef(namespace, pod, f"bare-{secrets.token_hex(4)}")
    label, policy = first_cut(incident, Ref("Pod", pod, namespace))
    await asyncio.gather(send(api, label), send(api, policy))
    cuts = [await _event(log, *call) for call in _calls(incident, pod)]
    return _milliseconds(min(received(cut) for cut in cuts), max(answered(cut) for cut in cuts))


def _calls(incident: IncidentRef, pod: str) -> Iterator[tuple[str, str, str, str]]:
    yield "patch", "pods", incident.namespace, pod
    yield "create", "networkpolicies", incident.namespace, incident.policy


async def _pod(api: Api, namespace: str, name: str) -> None:
    """A pod that no node runs: what is measured is the API server's part, not the kubelet's."""
    container = {"name": "c", "image": "busybox:1.35"}
    spec = {"containers": [container], "schedulerName": "nobody"}
    await api.create("Pod", namespace, {"metadata": {"name": name}, "spec": spec})


async def _event(log: AuditLog, verb: str, resource: str, namespace: str, name: str) -> Event:
    def wanted(event: Event) -> bool:
        about = event.get("objectRef") or {}
        return (
            event["verb"] == verb
            and (about.get("resource"), about.get("namespace"), about.get("name")) == (resource, namespace, name)
            and "subresource" not in about
            and event["responseStatus"]["code"] < 300  # noqa: PLR2004 - HTTP
        )

    async with asyncio.timeout(PATIENCE):
        while (found := log.find(wanted)) is None:  # noqa: ASYNC110 - a file tells nobody that it grew
            await asyncio.sleep(LOOK)
    return found


def _milliseconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000
