"""A Change: one alteration of the cluster, planned by a pure function, shown before, verified after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote

from firebreak.api import API_VERSION
from firebreak.api.base import Json
from firebreak.model.words import listed

# kind -> (apiVersion, plural, namespaced): every kind that Firebreak names in a request.
KINDS: Mapping[str, tuple[str, str, bool]] = {
    "Pod": ("v1", "pods", True),
    "Secret": ("v1", "secrets", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "Service": ("v1", "services", True),
    "Event": ("v1", "events", True),
    "ConfigMap": ("v1", "configmaps", True),
    "Namespace": ("v1", "namespaces", False),
    "Node": ("v1", "nodes", False),
    "Deployment": ("apps/v1", "deployments", True),
    "ReplicaSet": ("apps/v1", "replicasets", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "DaemonSet": ("apps/v1", "daemonsets", True),
    "Job": ("batch/v1", "jobs", True),
    "CronJob": ("batch/v1", "cronjobs", True),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Lease": ("coordination.k8s.io/v1", "leases", True),
    "ValidatingWebhookConfiguration": ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False),
    "MutatingWebhookConfiguration": ("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", False),
    "ValidatingAdmissionPolicy": ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
        False,
    ),
    "APIService": ("apiregistration.k8s.io/v1", "apiservices", False),
    "SubjectAccessReview": ("authorization.k8s.io/v1", "subjectaccessreviews", False),
    "SelfSubjectAccessReview": ("authorization.k8s.io/v1", "selfsubjectaccessreviews", False),
    "SelfSubjectReview": ("authentication.k8s.io/v1", "selfsubjectreviews", False),
    "Incident": (API_VERSION, "incidents", True),
    "Approval": (API_VERSION, "approvals", True),
    "Playbook": (API_VERSION, "playbooks", False),
}


@dataclass(frozen=True)
class Ref:
    """One object: what a request is addressed to. With a uid, only that very object and no namesake."""

    kind: str
    name: str
    namespace: str | None = None
    uid: str | None = None

    @property
    def api_version(self) -> str:
        """The apiVersion of the kind."""
        return KINDS[self.kind][0]

    @property
    def path(self) -> str:
        """The object's path on the API server, safe whatever the name is: some names are other people's text."""
        return f"{collection(self.kind, self.namespace)}/{_segment(self.name)}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def parse(cls, words: str) -> Self:
        """Return what `str` wrote, without its uid. Raises ValueError for anything else."""
        kind, _, path = words.partition(" ")
        namespace, slash, name = path.rpartition("/")
        if kind not in KINDS or not name or bool(slash) != bool(namespace) or bool(slash) != KINDS[kind][2]:
            message = f"{words!r} names no object: want KIND NAMESPACE/NAME, or KIND NAME of what has no namespace"
            raise ValueError(message)
        return cls(kind, name, namespace or None)


def collection(kind: str, namespace: str | None = None) -> str:
    """Return the path of a kind's collection; without a namespace, over all of them."""
    api_version, plural, namespaced = KINDS[kind]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    return f"{root}/namespaces/{_segment(namespace)}/{plural}" if namespaced and namespace else f"{root}/{plural}"


def _segment(name: str) -> str:
    """Return a name as one segment of a path. Raises ValueError for what would climb, or be no name at all."""
    if name in {"", ".", ".."}:
        message = f"{name!r} cannot be the name of an object"
        raise ValueError(message)
    return quote(name, safe="")


class Verb(StrEnum):
    """What is asked of the API server."""

    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"
    CALL = "call"
    """Asked of the hook that the settings name, outside the cluster; nothing of it can be read back."""


@dataclass(frozen=True)
class Generated:
    """Stands in a body for a secret value that comes into being only when the request is sent."""

    length: int
    alphabet: str


@dataclass(frozen=True)
class Risk:
    """What a Change may cost, computed: `safe` ones need no person."""

    reversible: bool = True
    beyond: bool = False
    touches: tuple[str, ...] = ()
    put_back: str = ""
    """Who will make it undone, and what a person does about that: no harm, and so no reason to wait."""

    @property
    def safe(self) -> bool:
        """Whether it is reversible, inside the incident's namespace, and touches nobody else."""
        return self.reversible and not self.beyond and not self.touches

    def __str__(self) -> str:
        words = ["reversible" if self.reversible else "not reversible"]
        words.append("beyond the namespace" if self.beyond else "own namespace")
        if self.touches:
            words.append(f"also touches {listed(self.touches, 3)}")
        return ", ".join(words) + (f"; {self.put_back}" if self.put_back else "")


@dataclass(frozen=True)
class Change:
    """One alteration: object, verb, body, reason, undo, risk.

    `body` is the object for CREATE, a JSON merge patch for PATCH, None for DELETE. `before` is what gets overwritten;
    it is recorded before acting. `once` marks what must not be repeated blindly: its intent is written first.
    `metadata_only` keeps the object's data out of our process: only its metadata is asked for.
    `refusal` is set when Firebreak will not do it: why, and what a person can do. It is then only reported.
    `part` tells Changes apart that patch different parts of one object.
    `after` names the Changes of the same plan, by id, that must be done before this one is sent.
    """

    verb: Verb
    target: Ref
    why: str
    undo: str
    body: Json | None = field(default=None, repr=False)
    risk: Risk = Risk()
    before: Json | None = field(default=None, repr=False)
    once: bool = False
    metadata_only: bool = False
    refusal: str | None = None
    part: str = ""
    after: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What tells this Change from every other of its step."""
        return f"{self.verb} {self.target}{f' ({self.part})' if self.part else ''}"


def holds(change: Change, live: Json | None) -> bool:
    """Return whether the world, read back, is as the Change wants it. `live` is None when the object is not there."""
    if change.verb is Verb.DELETE:
        return live is None or (change.target.uid is not None and _uid(live) != change.target.uid)
    if live is None or (change.target.uid and _uid(live) != change.target.uid):
        return False
    wanted = _asked(change.body or {})
    return (
        includes(live.get("metadata", {}), wanted.get("metadata", {}))
        if change.metadata_only
        else includes(live, wanted)
    )


def _asked(body: Json) -> Json:
    """What a body asks for, without what only guards it."""
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in PRECONDITIONS}
    return {**body, "metadata": metadata}


def _uid(obj: Json) -> str | None:
    uid: str | None = obj.get("metadata", {}).get("uid")
    return uid


PRECONDITIONS = ("resourceVersion", "uid")  # in a patch's metadata they guard, they do not ask for anything


def includes(live: Any, wanted: Any) -> bool:
    """Return whether `live` has everything that `wanted` asks for, as a JSON merge patch means it: null is absence."""
    if isinstance(wanted, Generated):
        return live is not None
    if not isinstance(wanted, Mapping):
        return bool(live == wanted)
    if not isinstance(live, Mapping):
        return not any(value is not None for value in wanted.values())
    return all(
        key not in live if value is None else includes(live.get(key, _absent(value)), value)
        for key, value in wanted.items()
    )


def _absent(wanted: Any) -> Any:
    """An object of nulls only, or an empty list, holds when the field is not there at all."""
    if isinstance(wanted, Mapping):
        return {}
    return [] if wanted == [] else None
