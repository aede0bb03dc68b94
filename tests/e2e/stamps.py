"""When incidents came and their pods were cut off, by the API server's audit stamps: the one clock of all replicas."""

from datetime import datetime

from audited import REFUSED, AuditLog, answered, code, received
from incidents import Place

GENEROUS = 5.0  # seconds from an incident created to its pod cut off; what it is on a quiet machine: docs/scale.md


def slowest(where: Place, log: AuditLog) -> float:
    """Seconds from the longest wait between an Incident created and its pod's label and policy, by audit stamps."""
    uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in where.get("incidents")["items"]}
    created, cut = stamps(log, where.namespace)
    took = {
        name: max(cut[f"firebreak-{uid}"], cut[name.replace("shell", "web")]) - created[name]
        for name, uid in uids.items()
    }
    found = sorted(each.total_seconds() for each in took.values())
    print("created to contained, seconds:", found)  # noqa: T201 - the measure
    return found[-1]


def stamps(log: AuditLog, namespace: str) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """When each Incident was received, and when the first label and policy of each was answered, by name."""
    created: dict[str, datetime] = {}
    cut: dict[str, datetime] = {}
    for event in log.seen(namespace):
        about = event.get("objectRef") or {}
        if code(event) >= REFUSED or "subresource" in about:
            continue
        match event["verb"], about.get("resource"):
            case "create", "incidents":
                created[about["name"]] = received(event)
            case ("create", "networkpolicies") | ("patch", "pods"):
                cut.setdefault(about["name"], answered(event))
    return created, cut
