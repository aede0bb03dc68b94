"""The resources the fake serves, and how the real API server treats each (Kubernetes 1.35)."""

from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]

ANY_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
POD_FIELDS = frozenset(
    {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    }
)
EVENT_FIELDS = frozenset(
    f"involvedObject.{part}"
    for part in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
) | {"reason", "reportingComponent", "source", "type"}
REGARDING_FIELDS = frozenset(name.replace("involvedObject", "regarding") for name in EVENT_FIELDS)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One row of the table.

    typed: built into the server; items of its lists carry neither kind nor apiVersion (custom ones do).
    generation: metadata.generation is kept for it.
    put_creates: a PUT to a name that does not exist creates the object.
    put_needs_version: a write must say which resourceVersion it replaces.
    answers_deleted: DELETE answers the object, not a Status.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    typed: bool = True
    generation: bool = False
    put_creates: bool = False
    put_needs_version: bool = False
    answers_deleted: bool = False
    fields: frozenset[str] = field(default=frozenset())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As error messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def stored(self) -> tuple[str, str]:
        """Group and plural of the storage: both event APIs show the same objects."""
        return ("", "events") if self.plural == "events" else (self.group, self.plural)


def _rows(group: str, version: str, *rows: tuple[str, str, dict[str, Any]]) -> list[Resource]:
    return [
        Resource(group=group, version=version, plural=plural, kind=kind, **options) for plural, kind, options in rows
    ]


_CLUSTER: dict[str, Any] = {"namespaced": False}
_SPEC_AND_STATUS: dict[str, Any] = {"has_status": True, "generation": True}
_CUSTOM: dict[str, Any] = {"typed": False, "generation": True, "put_needs_version": True}

TABLE: tuple[Resource, ...] = (
    *_rows(
        "",
        "v1",
        ("pods", "Pod", {**_SPEC_AND_STATUS, "answers_deleted": True, "fields": POD_FIELDS}),
        ("events", "Event", {"put_creates": True, "fields": EVENT_FIELDS}),
        ("secrets", "Secret", {"fields": frozenset({"type"})}),
        ("serviceaccounts", "ServiceAccount", {"answers_deleted": True}),
        ("configmaps", "ConfigMap", {}),
        ("services", "Service", {"has_status": True, "answers_deleted": True}),
        (
            "namespaces",
            "Namespace",
            {**_CLUSTER, "has_status": True, "fields": frozenset({"status.phase"}), "answers_deleted": True},
        ),
        ("nodes", "Node", {**_CLUSTER, "has_status": True, "fields": frozenset({"spec.unschedulable"})}),
    ),
    *_rows(
        "apps",
        "v1",
        ("deployments", "Deployment", _SPEC_AND_STATUS),
        ("replicasets", "ReplicaSet", _SPEC_AND_STATUS),
        ("statefulsets", "StatefulSet", _SPEC_AND_STATUS),
        ("daemonsets", "DaemonSet", _SPEC_AND_STATUS),
    ),
    *_rows("batch", "v1", ("jobs", "Job", _SPEC_AND_STATUS)),
    *_rows("discovery.k8s.io", "v1", ("endpointslices", "EndpointSlice", {"generation": True})),
    *_rows("networking.k8s.io", "v1", ("networkpolicies", "NetworkPolicy", {"generation": True})),
    *_rows("policy", "v1", ("poddisruptionbudgets", "PodDisruptionBudget", _SPEC_AND_STATUS)),
    *_rows(
        "rbac.authorization.k8s.io",
        "v1",
        ("roles", "Role", {"put_creates": True}),
        ("rolebindings", "RoleBinding", {"put_creates": True}),
        ("clusterroles", "ClusterRole", {**_CLUSTER, "put_creates": True}),
        ("clusterrolebindings", "ClusterRoleBinding", {**_CLUSTER, "put_creates": True}),
    ),
    *_rows("coordination.k8s.io", "v1", ("leases", "Lease", {"put_creates": True, "put_needs_version": True})),
    *_rows("events.k8s.io", "v1", ("events", "Event", {"put_creates": True, "fields": REGARDING_FIELDS})),
    *_rows(
        "admissionregistration.k8s.io",
        "v1",
        (
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
            {**_CLUSTER, **_SPEC_AND_STATUS, "put_needs_version": True},
        ),
        (
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
            {**_CLUSTER, "generation": True, "put_needs_version": True},
        ),
    ),
    *_rows(
        "admissionregistration.k8s.io",
        "v1",
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", _CLUSTER),
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", _CLUSTER),
    ),
    *_rows("apiregistration.k8s.io", "v1", ("apiservices", "APIService", {**_CLUSTER, "has_status": True})),
    *_rows(
        "apiextensions.k8s.io",
        "v1",
        (
            "customresourcedefinitions",
            "CustomResourceDefinition",
            {**_CLUSTER, **_SPEC_AND_STATUS, "put_needs_version": True},
        ),
    ),
    *_rows(
        "firebreak.dev",
        "v1alpha1",
        ("incidents", "Incident", {**_CUSTOM, "has_status": True, "fields": frozenset({"status.phase"})}),
        ("approvals", "Approval", {**_CUSTOM, "fields": frozenset({"spec.incident"})}),
        ("playbooks", "Playbook", {**_CUSTOM, **_CLUSTER}),
    ),
)
_BY_PATH = {(row.group, row.version, row.plural): row for row in TABLE}
_BY_KIND = {(row.api_version, row.kind): row for row in TABLE}


def by_path(group: str, version: str, plural: str) -> Resource | None:
    return _BY_PATH.get((group, version, plural))


def by_kind(kind: str, api_version: str | None = None) -> Resource:
    """The row for a kind; without an apiVersion the first one of that kind (Event: core/v1)."""
    if api_version is not None:
        return _BY_KIND[api_version, kind]
    return next(row for row in TABLE if row.kind == kind)


NAMESPACE = by_kind("Namespace")
