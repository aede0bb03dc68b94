"""The tiers of rights: what each lets Firebreak do. `manifests/components/tier-*` grants exactly this; a test compares.

`contain` is always needed. The others each stand on it alone, so that any can be left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from firebreak.api import GROUP
from firebreak.api.base import Json
from firebreak.api.playbook import CAPTURE, CORDON, QUARANTINE, REPLACE, REVOKE, ROTATE
from firebreak.model.words import listed

CORE = ""
APPS = "apps"
BATCH = "batch"
NETWORK = "networking.k8s.io"
RBAC = "rbac.authorization.k8s.io"
AUTHORIZATION = "authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
AGGREGATION = "apiregistration.k8s.io"
COORDINATION = "coordination.k8s.io"
ENFORCEMENT = "firebreak-enforcement"  # the ConfigMap that keeps what the probe of NetworkPolicies saw

# Asked without a namespace, as their requests come: a RoleBinding cannot grant them.
CLUSTER_SCOPED = frozenset({
    "playbooks", "nodes", "selfsubjectaccessreviews", "subjectaccessreviews", "clusterroles", "clusterrolebindings",
    "adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies",
    "ciliumclusterwidenetworkpolicies", "globalnetworkpolicies",
    "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "apiservices",
})  # fmt: skip

READ = ("get", "list")
WATCH = ("get", "list", "watch")


@dataclass(frozen=True)
class Right:
    """Verbs on one resource, `pods/exec` meaning a subresource; with `name` on the object of that name only."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    name: str = ""

    def where(self, namespace: str | None) -> str | None:
        """Return the namespace to ask in: none for what has none."""
        return None if self.resource in CLUSTER_SCOPED else namespace

    def attributes(self, verb: str, namespace: str | None) -> Json:
        """Return the resourceAttributes of an access review for one of the verbs; no namespace means all of them."""
        resource, _, subresource = self.resource.partition("/")
        asked = {
            "verb": verb, "group": self.group, "resource": resource, "subresource": subresource,
            "name": self.name, "namespace": self.where(namespace) or "",
        }  # fmt: skip
        return {key: value for key, value in asked.items() if value}

    def in_words(self, verb: str, namespace: str | None) -> str:
        """Return the right to do `verb` in words, e.g. `patch deployments.apps in shop`."""
        kind, slash, subresource = self.resource.partition("/")
        what = f"{kind}.{self.group}" if self.group else kind
        named = f" {self.name}" if self.name else ""
        return f"{verb} {what}{slash}{subresource}{named} in {self.where(namespace) or 'all namespaces'}"


@dataclass(frozen=True)
class Tier:
    """A tier: rights `everywhere`, by a ClusterRole, and in Firebreak's `own` namespace, by a Role."""

    name: str
    everywhere: tuple[Right, ...]
    own: tuple[Right, ...] = ()

    @property
    def manifest(self) -> str:
        """The kustomize component that grants it."""
        return f"manifests/components/tier-{self.name}"

    @property
    def remedy(self) -> str:
        """What a person does to grant it."""
        return f"kubectl apply -k {self.manifest}"

    def refusal(self, missing: Sequence[str]) -> str:
        """Say which of its rights are missing, and what a person does."""
        return f"rights of tier {self.name} are missing ({listed(missing)}): {self.remedy}"

    def unguarded(self, policies: Sequence[str]) -> str:
        """Say which of the admission policies that fence it are not in force, and what a person does."""
        fence = f"the API server does not fence Firebreak's own account in tier {self.name}"
        return f"{fence} (not seen in force: {listed(policies)}): {as_shipped(self.manifest)}"


def as_shipped(manifest: str) -> str:
    """Say what a person does to have the objects of a kustomize directory as they were shipped.

    Apply brings what is missing, but leaves a condition that somebody added, server-side or not (seen on 1.35).
    """
    return f"kubectl apply -k {manifest} && kubectl replace -k {manifest}"


def _each(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> Iterator[Right]:
    return (Right(group, resource, verbs) for resource in resources)


CONTAIN = Tier(
    "contain",
    everywhere=(
        Right(GROUP, "incidents", WATCH),
        Right(GROUP, "incidents/status", ("patch",)),
        Right(GROUP, "playbooks", ("get",)),
        Right(GROUP, "approvals", WATCH),
        Right(CORE, "pods", (*WATCH, "patch")),
        Right(NETWORK, "networkpolicies", (*WATCH, "create", "patch")),
        Right(CORE, "services", ("list",)),
        Right(CORE, "namespaces", ("get",)),
        Right(CORE, "nodes", ("get",)),
        Right(CORE, "serviceaccounts", ("get",)),
        *_each(APPS, ("deployments", "replicasets", "statefulsets", "daemonsets"), READ),
        Right(BATCH, "jobs", ("get",)),
        Right(CORE, "events", ("create",)),
        Right(AUTHORIZATION, "selfsubjectaccessreviews", ("create",)),
        # Who stands behind a webhook or an aggregated API is not cut off by itself: the cluster would be.
        *_each(ADMISSION, ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"), ("list",)),
        Right(AGGREGATION, "apiservices", ("list",)),
        # Other policy engines, where they are installed: what they allow is named, never changed.
        *_each(
            "policy.networking.k8s.io",
            ("adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"),
            ("list",),
        ),
        *_each("cilium.io", ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"), ("list",)),
        *_each("crd.projectcalico.org", ("networkpolicies", "globalnetworkpolicies"), ("list",)),
    ),
    own=(
        Right(COORDINATION, "leases", ("get", "create", "update")),
        Right(CORE, "configmaps", ("create",)),  # RBAC cannot confine a create by name
        Right(CORE, "configmaps", ("get", "patch"), name=ENFORCEMENT),
        # The probe of NetworkPolicies: two pods and one policy, removed again.
        Right(CORE, "pods", ("create", "delete")),
        Right(CORE, "pods/log", ("get",)),
        Right(NETWORK, "networkpolicies", ("delete",)),
    ),
)

ROLES = ("roles", "clusterroles")
BINDINGS = ("rolebindings", "clusterrolebindings")

PRESERVE = Tier(
    "preserve",
    everywhere=(
        Right(CORE, "pods/exec", ("get", "create")),  # over WebSocket an exec is a GET
        Right(CORE, "pods/log", ("get",)),
        Right(CORE, "events", ("list",)),
        Right(BATCH, "cronjobs", ("get",)),  # the end of a job's owner chain
        *_each(RBAC, ROLES, ("get",)),
        *_each(RBAC, BINDINGS, ("list",)),
    ),
)

ERADICATE = Tier(
    "eradicate",
    everywhere=(
        *_each(RBAC, BINDINGS, (*WATCH, "patch")),  # watched: a right that somebody puts back is seen at once
        # To take a subject out of a binding the API server wants the role's own rights, or `bind` on it.
        *_each(RBAC, ROLES, ("get", "bind")),
        Right(AUTHORIZATION, "subjectaccessreviews", ("create",)),
        Right(CORE, "secrets", ("get", "list", "patch", "delete")),
        *_each(APPS, ("deployments", "statefulsets", "daemonsets"), ("patch",)),
    ),
)

NODE = Tier("node", everywhere=(Right(CORE, "nodes", (*READ, "patch")),))

TIERS = (CONTAIN, PRESERVE, ERADICATE, NODE)

_NEEDED = {
    QUARANTINE: CONTAIN,
    CORDON: NODE,
    CAPTURE: PRESERVE,
    REVOKE: ERADICATE,
    ROTATE: ERADICATE,
    REPLACE: ERADICATE,
}


def needed(step: str) -> Tier:
    """Return the tier that a playbook's step needs, besides `contain`. Raises KeyError for what is no step."""
    return _NEEDED[step]
