"""Asking the API server whether our policies are in force: by requests that nothing but they refuses.

Each trial is within the rights of who sends it, breaks the rule of one policy, and is a dry run on an object of
Firebreak's own, or on a node (the exec: into a pod that does not exist). What the answer proves is that the policy is
there, bound, and denies. `trials` are about Firebreak's own account; `firebreak-contain-incidents` is not among them,
for that takes an incident. `trial_of_intake` is about the intake's, `trials_of_people` are about everybody else.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from firebreak.api.base import Json
from firebreak.kube.client import METADATA_LIST, Api
from firebreak.kube.errors import NO_RIGHT, Conflict, Forbidden, Invalid, NotFound
from firebreak.kube.probe_objects import FREE, Run
from firebreak.model.change import Ref, collection
from firebreak.model.facts import Account
from firebreak.model.names import QUARANTINE_PREFIX
from firebreak.model.tiers import CONTAIN, ERADICATE, NODE, PRESERVE, Tier

GUARD = "firebreak-guard"  # the name of what the trials would make, and of the Secret that one of them would change
DEPLOYMENT = "firebreak"  # its Deployment
INTAKE = "firebreak-intake"  # the account of the intake, where it is installed
MARK: Json = {"firebreak.dev/guard": "tried"}
FRESH = 300.0  # seconds that a fence which was seen is taken to stand
MISSING_AGAIN = 10.0  # seconds until one that was not is tried again
NOBODY = "nobody"
IMPERSONATION = "cannot impersonate"

POD_MAKER = Account("kube-system", "replicaset-controller")
"""May create pods in every namespace and holds no verb of ours, by a role that each API server restores at its start
(system:controller:replicaset-controller). Administrators hold `release`: what they try themselves is let pass.
"""


class RefusedBy(Enum):
    """Who refused a trial."""

    POLICY = auto()
    RIGHTS = auto()
    """RBAC: the policy was not asked."""
    OTHERS = auto()
    """Another policy, a webhook, or there is no such namespace or kind: the policy was not asked, or not heard."""
    NOBODY = auto()


@dataclass(frozen=True)
class Trial:
    """One forbidden request, and the policy that must refuse it. Without a body it is an exec.

    `sender`: as whom it is sent; without one as who tries.
    """

    policy: str
    target: Ref
    body: Json | None = None
    creates: bool = False
    sender: Account | None = None

    async def send(self, api: Api) -> None:
        """Send it. Raises `ApiError`; anything else means that it would have been done."""
        if self.body is None:
            await api.request("GET", f"{self.target.path}/exec", params={"command": "true", "stdout": "true"})
        elif self.creates:
            await api.create(self.target.kind, self.target.namespace, self.body, dry_run=True)
        else:
            await api.patch(self.target, self.body, dry_run=True)

    async def refused_by(self, api: Api) -> RefusedBy:
        """Send it and return who refused it. Raises `Forbidden` when one may not ask in another name, `Unavailable`."""
        try:
            await self.send(api)
        except Conflict:
            return RefusedBy.NOBODY  # what would be made is there already; admission comes before that
        except NotFound:
            return RefusedBy.OTHERS
        except (Forbidden, Invalid) as error:
            if IMPERSONATION in error.message:
                raise
            if f"'{self.policy}'" in error.message:
                return RefusedBy.POLICY
            return RefusedBy.RIGHTS if NO_RIGHT in error.message else RefusedBy.OTHERS
        return RefusedBy.NOBODY


def trials(tier: Tier, namespace: str, pod: str, node: str) -> tuple[Trial, ...]:
    """Return what to try for a tier. `pod`: any of Firebreak's own `namespace`; `node`: any."""
    found: Mapping[str, tuple[Trial, ...]] = {
        CONTAIN.name: (
            Trial("firebreak-contain-pods", Ref("Pod", pod, namespace), {"metadata": {"labels": MARK}}),
            _create("firebreak-contain-policies", "NetworkPolicy", namespace, {"spec": {"podSelector": {}}}),
            _create("firebreak-contain-probe", "Pod", namespace, _stranger(namespace)),
            _create("firebreak-contain-records", "ConfigMap", namespace, {}),
        ),
        PRESERVE.name: (Trial("firebreak-preserve-exec", Ref("Pod", GUARD, namespace)),),
        ERADICATE.name: (
            Trial(
                "firebreak-eradicate-bindings",
                Ref("ClusterRoleBinding", f"{DEPLOYMENT}-{ERADICATE.name}"),
                {"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": GUARD}]},
            ),
            Trial("firebreak-eradicate-secrets", Ref("Secret", GUARD, namespace), {"metadata": {"labels": MARK}}),
            Trial(
                "firebreak-eradicate-workloads",
                Ref("Deployment", DEPLOYMENT, namespace),
                {"spec": {"template": {"metadata": {"annotations": MARK}}}},
            ),
        ),
        NODE.name: (Trial("firebreak-node-cordon", Ref("Node", node), {"metadata": {"labels": MARK}}),),
    }
    return found[tier.name]


def trials_of_people(namespace: str) -> tuple[Trial, ...]:
    """Return what to try, as whoever asks, of the policies about people: what they refuse to administrators, too.

    The others are not tried: they let pass who holds `release`, `override` or `respond`, or take an incident.
    """
    approval = {"incident": GUARD, "step": "revoke", "digest": f"sha256:{'0' * 64}", "approver": GUARD}
    opened = {"target": {"pod": GUARD}, "playbook": "contain", "openedBy": GUARD, "source": GUARD}
    forged = {**_stranger(namespace), "metadata": {"labels": {f"{QUARANTINE_PREFIX}{GUARD}": "true"}}}
    return (
        _create("firebreak-approvals", "Approval", namespace, {"spec": approval}),
        _create("firebreak-creators", "Incident", namespace, {"spec": opened}),
        replace(_create("firebreak-quarantine-forgery", "Pod", namespace, forged), sender=POD_MAKER),
    )


def trial_of_intake(namespace: str) -> Trial:
    """Return what to try, as the intake's own account: an Incident that is closed before anybody looked at it."""
    closed = {"mode": "Plan", "playbook": "contain", "source": GUARD, "state": "Closed", "verdict": "Exercise"}
    trial = _create("firebreak-intake", "Incident", namespace, {"spec": closed})
    return replace(trial, sender=Account(namespace, INTAKE))


def _create(policy: str, kind: str, namespace: str, body: Json) -> Trial:
    """A trial that would create an object; `body` may have metadata of its own, labels say."""
    target = Ref(kind, GUARD, namespace)
    metadata = {**body.get("metadata", {}), "name": GUARD, "namespace": namespace}
    whole = {"apiVersion": target.api_version, "kind": kind, **body, "metadata": metadata}
    return Trial(policy, target, whole, creates=True)


def _stranger(namespace: str) -> Json:
    """A pod that Pod Security lets pass: one of the probe, without its name and labels."""
    return {**Run(GUARD, namespace, "none").pod_body(FREE), "metadata": {}}


class Guards:
    """Answers whether a tier is fenced. `clock` counts seconds and never goes back."""

    def __init__(self, api: Api, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._namespace = namespace
        self._clock = clock
        self._answers: dict[str, tuple[float, str]] = {}
        self._asking = asyncio.Lock()

    async def missing(self, tier: Tier) -> str:
        """Say, in words, which policies of a tier are not in force and what a person does; empty when all are.

        Raises `Unavailable` when the API server does not answer, `Forbidden` when one may not ask for the account.
        """
        async with self._asking:
            at, words = self._answers.get(tier.name, (float("-inf"), ""))
            if self._clock() - at >= (MISSING_AGAIN if words else FRESH):
                words = await self._tried(tier)
                self._answers[tier.name] = (self._clock(), words)
            return words

    async def _tried(self, tier: Tier) -> str:
        """Try all. What does not stand is tried once more: the pod may have ended between the look and the trial."""
        open_ = await self._open(tier) and await self._open(tier)
        return tier.unguarded(open_) if open_ else ""

    async def _open(self, tier: Tier) -> list[str]:
        pod = await self._any(collection("Pod", self._namespace)) if tier is CONTAIN else NOBODY
        node = await self._any(collection("Node")) if tier is NODE else NOBODY
        tried = trials(tier, self._namespace, pod, node)
        found = await asyncio.gather(*(trial.refused_by(self._api) for trial in tried))
        # What the account may not do at all needs no fence. What others refuse proves nothing.
        fenced = {RefusedBy.POLICY, RefusedBy.RIGHTS}
        return [trial.policy for trial, answer in zip(tried, found, strict=True) if answer not in fenced]

    async def _any(self, path: str) -> str:
        """The name of some object there, to try a patch on; of one that is not there if there is none."""
        try:
            some = await self._api.request("GET", path, params={"limit": "1"}, accept=METADATA_LIST)
        except Forbidden as error:
            if IMPERSONATION in error.message:
                raise
            return NOBODY
        return next((str(found["metadata"]["name"]) for found in some.get("items") or []), NOBODY)
