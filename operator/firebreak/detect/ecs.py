"""A finding as a record for a SIEM (`model.ecs`). Pure."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from firebreak.api.base import Json
from firebreak.detect.event import Event, ObjectRef
from firebreak.detect.finding import Finding
from firebreak.detect.telling import object_name, peer, summary
from firebreak.model.digest import sha256
from firebreak.model.ecs import SEVERITIES, Record, orchestrator, record

FINDING: Final = "dev.firebreak.finding"
RULESET: Final = "firebreak"
FRAMEWORK: Final = "MITRE ATT&CK"
TECHNIQUE: Final = re.compile(r"attack\.(t\d{4})(\.\d{3})?")
MOST_IDS: Final = 16  # of the events of a correlation, the last ones
LONGEST_ID: Final = 128  # characters: the API server takes 64 of a caller's own
MOST_TAGS: Final = 32
REFUSED: Final = frozenset({401, 403})  # HTTP
FAILED: Final = 400


def finding_record(finding: Finding, cluster: str) -> Record:
    """Return a finding as it is told to a SIEM: of several events the last one's user, verb and object."""
    last = finding.events[-1]
    ref, user, posing = last.object_ref or ObjectRef(), last.user, last.impersonated_user
    outcome, what = _answered(last)
    document = {
        "@timestamp": finding.time.isoformat(),
        "event": {
            "kind": "alert",
            "category": ["intrusion_detection"],
            "type": [what],
            "action": last.verb,
            "outcome": outcome,
            "severity": SEVERITIES[finding.level],
            "id": _identity(finding),
        },
        "rule": {"id": finding.rule, "name": finding.title, "ruleset": RULESET},
        "threat": _threat(finding.tags),
        "user": {"name": user.username, "effective": {"name": posing.username if posing else ""}},
        "source": {"ip": _address(peer(last))},
        "orchestrator": orchestrator(cluster, ref.namespace, ref.resource, object_name(last)),
        "message": summary(finding),
        "tags": list(finding.tags[:MOST_TAGS]),
        "labels": {"level": finding.level.value, "subresource": ref.subresource, "audit_ids": _audit_ids(finding)},
    }
    return record(FINDING, finding.rule, document)


def _answered(event: Event) -> tuple[str, str]:
    """Return outcome and type by the API server's answer."""
    code = event.response_status.code if event.response_status else 0
    if code in REFUSED:
        return "failure", "denied"
    if code >= FAILED:
        return "failure", "info"
    return ("success", "allowed") if code else ("unknown", "info")


def _identity(finding: Finding) -> str:
    """Return what is the same wherever the same events make the same rule fire: on two replicas, after a restart.

    A caller may choose the auditID (`detect.evaluate`); the time is the API server's own.
    """
    events = [(e.audit_id or finding.time.isoformat(), e.stage, e.stage_timestamp, e.verb) for e in finding.events]
    return sha256([FINDING, finding.rule, events])


def _audit_ids(finding: Finding) -> list[str]:
    ids = dict.fromkeys(event.audit_id[:LONGEST_ID] for event in finding.events if event.audit_id)
    return list(ids)[-MOST_IDS:]


def _threat(tags: Sequence[str]) -> Json:
    """Return ATT&CK's techniques as ECS has them: a sub-technique names the whole technique, too."""
    found = [each for tag in tags if (each := TECHNIQUE.fullmatch(tag.lower()))]
    if not found:
        return {}
    techniques = list(dict.fromkeys(each[1].upper() for each in found))
    parts = list(dict.fromkeys((each[1] + each[2]).upper() for each in found if each[2]))
    return {"framework": FRAMEWORK, "technique": {"id": techniques, "subtechnique": {"id": parts}}}


def _address(text: str) -> str:
    """Return an IP address, or nothing: a document whose `source.ip` is none is refused as a whole."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return ""
