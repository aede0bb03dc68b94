"""An alert and what its route says, as the Incident that is created. Pure.

The name is a function of the alert's identity and window, so that the API server's own uniqueness says what is a
repeat, whichever replica sees it.

Everybody with `get incidents` in the namespace reads what stands here, and it is kept for months. So it tells rule,
time, who and what by name, and what finds the alert again at its sender; no command line, no body of a request, no
field that the format does not promise to be a name.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from firebreak.api import API_VERSION
from firebreak.api.base import Json
from firebreak.api.incident import IncidentSpec, Mode, Target
from firebreak.intake.alert import Alert, Subject
from firebreak.intake.routes import Decision
from firebreak.model.names import PREFIX

ALERT = f"{PREFIX}/alert"
DIGITS = 20
MOST_REASON = 1024
MOST_ANNOTATION = 1024
MOST_VALUE = 128
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Opening:
    """An Incident to create."""

    namespace: str
    name: str
    body: Json
    unresolved: Subject | None = None
    """What names the target's container only: whoever finds its pod asks `incident` again, with that subject. The
    name stays the same. Until then the body is of mode Plan and says that the pod is not known."""


def place(alert: Alert, decision: Decision) -> tuple[str, str]:
    """Return namespace and name of an alert's Incident: what tells a repeat, and costs a fifth of the whole."""
    return alert.subject.namespace or decision.fallback_namespace, f"{alert.source}-{_digest(alert, decision)}"


def incident(alert: Alert, decision: Decision, lost: str = "") -> Opening:
    """Return the Incident of an alert. `lost` says why what the alert names is no target, e.g. a missing namespace."""
    subject = alert.subject
    target, missing = (None, lost) if lost else _target(subject)
    namespace, name = place(alert, decision)
    namespace = decision.fallback_namespace if lost else namespace
    spec = IncidentSpec(
        target=target,
        pod_uid=(subject.pod_uid or None) if target and target.pod else None,
        mode=decision.mode if target else Mode.PLAN,
        playbook=decision.playbook,
        severity=decision.severity.value,
        reason=_reason(alert, missing),
        source=alert.source,
    )
    metadata = {"name": name, "namespace": namespace, "annotations": {ALERT: _annotation(alert, decision.route)}}
    body = {
        "apiVersion": API_VERSION,
        "kind": "Incident",
        "metadata": metadata,
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
    }
    return Opening(namespace, name, body, subject if target is None and not lost and subject.container_id else None)


def _target(subject: Subject) -> tuple[Target | None, str]:
    """Return the target, or what is missing to have one."""
    named = subject.pod or subject.service_account
    if named and not subject.namespace:
        return None, f"it names {named} but no namespace"
    if subject.pod:
        return Target(pod=subject.pod), ""
    if subject.service_account:
        return Target(service_account=subject.service_account), ""
    if subject.container_id:
        return None, f"it names container {subject.container_id}, whose pod is not known"
    return None, "it names neither a pod nor a service account"


def _reason(alert: Alert, missing: str) -> str:
    """Return why, in words; what is missing is never what is cut off."""
    notes = list(alert.notes) + ([f"no target, so this only plans: {missing}"] if missing else [])
    end = f" [{'; '.join(notes)}]"[: MOST_REASON // 2] if notes else ""
    return alert.summary[: MOST_REASON - len(end)] + end


def _digest(alert: Alert, decision: Decision) -> str:
    window = (alert.time - EPOCH) // decision.window if alert.repeats else None
    text = json.dumps([alert.source, *alert.identity, window])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _annotation(alert: Alert, route: str) -> str:
    """Return what finds the alert again, as JSON that fits: of lists the last entries, for they completed it."""
    short = {
        key: value[:MOST_VALUE] if isinstance(value, str) else [each[:MOST_VALUE] for each in value]
        for key, value in alert.origin.items()
    }
    said: Json = {"rule": alert.rule[:MOST_VALUE], "time": alert.time.isoformat(), "route": route, **short}
    while len(text := json.dumps(said, ensure_ascii=False)) > MOST_ANNOTATION:
        longest = max(short, key=lambda key: len(json.dumps(said[key])))
        said[longest] = said[longest][1:] if isinstance(said[longest], list) and len(said[longest]) > 1 else ""
    return text
