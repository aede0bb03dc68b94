"""Alertmanager's webhook, version 4: a group of alerts, sent again as long as one of them fires.

Sources: prometheus/alertmanager notify/webhook/webhook.go and template/template.go. `fingerprint` is of the labels,
`startsAt` of the occurrence: together they are the same in every repeat. Grafana sends the same shape with more keys.

Where Prometheus scrapes with honor_labels: false, the labels of the scraped series are called exported_pod and the
like, and `pod` is who was scraped. Which of two that differ is meant, no rule can tell, so neither is taken.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from firebreak.api.base import Json
from firebreak.intake.alert import Alert, Subject
from firebreak.intake.formats.parsed import (
    MOST_NAME,
    MOST_WORDS,
    Names,
    Parsed,
    Refusal,
    UnreadableError,
    decoded,
    each_of,
    flat,
    line,
    moment,
    refused,
    severity_of,
)
from firebreak.model.loose import mapping

SOURCE = "alertmanager"
VERSION = "4"
NEXT = "send Alertmanager's webhook_config here, without a template"
WORDS = ("summary", "message", "description")
"""Annotations that say what happened, the first that is there."""


def parse(body: bytes, headers: Mapping[str, str], now: datetime) -> Parsed:  # noqa: ARG001 - every adapter's shape
    """Return the firing alerts of a group. Resolved ones are passed over: an incident is closed by people."""
    try:
        group = decoded(body)
    except UnreadableError as error:
        return Parsed(refusals=(error.refusal,))
    if not isinstance(group, dict) or not isinstance(group.get("alerts"), list):
        return refused("the body", "it is no group of Alertmanager's: it has no list `alerts`", NEXT)
    if group.get("version", VERSION) != VERSION:
        return refused("the body", f"its version is not {VERSION}", NEXT)
    parsed = each_of(group["alerts"], "alerts", lambda each: _alert(each, line(group.get("receiver"), MOST_NAME)))
    left_out = group.get("truncatedAlerts")
    if not isinstance(left_out, int) or left_out <= 0:
        return parsed
    lost = Refusal(
        f"{left_out} alerts", "Alertmanager left them out of the group", "set max_alerts: 0 in webhook_config"
    )
    return Parsed(parsed.alerts, (*parsed.refusals, lost), parsed.passed)


def _alert(raw: Any, receiver: str) -> Alert | Refusal:
    if not isinstance(raw, dict):
        raise UnreadableError("an alert", "it is no JSON object", NEXT)
    labels, annotations = mapping(raw.get("labels")), mapping(raw.get("annotations"))
    rule, starts = line(labels.get("alertname"), MOST_NAME), moment(raw.get("startsAt"))
    if not rule:
        raise UnreadableError("an alert", "it has no label `alertname`", "give the alerting rule a name")
    if raw.get("status") == "resolved":
        return Refusal(f"alert {rule}", "it is resolved, which opens nothing and closes nothing", "close by hand")
    if raw.get("status") != "firing":
        raise UnreadableError(f"alert {rule}", "its status is neither firing nor resolved", NEXT)
    if starts is None:
        raise UnreadableError(f"alert {rule}", "its startsAt is missing, or no time of RFC 3339", NEXT)
    names = Names()
    words = next((text for key in WORDS if (text := line(annotations.get(key), MOST_WORDS // 2))), "")
    fingerprint = line(raw.get("fingerprint"), MOST_NAME) or _fingerprint(labels)
    return Alert(
        source=SOURCE,
        rule=rule,
        severity=severity_of(labels.get("severity"), names),
        time=starts,
        identity=(fingerprint, starts.isoformat()),
        repeats=False,
        summary=f"{rule}: {words}" if words else rule,
        subject=_subject(labels, names),
        fields=flat({"receiver": receiver}, labels),
        origin={"fingerprint": fingerprint},
        notes=tuple(names.notes),
    )


def _fingerprint(labels: Json) -> str:
    """Return what stands for the labels where nobody did it before: Alertmanager does since 0.19."""
    text = "\n".join(f"{line(key)}={line(labels[key])}" for key in sorted(labels))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _subject(labels: Json, names: Names) -> Subject:
    def one(label: str) -> str:
        values = {line(labels.get(key)) for key in (label, f"exported_{label}")} - {""}
        if len(values) > 1:
            names.notes.append(f"{label} and exported_{label} differ, so neither was taken; use honor_labels: true")
        return next(iter(values)) if len(values) == 1 else ""

    return Subject(
        namespace=names.namespace(one("namespace")),
        pod=names.object("pod", one("pod")),
        service_account=names.object("service account", one("serviceaccount")),
        container_id=names.container(labels.get("container_id")),
        node=names.object("node", one("node")),
    )
