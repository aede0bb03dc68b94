"""Google's Cloud Audit Logs of a GKE cluster, as audit events.

Sources: the Cloud Logging reference, types LogEntry and AuditLog (`protoPayload`); GKE's page "Information on GKE audit
logging". The API server's own event is not in them: verb, resource and names are read off `methodName`
(`io.k8s.core.v1.pods.exec.create`) and `resourceName` (`core/v1/namespaces/shop/pods/web-1/exec`). Not there at all:
groups, `user.extra` (so no pod whose token it was), stages; rules that need these find nothing.
"""

from typing import Any, Final

from firebreak.detect.decoding import NoEventError, lenient
from firebreak.detect.event import Event

SERVICE: Final = "k8s.io"
CORE: Final = "core"
ANNOTATIONS: Final = (
    "authentication.k8s.io/",
    "authorization.k8s.io/",
    "pod-security.kubernetes.io/",
    "mutation.webhook.",
    "validation.policy.",
)
# google.rpc.Code as HTTP says it (google/rpc/code.proto names the mapping). 0 is OK; what is not listed is an error.
HTTP: Final = {3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 12: 501, 14: 503, 16: 401}
OK, ERROR = 200, 500


def event(entry: dict[str, Any]) -> Event:
    """Return the audit event that a log entry stands for. Raises NoEventError."""
    payload = entry.get("protoPayload")
    if not isinstance(payload, dict) or payload.get("serviceName") != SERVICE:
        raise NoEventError(f"no audit entry of a Kubernetes API: protoPayload.serviceName is not {SERVICE}")
    method = _text(payload, "methodName")
    resource = _text(payload, "resourceName")
    metadata, status = _map(payload, "requestMetadata"), _map(payload, "status")
    code = status.get("code") or 0
    operation, labels = _map(entry, "operation"), _map(entry, "labels")
    translated = {
        "auditID": _text(operation, "id") or _text(entry, "insertId"),
        "verb": method.rpartition(".")[2],
        "requestURI": f"/{resource}" if resource else "",
        "user": {"username": _text(_map(payload, "authenticationInfo"), "principalEmail")},
        "sourceIPs": [_text(metadata, "callerIp")],
        "userAgent": _text(metadata, "callerSuppliedUserAgent"),
        "objectRef": _object(resource),
        "responseStatus": {
            "code": HTTP.get(code, ERROR) if code else OK,
            "message": _text(status, "message"),
        },
        "requestObject": payload.get("request"),
        "responseObject": payload.get("response"),
        "requestReceivedTimestamp": _text(entry, "timestamp"),
        "stageTimestamp": _text(entry, "timestamp"),
        "annotations": {k: v for k, v in labels.items() if isinstance(v, str) and k.startswith(ANNOTATIONS)},
    }
    return lenient(translated)


def _object(resource: str) -> dict[str, str]:
    """What a resource name is about: GROUP/VERSION[/namespaces/NAMESPACE]/RESOURCE[/NAME[/SUBRESOURCE]]."""
    group, _, rest = resource.partition("/")
    version, _, rest = rest.partition("/")
    parts = rest.split("/")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in {"finalize", "status"}:  # noqa: PLR2004 - a name
        namespace, parts = parts[1], parts[2:]
    elif parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]  # as the API server does: a namespace lies in itself
    kind, name, subresource, *_ = (*parts, "", "", "")
    return {
        "apiGroup": "" if group == CORE else group,
        "apiVersion": version,
        "namespace": namespace,
        "resource": kind,
        "name": name,
        "subresource": subresource,
    }


def _map(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
