"""What is told: an Event for each condition that turned, and the outgoing webhook and a SIEM where they are set.

This is the one place that decides what is told. Repeats are not, with one exception: that somebody is waited for is
offered to the webhook until it took it, for which the status keeps a mark (`status.notified`). So it comes at least
once; the rest comes at most once, and not at all when Firebreak is killed between writing the status and posting.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import structlog

from firebreak.api import API_VERSION
from firebreak.api.base import Json
from firebreak.api.status import StepState
from firebreak.engine.webhook import Webhook
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, ApiError
from firebreak.model import transition
from firebreak.model.clock import Clock
from firebreak.model.incident import Incident
from firebreak.model.notice import Notice, Turned
from firebreak.model.record import stamp
from firebreak.model.verdict import (
    ACTION,
    CONTAINED,
    CORDONED,
    EVIDENCE,
    IDENTITY,
    NODE,
    RECOVERED,
    ROTATED,
    STALLED,
    UNDERWAY,
    approve_command,
)
from firebreak.outward.sink import Sink

log = structlog.get_logger()

TOLD: Final = frozenset({CONTAINED, CORDONED, EVIDENCE, IDENTITY, ROTATED, RECOVERED, NODE, ACTION, STALLED})
ALARMING: Final = frozenset({(ACTION, "True"), (STALLED, "True"), (NODE, "True"), (CONTAINED, "False")})
QUIET: Final = frozenset({(ACTION, "False"), (STALLED, "False"), (NODE, "False")})  # nothing happened: nothing to tell
LONGEST = 1024  # characters of an Event's message, by the API server's validation


class Notices:
    """Tells people about incidents."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        reporter: str,
        webhook: Webhook | None = None,
        cluster: str = "",
        siem: Sink | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._reporter = reporter
        self._webhook = webhook
        self._cluster = cluster
        self._siem = siem
        self._posting: set[asyncio.Task[None]] = set()
        self._offered: dict[str, str] = {}  # by incident's uid, which wait for a person the webhook has in hand or took

    def announce(self, incident: Incident, before: Json, after: Json, notified: Callable[[str], None]) -> None:
        """Tell what turned between two statuses. Nothing waits for it.

        `notified` is told which wait for a person the webhook took, to be kept as `status.notified`.
        """
        turned = changed(before, after)
        for condition in turned:
            self._send(incident, self._turned(incident, condition))
        if self._siem:
            now = stamp(self._clock())
            for told in transition.transitions(incident, before, after, turned, cluster=self._cluster, now=now):
                self._siem.offer(told)
        if self._webhook:
            self._notify(self._webhook, incident, after, turned, notified, opened=not before.get("conditions"))

    def _notify(
        self,
        webhook: Webhook,
        incident: Incident,
        after: Json,
        turned: list[Json],
        notified: Callable[[str], None],
        *,
        opened: bool,
    ) -> None:
        uid, waits = incident.id.uid, wait_of(after)
        again = waits not in {"", after.get("notified"), self._offered.get(uid)}
        if not (turned or again or opened):
            return
        if again:
            self._offered[uid] = waits
            turned = [*(c for c in turned if c["type"] != ACTION), _condition(after, ACTION)]

        def taken(posted: bool) -> None:  # noqa: FBT001 - the webhook's callback
            if posted and again:
                notified(waits)
            elif again and self._offered.get(uid) == waits:
                del self._offered[uid]

        webhook.offer(_notice(incident, after, turned, self._cluster, opened=opened), taken)

    def undone(self, incident: Incident, words: str) -> None:
        """Say what somebody undid, and that it is done again."""
        now = stamp(self._clock())
        event = self._event(incident, "Undone", f"{words}; it is done again", key=f"undone{words}{now}")
        self._send(incident, event | {"type": "Warning"})
        if self._siem:
            self._siem.offer(transition.undone(incident, words, cluster=self._cluster, now=now))

    def _send(self, incident: Incident, event: Json) -> None:
        task = asyncio.create_task(self._post(incident, event))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Drop what is not posted yet; what a SIEM is told has a moment to go out."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        if self._webhook:
            await self._webhook.close()
        if self._siem:
            await self._siem.close()

    def _turned(self, incident: Incident, condition: Json) -> Json:
        kind, status, reason = condition["type"], condition["status"], condition["reason"]
        told = f"{kind}{'' if status == 'True' else 'Not' if status == 'False' else 'Unknown'}"
        key = f"{kind}{status}{reason}{condition['lastTransitionTime']}"
        event = self._event(incident, told, f"{reason}: {condition['message']}", key=key)
        return event | {"type": "Warning" if (kind, status) in ALARMING else "Normal"}

    def _event(self, incident: Incident, reason: str, message: str, *, key: str) -> Json:
        """An Event about an incident. The same key is the same Event."""
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return {
            "metadata": {"name": f"{incident.id.name[:200]}.{digest}", "namespace": incident.id.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": "Incident",
                "name": incident.id.name,
                "namespace": incident.id.namespace,
                "uid": incident.id.uid,
            },
            "reason": reason,
            "message": message[:LONGEST],
            "source": {"component": "firebreak"},
            "reportingComponent": "firebreak.dev/operator",
            "reportingInstance": self._reporter,
            "action": "Respond",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    async def _post(self, incident: Incident, event: Json) -> None:
        try:
            await self._api.create("Event", incident.id.namespace, event)
        except AlreadyExists:
            pass  # told already
        except ApiError as error:
            log.warning("event not posted", incident=str(incident.id), error=str(error))


def changed(before: Json, after: Json) -> list[Json]:
    """Return the conditions that turned between two statuses and are worth telling."""
    was = {c["type"]: (c["status"], c["reason"]) for c in before.get("conditions", [])}

    def silent(kind: str, status: str, reason: str) -> bool:
        return (kind not in was and (kind, status) in QUIET) or reason in UNDERWAY

    return [
        c
        for c in after.get("conditions", [])
        if c["type"] in TOLD
        and was.get(c["type"]) != (c["status"], c["reason"])
        and not silent(c["type"], c["status"], c["reason"])
    ]


def wait_of(status: Json) -> str:
    """Return what tells one wait for a person from the next: since when, and for which steps; empty: nobody is."""
    action = _condition(status, ACTION)
    if action.get("status") != "True":
        return ""
    told = f"{action['reason']} {action['lastTransitionTime']} {' '.join(_waiting(status))}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _condition(status: Json, kind: str) -> Json:
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def _waiting(status: Json) -> list[str]:
    """The steps that wait for an approval."""
    return sorted(n for n, step in status.get("steps", {}).items() if step.get("state") == StepState.WAITING)


def _notice(incident: Incident, status: Json, turned: list[Json], cluster: str, *, opened: bool) -> Notice:
    name, namespace = incident.id.name, incident.id.namespace
    commands = [approve_command(incident.id, step) for step in _waiting(status)]
    if not commands and wait_of(status):
        commands = [f"firebreak status {name} -n {namespace}"]
    return Notice(
        incident=name,
        namespace=namespace,
        uid=incident.id.uid,
        cluster=cluster,
        phase=status.get("phase", ""),
        message=status.get("message", ""),
        waiting_for=status.get("waitingFor", ""),
        command=" && ".join(commands),
        opened=opened,
        turned=tuple(Turned(c["type"], c["status"], c["reason"], c["message"]) for c in turned),
    )
