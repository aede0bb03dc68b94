"""The pod of a container, where an alert names nothing else: by listing the pods of the container's node.

It takes the right to list pods, which the component `intake-pods` grants and nothing else needs.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from firebreak.api.base import Json
from firebreak.intake.alert import Subject
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden
from firebreak.model.pod import Pod

PAUSES = (0.5, 1.5, 3.0)  # seconds between looks: an alert may come before the kubelet has reported the container
FRESH = 0.4  # seconds for which the list of a node is taken to hold: a storm asks once
MOST_NODES = 256  # remembered: alerts may name nodes that are none
COMPONENT = "manifests/components/intake-pods"


@dataclass(frozen=True, slots=True)
class _Found:
    namespace: str
    pod: str
    uid: str
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who is meant; without a pod, why nobody is, in words."""

    subject: Subject
    why: str = ""


class Containers:
    """Finds pods by container id. `clock` counts seconds and never goes back."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._nodes: OrderedDict[str, tuple[float, list[_Found]]] = OrderedDict()
        self._asking = asyncio.Lock()  # alerts of a storm ask for the same nodes

    async def resolve(self, subject: Subject) -> Resolved:
        """Return the subject with the pod of its container, or why it has none. Raises `Unavailable`."""
        if not subject.node:
            return Resolved(subject, f"container {subject.container_id} is named, but not the node it runs on")
        try:
            for pause in PAUSES:
                if found := await self._found(subject):
                    return found
                await asyncio.sleep(pause)
            return await self._found(subject) or self._nobody(subject)
        except Forbidden:
            words = f"container {subject.container_id} is named, but no pod, and this account may not list pods"
            return Resolved(subject, f"{words}: kubectl apply -k {COMPONENT}")

    async def _found(self, subject: Subject) -> Resolved | None:
        """The pod, if exactly one has the container; a short id of which there are two is nobody's."""
        there = await self._of(subject.node)
        meant = [each for each in there if any(i.startswith(subject.container_id) for i in each.containers)]
        if len(meant) != 1:
            return None
        return Resolved(replace(subject, namespace=meant[0].namespace, pod=meant[0].pod, pod_uid=meant[0].uid))

    @staticmethod
    def _nobody(subject: Subject) -> Resolved:
        return Resolved(subject, f"not one pod of node {subject.node} has container {subject.container_id}")

    async def _of(self, node: str) -> list[_Found]:
        async with self._asking:
            at, known = self._nodes.get(node, (float("-inf"), []))
            if self._clock() - at < FRESH:
                return known
            found: list[_Found] = []
            await self._api.list_all("Pod", fields=f"spec.nodeName={node}", keep=lambda raw: found.append(_kept(raw)))
            self._nodes[node] = (self._clock(), found)
            if len(self._nodes) > MOST_NODES:
                self._nodes.popitem(last=False)
            return found


def _kept(raw: Json) -> _Found:
    pod = Pod(raw)
    ids = tuple(value.rpartition("//")[2] for value in pod.container_ids.values())
    return _Found(pod.namespace, pod.name, pod.uid, ids)
