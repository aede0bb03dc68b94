"""Kubernetes Events for people: one for each condition that turned, none for repeats."""

import asyncio
import hashlib
from typing import Final

import structlog

from firebreak.api import API_VERSION
from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, ApiError
from firebreak.model.clock import Clock
from firebreak.model.incident import Incident
from firebreak.model.verdict import (
    ACTION,
    CONTAINED,
    EVIDENCE,
    IDENTITY,
    NODE,
    RECOVERED,
    ROTATED,
    STALLED,
    UNDERWAY,
)

log = structlog.get_logger()

TOLD: Final = frozenset({CONTAINED, EVIDENCE, IDENTITY, ROTATED, RECOVERED, NODE, ACTION, STALLED})
ALARMING: Final = frozenset({(ACTION, "True"), (STALLED, "True"), (NODE, "True"), (CONTAINED, "False")})
QUIET: Final = frozenset({(ACTION, "False"), (STALLED, "False"), (NODE, "False")})  # nothing happened: nothing to tell
LONGEST = 1024  # characters of an Event's message, by the API server's validation


class Notices:
    """Posts Events about incidents."""

    def __init__(self, api: Api, clock: Clock, reporter: str) -> None:
        self._api = api
        self._clock = clock
        self._reporter = reporter
        self._posting: set[asyncio.Task[None]] = set()

    def announce(self, incident: Incident, before: Json, after: Json) -> None:
        """Post an Event for each condition that turned between two statuses. Nothing waits for it."""
        was = {c["type"]: (c["status"], c["reason"]) for c in before.get("conditions", [])}
        for condition in after.get("conditions", []):
            kind, status = condition["type"], condition["status"]
            silent = (kind not in was and (kind, status) in QUIET) or condition["reason"] in UNDERWAY
            if kind in TOLD and was.get(kind) != (status, condition["reason"]) and not silent:
                task = asyncio.create_task(self._post(incident, condition))
                self._posting.add(task)
                task.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Drop what is not posted yet."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)

    async def _post(self, incident: Incident, condition: Json) -> None:
        kind, status, reason = condition["type"], condition["status"], condition["reason"]
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(f"{kind}{status}{reason}{condition['lastTransitionTime']}".encode()).hexdigest()[:16]
        event: Json = {
            "metadata": {"name": f"{incident.id.name[:200]}.{digest}", "namespace": incident.id.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": "Incident",
                "name": incident.id.name,
                "namespace": incident.id.namespace,
                "uid": incident.id.uid,
            },
            "reason": f"{kind}{'' if status == 'True' else 'Not' if status == 'False' else 'Unknown'}",
            "message": f"{reason}: {condition['message']}"[:LONGEST],
            "type": "Warning" if (kind, status) in ALARMING else "Normal",
            "source": {"component": "firebreak"},
            "reportingComponent": "firebreak.dev/operator",
            "reportingInstance": self._reporter,
            "action": "Respond",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create("Event", incident.id.namespace, event)
        except AlreadyExists:
            pass  # told already
        except ApiError as error:
            log.warning("event not posted", incident=str(incident.id), error=str(error))
