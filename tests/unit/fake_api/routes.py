"""Where a path leads: resource, namespace, name, subresource; and the discovery documents."""

from dataclasses import dataclass

from .resources import TABLE, Obj, Resource, by_path

REVIEWS = {"subjectaccessreviews": "SubjectAccessReview", "selfsubjectaccessreviews": "SelfSubjectAccessReview"}
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_UNNAMED_NAMESPACE_PARTS = {"status", "finalize"}
_READS = {"GET": "get", "HEAD": "get"}
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """What a request is about. `namespace` is None for all namespaces and "" for cluster-scoped objects."""

    resource: Resource
    namespace: str | None
    name: str
    subresource: str

    @property
    def qualified(self) -> str:
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural


def find_target(path: str) -> Target | None:
    """The target of a path like /api/v1/namespaces/shop/pods/web/log; None when nothing is served there."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _UNNAMED_NAMESPACE_PARTS:
        namespace, rest = rest[1], rest[2:]
    resource = by_path(group, version, rest[0])
    if resource is None or (namespace is not None and not resource.namespaced):
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    if not resource.namespaced and name:
        namespace = ""
    return Target(resource, namespace, name, subresource)


def is_served(path: str) -> bool:
    """Whether this path lies within an API group and version that is served."""
    parts = path.strip("/").split("/")
    prefix = {"api": "/".join(parts[1:2]), "apis": "/".join(parts[1:3])}.get(parts[0])
    return any(row.api_version == prefix for row in TABLE)


def review_kind(path: str) -> str | None:
    """The kind of access review that is posted to this path."""
    prefix, _, plural = path.rpartition("/")
    return REVIEWS.get(plural) if prefix == "/apis/authorization.k8s.io/v1" else None


def verb_of(method: str, target: Target | None, *, watch: bool) -> str:
    """The verb as audit events name it; an exec over a WebSocket is a `get`."""
    if method in _WRITES:
        return _WRITES[method]
    if target is None or target.name:
        return _READS.get(method, method.lower())
    return "watch" if watch else "list"


def discovery(path: str) -> Obj | None:
    """The discovery document at this path, enough for clients that scan for resources."""
    parts = path.strip("/").split("/")
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.4", "platform": "linux/amd64"}
    if path.rstrip("/") == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path.rstrip("/") == "/apis":
        groups = sorted({(row.group, row.version) for row in TABLE if row.group})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*group) for group in groups]}
    if (parts[0], len(parts)) not in {("api", 2), ("apis", 3)}:
        return None
    api_version = "/".join(parts[1:])
    rows = [row for row in TABLE if row.api_version == api_version]
    if not rows:
        return None
    entries = [entry for row in rows for entry in _entries(row)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def _group(group: str, version: str) -> Obj:
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _entries(row: Resource) -> list[Obj]:
    names = [row.plural]
    if row.has_status:
        names.append(f"{row.plural}/status")
    if row.plural == "pods":
        names += ["pods/log", "pods/exec"]
    shared = {"singularName": row.kind.lower(), "namespaced": row.namespaced, "kind": row.kind}
    return [{"name": name, **shared, "verbs": VERBS} for name in names]
