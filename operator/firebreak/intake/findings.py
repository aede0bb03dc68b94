"""Findings of the audit rules as alerts: what of a finding's events is held to be compromised."""

from collections.abc import Sequence

from firebreak.detect.event import Event, User
from firebreak.detect.finding import Aim, Finding, Level
from firebreak.detect.telling import object_name, object_uid, peer, summary, user_name
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.intake.formats.parsed import MOST_NAME, Names, account, identity, line

SOURCE = "audit"
EXTRA = "authentication.kubernetes.io/"
NODE = "system:node:"
MOST_IDS = 16
SEVERITIES = {
    Level.INFORMATIONAL: Severity.LOW,
    Level.LOW: Severity.LOW,
    Level.MEDIUM: Severity.MEDIUM,
    Level.HIGH: Severity.HIGH,
    Level.CRITICAL: Severity.CRITICAL,
}


def alert(finding: Finding) -> Alert:
    """Return the alert of a finding.

    Repeats are those of one rule about one subject: an attacker who reads a hundred secrets is one incident, and a
    correlation that two replicas saw from different events is one, too.
    """
    names, last = Names(), finding.events[-1]
    subject = _callers(finding.events, names) if finding.aim is Aim.CALLER else _object(last, names)
    user, ref = user_name(last.user), last.object_ref
    fields = {
        "user": user,
        "verb": last.verb,
        "resource": ref.resource if ref else "",
        "subresource": ref.subresource if ref else "",
        "apiGroup": ref.api_group if ref else "",
        "namespace": ref.namespace if ref else "",
        "name": object_name(last),
        "sourceIP": peer(last),
        "userAgent": last.user_agent,
        "tags": ",".join(finding.tags),
    } | {f"group.{key}": value for key, value in finding.group}
    kept = {line(key, MOST_NAME): line(value) for key, value in fields.items() if line(value)}
    ids = tuple(dict.fromkeys(line(event.audit_id, MOST_NAME) for event in finding.events if event.audit_id))
    return Alert(
        source=SOURCE,
        rule=line(finding.rule, MOST_NAME),
        severity=SEVERITIES[finding.level],
        time=finding.time,
        identity=identity(line(finding.rule, MOST_NAME), subject, *_otherwise(finding, kept)),
        repeats=True,
        summary=summary(finding),
        subject=subject,
        fields=kept,
        origin={"auditIDs": ids[-MOST_IDS:]} if ids else {},
        notes=tuple(dict.fromkeys(names.notes)),
    )


def _callers(events: Sequence[Event], names: Names) -> Subject:
    """Return the pod that made the calls; the service account where pods of it did, or none is told.

    Of an impersonation it is who impersonates: `user` of an audit event is the one that authenticated.
    """
    found = list(dict.fromkeys(_caller(event.user, names) for event in events))
    accounts = {(each.namespace, each.service_account) for each in found}
    if len(found) == 1 or len(accounts) > 1:
        return found[-1]
    names.notes.append(f"{len(found)} pods of the account made these calls")
    return Subject(namespace=found[-1].namespace, service_account=found[-1].service_account)


def _caller(user: User, names: Names) -> Subject:
    """Return who called. The API server sets these extras, from the token, for service accounts only."""
    bound = account(user.username, names)
    if not bound.service_account:
        is_node = user.username.startswith(NODE)
        return Subject(node=names.object("node", user.username.removeprefix(NODE))) if is_node else Subject()
    pod, uid, node = (_extra(user, key) for key in ("pod-name", "pod-uid", "node-name"))
    named = names.object("pod", pod)
    return Subject(
        namespace=bound.namespace,
        service_account=bound.service_account,
        pod=named,
        pod_uid=names.uid(uid) if named else "",
        node=names.object("node", node),
    )


def _extra(user: User, key: str) -> str:
    values = (user.extra or {}).get(EXTRA + key)
    return values[0] if values else ""


def _object(event: Event, names: Names) -> Subject:
    """Return the pod that a call was about; of what is no pod, the namespace only."""
    ref = event.object_ref
    if ref is None:
        return Subject()
    pod = names.object("pod", object_name(event)) if ref.resource == "pods" else ""
    return Subject(
        namespace=names.namespace(ref.namespace), pod=pod, pod_uid=names.uid(object_uid(event)) if pod else ""
    )


def _otherwise(finding: Finding, fields: dict[str, str]) -> tuple[str, ...]:
    """Return what tells findings of one rule apart that are about no pod and no account of a service."""
    if finding.group:
        return tuple(line(f"{key}={value}") for key, value in finding.group)
    about = ("user",) if finding.aim is Aim.CALLER else ("resource", "namespace", "name")
    return tuple(fields.get(key, "") for key in about)
