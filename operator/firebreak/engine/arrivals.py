"""Later pods: a watch for each incident whose target may grow, so that a new pod is cut as soon as it is there."""

import asyncio
from collections.abc import Callable

import structlog

from firebreak.api.incident import Mode, Target
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Gone
from firebreak.kube.survey import selector_text
from firebreak.model.change import collection
from firebreak.model.incident import Incident

log = structlog.get_logger()

RECONNECT = 1.0  # seconds


def grows(target: Target | None) -> bool:
    """Return whether pods may join the target later."""
    return target is not None and target.pod is None


class Watches:
    """The watches for later pods, by the incident's uid. Every replica has them: cutting waits for no leader."""

    def __init__(self, api: Api, joined: Callable[[str], None]) -> None:
        self._api = api
        self._joined = joined
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def keep(self, incident: Incident) -> None:
        """Watch from now on, where pods may join that concern us."""
        uid, target = incident.id.uid, incident.spec.target
        wanted = target and grows(target) and incident.spec.mode is not Mode.PLAN and not incident.closed
        if target and wanted and uid not in self._tasks:
            watching = watch(self._api, incident.id.namespace, target, lambda: self._joined(uid))
            self._tasks[uid] = asyncio.create_task(watching)

    def end(self, uid: str) -> None:
        """End the watch of an incident, if there is one."""
        if task := self._tasks.pop(uid, None):
            task.cancel()

    def close(self) -> None:
        """End all watches."""
        for task in self._tasks.values():
            task.cancel()


async def watch(api: Api, namespace: str, target: Target, arrived: Callable[[], None]) -> None:
    """Call `arrived` for every pod that appears or gets its node, until cancelled.

    The event is a hint: who listens looks at the world. After a break the world is looked at as well.
    """
    labels = selector_text(target.selector) if target.selector else None
    fields = f"spec.serviceAccountName={target.service_account}" if target.service_account else None
    path = collection("Pod", namespace)
    while True:
        try:
            _, version = await api.list_from(path, labels=labels, fields=fields, metadata_only=True)
            arrived()
            async for event in api.watch(path, version, labels=labels, fields=fields):
                if event["type"] == "ADDED":
                    arrived()
        except Gone:
            continue
        except ApiError as error:
            log.warning("watch for later pods broke", namespace=namespace, error=str(error))
        await asyncio.sleep(RECONNECT)
