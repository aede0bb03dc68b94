"""What turned in an incident, as records for a SIEM. Pure.

No value of a secret is in it: the same rules hold as for the status that it is read from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from firebreak.api.base import Json
from firebreak.api.status import Phase
from firebreak.model.change import KINDS
from firebreak.model.digest import sha256
from firebreak.model.ecs import SEVERITIES, Record, orchestrator, record
from firebreak.model.incident import Incident
from firebreak.model.verdict import CONTAINED, CORDONED, EVIDENCE, IDENTITY, NODE, RECOVERED, ROTATED

OPENED, TURNED, UNDONE, CLOSED = (f"dev.firebreak.incident.{word}" for word in ("opened", "turned", "undone", "closed"))
RESPONSE: Final = ("intrusion_detection", "info")
CATEGORIES: Final[Mapping[str, tuple[str, str]]] = {
    CONTAINED: ("network", "denied"),
    IDENTITY: ("iam", "change"),
    ROTATED: ("iam", "change"),
    RECOVERED: ("configuration", "change"),
    CORDONED: ("host", "change"),
    NODE: ("host", "info"),
}
"""`event.category`, and `event.type` when it is `True`; else, and of all other conditions, it is information."""
ACHIEVED: Final = frozenset({CONTAINED, IDENTITY, EVIDENCE, ROTATED, RECOVERED, CORDONED})
"""What `True` is a success of. Of the others no outcome is told: that a person is waited for is none."""
OUTCOMES: Final = {"True": "success", "False": "failure", "Unknown": "unknown"}
NOT_ASKED_FOR: Final = "NotRequested"


@dataclass(frozen=True)
class _Told:
    """One event, but for what all events of an incident have."""

    kind: str
    at: str
    action: str
    message: str
    id: Sequence[str]
    category: tuple[str, str] = RESPONSE
    outcome: str = ""
    reason: str = ""
    labels: Mapping[str, str] | None = None


def transitions(
    incident: Incident, before: Json, after: Json, turned: Sequence[Json], *, cluster: str, now: str
) -> tuple[Record, ...]:
    """Return what happened between two statuses; `turned` are the conditions of the later one that are told of.

    `now`, RFC 3339, counts where the status keeps no time of its own: for the reason of a condition that stays as it
    is, and for the end.
    """
    was = {c["type"]: c["status"] for c in before.get("conditions", [])}
    told = [_opened(incident, now)] if not was else []
    told += [_turned(c, c["lastTransitionTime"] if was.get(c["type"]) != c["status"] else now) for c in turned]
    if after.get("phase") == Phase.CLOSED != before.get("phase"):
        told.append(_closed(incident, now))
    return tuple(_record(incident, each, after, cluster) for each in told)


def undone(incident: Incident, words: str, *, cluster: str, now: str) -> Record:
    """Return that somebody undid what `words` say, and that it is done again."""
    message = f"{words}; it is done again"
    told = _Told(UNDONE, at=now, action="response-undone", message=message, id=(words, now))
    return _record(incident, told, {}, cluster)


def _opened(incident: Incident, now: str) -> _Told:
    source = incident.spec.source
    by = f"by {source}" if source else "by a person"
    return _Told(
        OPENED,
        at=incident.created_at or now,
        action="incident-opened",
        message=f"opened {by}, about {incident.spec.target or 'nothing that could be found'}",
        id=(),
        reason=incident.spec.reason,
        labels={"source": source, "mode": incident.spec.mode, "playbook": incident.spec.playbook},
    )


def _turned(condition: Json, at: str) -> _Told:
    kind, status, reason = condition["type"], condition["status"], condition["reason"]
    category, done = CATEGORIES.get(kind, RESPONSE)
    return _Told(
        TURNED,
        at=at,
        action="condition-turned",
        message=f"{kind} is {status} ({reason}): {condition['message']}",
        id=(kind, status, reason, at),
        category=(category, done if status == "True" else "info"),
        outcome=OUTCOMES[status] if kind in ACHIEVED and reason != NOT_ASKED_FOR else "",
        reason=reason,
        labels={"condition": kind, "status": status},
    )


def _closed(incident: Incident, now: str) -> _Told:
    verdict = incident.spec.verdict or ""
    return _Told(
        CLOSED,
        at=now,
        action="incident-closed",
        message=f"closed as {verdict}",
        id=(),
        reason=verdict,
        labels={"ticket": incident.spec.ticket},
    )


def _record(incident: Incident, told: _Told, status: Json, cluster: str) -> Record:
    ref = incident.id
    document = {
        "@timestamp": told.at,
        "event": {
            "kind": "event",
            "category": [told.category[0]],
            "type": [told.category[1]],
            "action": told.action,
            "outcome": told.outcome,
            "severity": SEVERITIES[incident.spec.severity.lower()],
            "id": sha256([told.kind, ref.uid, *told.id]),
            "reason": told.reason,
        },
        "orchestrator": orchestrator(cluster, ref.namespace, *_resource(incident)),
        "message": f"incident {ref}: {told.message}",
        "labels": {
            "incident": ref.name,
            "incident_uid": ref.uid,
            "phase": status.get("phase", ""),
            **(told.labels or {}),
        },
    }
    return record(told.kind, str(ref), document)


def _resource(incident: Incident) -> tuple[str, str]:
    """Return what the incident is about, as the API names it; itself where that is no one object."""
    target = incident.spec.target
    if target and target.pod:
        return KINDS["Pod"][1], target.pod
    if target and target.workload:
        return KINDS[target.workload.kind][1], target.workload.name
    if target and target.service_account:
        return KINDS["ServiceAccount"][1], target.service_account
    return KINDS["Incident"][1], incident.id.name
