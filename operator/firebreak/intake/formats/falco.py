"""Falco's http_output, and its output file: JSON, one object or lines of them; text lines are `falcotext`'s.

Sources: falcosecurity/falco userspace/engine/formats.cpp (keys of the JSON, the text's prefix), falco.org "Supported
Fields" (k8s.*, container.*) and the k8saudit plugin's fields (ka.*). Output fields are flat with dots in their keys;
a value may be null, a number, or a list. `k8s.pod.name` is often null when the container runtime answered late.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from firebreak.api.base import Json
from firebreak.intake.alert import Alert, Subject
from firebreak.intake.formats import falcotext
from firebreak.intake.formats.parsed import (
    MOST_NAME,
    Names,
    Parsed,
    UnreadableError,
    account,
    decoded,
    each_of,
    flat,
    identity,
    is_there,
    line,
    moment,
    severity_of,
    sized,
)
from firebreak.model.loose import mapping

SOURCE = "falco"
NEXT = "send Falco's own JSON: json_output: true"

TOLD = (
    ("process", "proc.name"), ("user", "user.name"), ("container", "container.name"),
    ("image", "container.image.repository"), ("file", "fd.name"),
    ("caller", "ka.user.name"), ("verb", "ka.verb"), ("resource", "ka.target.resource"), ("name", "ka.target.name"),
)  # fmt: skip
"""Fields that the Incident tells. Command lines, arguments, environments and Falco's own `output`, which holds them,
are left out: people pass passwords there, and whoever may read incidents need not read those."""
ABOUT = ("hostname", "ka.user.name", "ka.target.resource", "ka.target.namespace", "ka.target.name")
"""What tells alerts of one rule apart that are about no pod, account or container."""


def parse(body: bytes, headers: Mapping[str, str], now: datetime) -> Parsed:  # noqa: ARG001 - every adapter's shape
    """Return the alerts of Falco: a JSON object, a list of them, or lines of JSON or text."""
    try:
        if sized(body).lstrip()[:1] == b"[":
            return each_of(decoded(body), "alerts", lambda document: alert(SOURCE, document))
    except UnreadableError as error:
        return Parsed(refusals=(error.refusal,))
    document = _one(body)
    if document is not None:
        return each_of([document], "alerts", lambda each: alert(SOURCE, each))
    return each_of([each for each in body.splitlines() if each.strip()], "lines", lambda each: _line(each, now))


def _one(body: bytes) -> Json | None:
    """Return the JSON object that a body is, on however many lines; None when it is no single one."""
    try:
        document = decoded(body)
    except UnreadableError:
        return None
    return document if isinstance(document, dict) else None


def _line(text: bytes, now: datetime) -> Alert:
    if text.lstrip()[:1] == b"{":
        return alert(SOURCE, decoded(text))
    return falcotext.alert(SOURCE, text, now)


def alert(source: str, document: Any) -> Alert:
    """Return one alert. Raises UnreadableError when it is none of Falco's."""
    if not isinstance(document, dict):
        raise UnreadableError("an alert", "it is no JSON object", NEXT)
    rule, time = line(document.get("rule"), MOST_NAME), moment(document.get("time"))
    if not rule:
        raise UnreadableError("an alert", "it has no `rule`", NEXT)
    if time is None:
        raise UnreadableError("an alert", "its `time` is missing, or no time of RFC 3339", NEXT)
    names, fields = Names(), mapping(document.get("output_fields"))
    severity = severity_of(document.get("priority"), names)
    subject = _subject(fields, document.get("hostname"), names)
    own = {key: document.get(key) for key in ("source", "hostname", "tags", "priority")}
    kept = flat(own, fields)
    return Alert(
        source=source,
        rule=rule,
        severity=severity,
        time=time,
        identity=identity(rule, subject, *(kept.get(key, "") for key in ABOUT)),
        repeats=True,
        summary=_summary(rule, kept),
        subject=subject,
        fields=kept,
        origin={key: kept[key] for key in ("hostname", "container.id") if key in kept},
        notes=tuple(names.notes),
    )


def _subject(fields: Json, hostname: Any, names: Names) -> Subject:
    if any(key.startswith("ka.") for key in fields):
        return _audited(fields, names)

    def either(*keys: str) -> Any:
        return next((fields[key] for key in keys if is_there(fields.get(key))), None)

    return Subject(
        namespace=names.namespace(either("k8s.ns.name", "k8smeta.ns.name")),
        pod=names.object("pod", either("k8s.pod.name", "k8smeta.pod.name")),
        pod_uid=names.uid(either("k8s.pod.uid", "k8s.pod.id", "k8smeta.pod.uid")),
        container_id=names.container(either("container.full_id", "container.id")),
        node=Names().object("node", hostname),  # in a pod of its own network, Falco's host name is no node's
    )


def _audited(fields: Json, names: Names) -> Subject:
    """Return what an alert of the audit plugin is about: the pod it names, else the service account that called."""
    if fields.get("ka.target.resource") == "pods" and is_there(fields.get("ka.target.name")):
        return Subject(
            namespace=names.namespace(fields.get("ka.target.namespace")),
            pod=names.object("pod", fields["ka.target.name"]),
        )
    return account(fields.get("ka.user.name"), names)


def _summary(rule: str, fields: Mapping[str, str]) -> str:
    told = ", ".join(f"{word} {fields[key][:MOST_NAME]}" for word, key in TOLD if fields.get(key))
    return f"{rule} ({told})" if told else rule
