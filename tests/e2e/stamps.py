"""When incidents came and their pods were cut off, by the API server's audit stamps: the one clock of all replicas."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from incidents import Place

GENEROUS = 5.0  # seconds from an incident created to its pod cut off; what it is on a quiet machine: docs/scale.md


def slowest(where: Place) -> float:
    """Seconds from the longest wait between an Incident created and its pod's label and policy, by audit stamps."""
    assert where.cluster.audit_log is not None
    uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in where.get("incidents")["items"]}
    created, cut = stamps(where.cluster.audit_log, where.namespace)
    took = {
        name: max(cut[f"firebreak-{uid}"], cut[name.replace("shell", "web")]) - created[name]
        for name, uid in uids.items()
    }
    found = sorted(each.total_seconds() for each in took.values())
    print("created to contained, seconds:", found)  # noqa: T201 - the measure
    return found[-1]


def stamps(audit_log: Path, namespace: str) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """When each Incident was received, and when the first label and policy of each was answered, by name."""
    created: dict[str, datetime] = {}
    cut: dict[str, datetime] = {}
    for line in audit_log.read_text().splitlines():
        if namespace not in line or '"ResponseComplete"' not in line:
            continue
        event: dict[str, Any] = json.loads(line)
        about = event.get("objectRef") or {}
        if event["responseStatus"]["code"] >= 300 or "subresource" in about:
            continue
        match event["verb"], about.get("resource"):
            case "create", "incidents":
                created[about["name"]] = datetime.fromisoformat(event["requestReceivedTimestamp"])
            case ("create", "networkpolicies") | ("patch", "pods"):
                cut.setdefault(about["name"], datetime.fromisoformat(event["stageTimestamp"]))
    return created, cut
