"""A namespace of the benchmark's own with pods that no node runs; incidents about them, and the calls that cut them.

All times are the API server's audit stamps: the one clock that Firebreak and the bare client share.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from audited import AuditLog, Event, answered, received
from benchmarks.waiting import Unmeasurable, until
from cluster.provider import ClusterInfo
from firebreak.api.base import Json
from firebreak.engine.execute import send
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists
from firebreak.kube.lanes import Lane, lane
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef
from firebreak.steps.quarantine import first_cut


@dataclass(frozen=True)
class Calls:
    """The calls that cut one pod, as the API server saw them."""

    label: Event
    policy: Event

    @property
    def began(self) -> datetime:
        """When the first was received."""
        return min(received(self.label), received(self.policy))

    @property
    def both_there(self) -> datetime:
        """When the second was received."""
        return max(received(self.label), received(self.policy))

    @property
    def ended(self) -> datetime:
        """When both were answered: the pod is cut."""
        return max(answered(self.label), answered(self.policy))


@dataclass(frozen=True)
class Scene:
    """Where a benchmark works."""

    api: Api
    log: AuditLog
    namespace: str
    audit_log: Path

    async def pod(self, name: str) -> None:
        """Make a pod that no node runs: what is measured is the API server's part, not the kubelet's."""
        spec = {"containers": [{"name": "c", "image": "busybox:1.35"}], "schedulerName": "nobody"}
        await self.api.create("Pod", self.namespace, {"metadata": {"name": name}, "spec": spec})

    async def running(self, name: str, script: str) -> str:
        """Make a pod that runs a shell script in /data; return its address once it is Ready: has made /ready."""
        container = {
            "name": "c",
            "image": "busybox:1.35",
            "workingDir": "/data",
            "command": ["sh", "-c", script],
            "readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1},
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        await self.api.create("Pod", self.namespace, {"metadata": {"name": name}, "spec": spec})
        return await until(lambda: self._address(name))

    async def _address(self, pod: str) -> str | None:
        found = await self.api.get(Ref("Pod", pod, self.namespace))
        return str(found["status"]["podIP"]) if _ready(found) else None

    async def open(self, pod: str, **spec: Any) -> Json:
        """Open an incident of the pod's name about it; return it as created."""
        body = {
            "apiVersion": "firebreak.dev/v1alpha1",
            "kind": "Incident",
            "metadata": {"name": pod},
            "spec": {"target": {"pod": pod}, **spec},
        }
        return await self.api.create("Incident", self.namespace, body)

    async def opened(self, pod: str) -> Event:
        """Return the call that opened the incident of this name."""
        return await self._event("create", "incidents", pod)

    async def cut(self, incident: Json) -> Calls:
        """Return the calls by which Firebreak cut the pod of an incident."""
        metadata = incident["metadata"]
        by = IncidentRef(self.namespace, metadata["name"], metadata["uid"])
        return await self._calls(incident["spec"]["target"]["pod"], by)

    async def about(self, pods: Sequence[str]) -> list[Json]:
        """Wait until pods are cut, and return the incidents about them, whoever opened them and by whatever names.

        The audit log is asked first: whoever lists while incidents come would be part of what is measured.
        """
        for pod in pods:
            await self._event("patch", "pods", pod)
        every = {each["spec"]["target"]["pod"]: each for each in await self.api.list_all("Incident", self.namespace)}
        return [every[pod] for pod in pods]

    async def cut_bare(self, pods: Iterable[str]) -> list[Calls]:
        """Cut pods with a bare client: the same calls, all at once; return them in the order of the pods."""
        named = {pod: IncidentRef(self.namespace, pod, f"bare-{secrets.token_hex(4)}") for pod in pods}
        changes = [change for pod, by in named.items() for change in first_cut(by, Ref("Pod", pod, self.namespace))]
        with lane(Lane.CUT):  # the seats that Firebreak's own cuts have
            await asyncio.gather(*(send(self.api, change) for change in changes))
        return [await self._calls(pod, by) for pod, by in named.items()]

    async def settled(self, incident: Json) -> datetime:
        """Wait until the cut is judged, then end the response: it would run beside the next measurement.

        Returns when Firebreak's handler first saw the incident, by the clock of the leader. The pod never starts, so a
        capture would wait for it.
        """
        ref = Ref("Incident", incident["metadata"]["name"], self.namespace)
        seen = await until(lambda: self._seen(ref))
        await self.api.delete(ref)
        return seen

    async def _seen(self, incident: Ref) -> datetime | None:
        timings: Json = ((await self.api.get(incident)).get("status") or {}).get("timings") or {}
        return datetime.fromisoformat(timings["seenAt"]) if "containedAt" in timings else None

    async def _calls(self, pod: str, by: IncidentRef) -> Calls:
        return Calls(await self._event("patch", "pods", pod), await self._event("create", "networkpolicies", by.policy))

    async def _event(self, verb: str, resource: str, name: str) -> Event:
        async def look() -> Event | None:
            return self.log.find(verb, resource, self.namespace, name)

        return await until(look)


def _ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@asynccontextmanager
async def scene(info: ClusterInfo) -> AsyncIterator[Scene]:
    """Open a namespace, which goes when the block ends. Needs the API server's audit log."""
    if info.audit_log is None:
        message = "this cluster names no audit log; without the API server's stamps there is nothing to compare"
        raise Unmeasurable(message)
    namespace = f"bench-{secrets.token_hex(3)}"
    async with await Api.connect(str(info.kubeconfig)) as api:
        await api.create("Namespace", None, {"metadata": {"name": namespace}})
        try:
            await _account(api, namespace)
            yield Scene(api, AuditLog(info.audit_log), namespace, info.audit_log)
        finally:
            await api.delete(Ref("Namespace", namespace))


async def _account(api: Api, namespace: str) -> None:
    """Pods can be created once the namespace has its default account; a bare API server never makes one."""
    with contextlib.suppress(AlreadyExists):
        await api.create("ServiceAccount", namespace, {"metadata": {"name": "default"}})


def milliseconds(start: datetime, end: datetime) -> float:
    """From start to end."""
    return (end - start).total_seconds() * 1000
