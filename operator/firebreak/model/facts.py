"""Facts: what a step decides upon. Gathered once by `kube`, frozen, never fetched while deciding."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from firebreak.api.base import Json
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod


@dataclass(frozen=True)
class Network:
    """What decides whether the pods are cut off."""

    incident: IncidentRef
    pods: tuple[Pod, ...]
    policies: tuple[Json, ...] = ()
    foreign: tuple[str, ...] = ()
    """Objects of other policy engines (Cilium, Calico, AdminNetworkPolicy) that may allow traffic, by name."""
    gone: tuple[str, ...] = ()
    """Pods of the incident that have left the API since, by name."""
    spared: Mapping[str, str] = field(default_factory=dict)
    """Pods that the target means and that a guard rail leaves uncut, by name, and why."""


@dataclass(frozen=True)
class Nodes:
    """The cluster's nodes, and which of them pods of the incident had a way to."""

    incident: IncidentRef
    suspect: tuple[str, ...]
    nodes: tuple[Json, ...]


@dataclass(frozen=True)
class Account:
    """A service account."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """Its user name, as the API server authenticates it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that every token of it carries."""
        return ("system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Grant:
    """A binding that names the account, or named it before it was revoked, with the rules of its role."""

    binding: Json
    rules: tuple[Json, ...]
    """Empty when the role is gone: the binding then grants nothing."""

    @property
    def ref(self) -> Ref:
        """The binding."""
        metadata = self.binding["metadata"]
        return Ref(self.binding["kind"], metadata["name"], metadata.get("namespace"), metadata.get("uid"))


@dataclass(frozen=True)
class Rights:
    """What an account may do, and who else runs as it."""

    incident: IncidentRef
    account: Account
    grants: tuple[Grant, ...] = ()
    sharers: tuple[str, ...] = ()
    """Who else runs as the account, outside the incident: `Deployment web`, `Pod NAME`."""
    shared: tuple[Grant, ...] = ()
    """Bindings of groups that the account is in: not to be cut for one account alone."""


@dataclass(frozen=True)
class Answer:
    """What the API server says to the question whether an identity may do something."""

    question: Json
    """The spec of a SubjectAccessReview."""
    allowed: bool
    reason: str
    """The server's own words, which name the binding."""


@dataclass(frozen=True)
class SecretUse:
    """A secret that the pods had access to. Its metadata only: values never enter the process."""

    namespace: str
    name: str
    ways: tuple[str, ...]
    """How it was reachable, in words, e.g. `env DB_PASSWORD of container web`."""
    metadata: Json | None = None
    """None when the secret does not exist."""
    token: bool = False
    """Whether it is of type kubernetes.io/service-account-token."""


@dataclass(frozen=True)
class Secrets:
    """The secrets in reach, and who else uses them."""

    incident: IncidentRef
    uses: tuple[SecretUse, ...] = ()
    workloads: tuple[Json, ...] = ()
    """Deployments, StatefulSets and DaemonSets of the namespace."""
    elsewhere: tuple[str, ...] = ()
    """Secrets in reach beyond the namespace, in words."""
    held: tuple[Pod, ...] = ()
    others: tuple[Pod, ...] = ()
    """Running pods of the namespace that none of the workloads owns and no quarantine holds."""
    deleted: frozenset[str] = frozenset()
    """Names of the secrets that this incident deleted."""
    begun: frozenset[str] | None = frozenset()
    """Names of the secrets that this incident began to rotate, by its own record; None when that had no room for all.

    The mark on a secret says the same, but whoever may write the secret can forge it.
    """


@dataclass(frozen=True)
class Workload:
    """What has to come back: the top controller of the pods, and its pods."""

    incident: IncidentRef
    controller: Json | None
    """None when nothing owns the pods."""
    pods: tuple[Pod, ...] = ()
    """Every pod that the controller's selector selects."""
    held: tuple[Pod, ...] = ()
