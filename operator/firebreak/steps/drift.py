"""Drift: what others undo of a cut or a revocation. Which events may mean that, and in words who did it.

An event is a hint: a job looks at the world. What is certain to mean nothing wakes nobody.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from firebreak.api.base import Json
from firebreak.api.incident import Mode
from firebreak.api.playbook import REVOKE
from firebreak.api.status import StepState
from firebreak.model.change import Change, Ref, Verb
from firebreak.model.facts import Account, Network
from firebreak.model.incident import identify
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.names import ORIGINAL_LABELS, IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.record import ENDED
from firebreak.model.writers import UNRECORDED, last_writer
from firebreak.steps.quarantine import allows, denies_all, selects
from firebreak.steps.revoke import names, user

PODS, POLICIES, BINDINGS, CLUSTER_BINDINGS = "Pod", "NetworkPolicy", "RoleBinding", "ClusterRoleBinding"
ALLOWED, OPEN = "AllowedByOtherPolicies", frozenset({"Undone", "KeepsChanging", "RightsRemain"})
REFUSED_ALL = frozenset({"Revoked", "RevokedByHook", "CloudUnknown", "CloudCredentialsLive"})
"""The reasons of `IdentityContained` that say: the API server refuses the accounts everything."""
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
ANY = ""  # the mark of what any object of a kind may concern


@dataclass(frozen=True)
class Followed:
    """What of an incident its watches go by, read loosely: this runs at every event of it, valid or not."""

    id: IncidentRef
    target: Json
    mode: str
    pods: frozenset[str]
    """The uids of the pods on record that are still there."""
    held: frozenset[str]
    """The names of the pods under quarantine."""
    cut: bool
    contained: str
    """The reason of `Contained`."""
    identity: str
    """The reason of `IdentityContained`."""
    accounts: frozenset[str]
    revoked: frozenset[str]
    """The bindings that were shrunk, as `str(Ref)`."""

    @classmethod
    def of(cls, raw: Json) -> Self:
        """Read an Incident object."""
        spec, status = mapping(raw.get("spec")), mapping(raw.get("status"))
        reasons = {text(c.get("type")): text(c.get("reason")) for c in mappings(status.get("conditions"))}
        pods = {uid: mapping(pod) for uid, pod in mapping(status.get("pods")).items()}
        revoke = mapping(mapping(status.get("steps")).get(REVOKE))
        changes = mapping(revoke.get("changes")).values() if revoke.get("state") in _ENDED else ()
        target = mapping(spec.get("target"))
        accounts = {text(pod.get("account")) for pod in pods.values()} | {text(target.get("serviceAccount"))}
        held = status.get("held")
        return cls(
            id=identify(raw),
            target={} if spec.get("state") == "Closed" else target,
            mode=text(spec.get("mode")) or Mode.RESPOND,
            pods=frozenset(uid for uid, pod in pods.items() if not pod.get("gone")),
            held=frozenset(name for name in held if isinstance(name, str)) if isinstance(held, list) else frozenset(),
            cut=bool(mapping(status.get("timings")).get("cutAt")),
            contained=reasons.get("Contained", ""),
            identity=reasons.get("IdentityContained", ""),
            accounts=frozenset(accounts - {""}),
            revoked=frozenset(text(mapping(change).get("object")) for change in changes),
        )

    def streams(self, *, leading: bool) -> Iterator[tuple[str, str | None]]:
        """Yield what to watch, kind and namespace. Followers only cut, and so look for pods that join only."""
        if not self.target or self.mode == Mode.PLAN:
            return
        if "pod" not in self.target or (leading and (self.cut or self.contained)):
            yield PODS, self.id.namespace
        if leading and self.cut:
            yield POLICIES, self.id.namespace
        if leading and (self.revoked or self.identity in REFUSED_ALL):  # another incident may have revoked them
            yield BINDINGS, None
            yield CLUSTER_BINDINGS, None

    def concerns(self, kind: str, event: str, obj: Json) -> bool:
        """Return whether an event may mean that there is something to do."""
        if kind == PODS:
            return self._pod(event, Pod(obj))
        if kind == POLICIES:
            return self._policy(event, obj)
        return self._binding(kind, event, obj)

    def marks(self, kind: str) -> frozenset[str]:
        """Return the marks of the objects that may concern it: of one with none of these it needs no look."""
        if kind == PODS:
            return self.pods | {text(self.target.get("pod")) or ANY}
        if kind == POLICIES:
            return frozenset({self.id.policy, *({ANY} if self.contained == ALLOWED else ())})
        return self.revoked | {Account(self.id.namespace, name).user for name in self.accounts}

    def lost(self, kind: str, uids: AbstractSet[str], names: AbstractSet[str]) -> bool:
        """Return whether something of ours is missing from a list, given by uids and names."""
        if kind == PODS:
            return not self.pods <= uids
        return kind == POLICIES and self.cut and self.id.policy not in names

    def _pod(self, event: str, pod: Pod) -> bool:
        if event == DELETED:
            return pod.uid in self.pods
        if pod.uid in self.pods and pod.name in self.held:
            given_back = ORIGINAL_LABELS in pod.annotations and bool(pod.own_labels)
            return self.id.label not in pod.labels or given_back
        if pod.uid in self.pods and event != ADDED:  # on record, and left uncut, or cut by somebody now
            return self.id.label in pod.labels
        return self.id.label not in pod.labels and self._may_mean(pod)

    def _may_mean(self, pod: Pod) -> bool:
        """Whether the target may mean a pod, of which only the metadata is known."""
        if name := self.target.get("pod"):
            return bool(pod.name == name)
        if selector := mapping(self.target.get("selector")):
            return selects(selector, pod)
        return "serviceAccount" in self.target or pod.controller is not None

    def _policy(self, event: str, policy: Json) -> bool:
        if not self.cut:
            return False
        if mapping(policy.get("metadata")).get("name") == self.id.policy:
            return event == DELETED or not denies_all(policy, self.id)
        allowing = event != DELETED and allows(mapping(policy.get("spec")))
        return allowing or (event != ADDED and self.contained == ALLOWED)

    def _binding(self, kind: str, event: str, binding: Json) -> bool:
        accounts = [Account(self.id.namespace, name) for name in self.accounts]
        if event != DELETED and any(
            names(subject, account, binding) for subject in mappings(binding.get("subjects")) for account in accounts
        ):
            return True
        metadata = mapping(binding.get("metadata"))
        ref = Ref(kind, text(metadata.get("name")), metadata.get("namespace"))
        return str(ref) in self.revoked and self.identity in OPEN


def marks(kind: str, event: str, obj: Json) -> frozenset[str] | None:
    """Return by what an object may concern an incident, apart from `ANY`; None when it may concern each."""
    metadata = mapping(obj.get("metadata"))
    name = text(metadata.get("name"))
    if kind == PODS:
        return frozenset({text(metadata.get("uid")), name})
    if kind == POLICIES:
        allowing = event != DELETED and allows(mapping(obj.get("spec")))
        return None if allowing else frozenset({name})
    subjects = mappings(obj.get("subjects"))
    return frozenset({str(Ref(kind, name, metadata.get("namespace"))), *(user(each, obj) for each in subjects)})


_ENDED = frozenset(str(state) for state in ENDED | {StepState.WAITING})


def undone(change: Change, facts: Network) -> str:
    """Return, in words, what was undone of a quarantine and by whom, for a Change that is needed again."""
    if change.target.kind == POLICIES:
        if change.verb is Verb.CREATE:
            return f"policy {change.target.name} was deleted, {UNRECORDED}"
        live = next((p for p in facts.policies if p["metadata"]["name"] == change.target.name), {})
        return f"policy {change.target.name} was changed by {last_writer(live, 'f:spec')}"
    pod = next((p for p in facts.pods if p.uid == change.target.uid), Pod({}))
    if change.part == "detach":
        return f"labels of pod {pod.name} were given back by {last_writer(pod.raw, 'f:metadata', 'f:labels')}"
    return f"label {facts.incident.label} of pod {change.target.name} was taken off, {UNRECORDED}"
