"""Asking the API server whether Firebreak's own account is fenced: by requests that nothing but our policies refuses.

Each trial is within the account's rights, breaks the rule of one policy, and is a dry run on an object of Firebreak's
own, or on a node (the exec: into a pod that does not exist). What the answer proves is that the policy is there, bound,
and denies. The policy `firebreak-contain-incidents` is not tried: that takes an incident.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.kube.client import METADATA_LIST, Api
from firebreak.kube.errors import NO_RIGHT, Conflict, Forbidden, Invalid, NotFound
from firebreak.kube.probe_objects import FREE, Run
from firebreak.model.change import Ref, collection
from firebreak.model.tiers import CONTAIN, ERADICATE, NODE, PRESERVE, Tier

GUARD = "firebreak-guard"  # the name of what the trials would make, and of the Secret that one of them would change
DEPLOYMENT = "firebreak"  # its Deployment
MARK: Json = {"firebreak.dev/guard": "tried"}
FRESH = 300.0  # seconds that a fence which was seen is taken to stand
MISSING_AGAIN = 10.0  # seconds until one that was not is tried again
NOBODY = "nobody"
IMPERSONATION = "cannot impersonate"


@dataclass(frozen=True)
class Trial:
    """One forbidden request, and the policy that must refuse it. Without a body it is an exec."""

    policy: str
    target: Ref
    body: Json | None = None
    creates: bool = False

    async def send(self, api: Api) -> None:
        """Send it. Raises `ApiError`; anything else means that it would have been done."""
        if self.body is None:
            await api.request("GET", f"{self.target.path}/exec", params={"command": "true", "stdout": "true"})
        elif self.creates:
            await api.create(self.target.kind, self.target.namespace, self.body, dry_run=True)
        else:
            await api.patch(self.target, self.body, dry_run=True)


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


def _create(policy: str, kind: str, namespace: str, body: Json) -> Trial:
    target = Ref(kind, GUARD, namespace)
    return Trial(policy, target, {**body, "metadata": {"name": GUARD, "namespace": namespace}}, creates=True)


def _stranger(namespace: str) -> Json:
    """A pod that Pod Security lets pass: one of the probe, under another name."""
    return Run(GUARD, namespace, "none").pod_body(FREE)


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
        found = await asyncio.gather(*(self._refused(trial) for trial in tried))
        return [trial.policy for trial, refused in zip(tried, found, strict=True) if not refused]

    async def _any(self, path: str) -> str:
        """The name of some object there, to try a patch on; of one that is not there if there is none."""
        try:
            some = await self._api.request("GET", path, params={"limit": "1"}, accept=METADATA_LIST)
        except Forbidden as error:
            if IMPERSONATION in error.message:
                raise
            return NOBODY
        return next((str(found["metadata"]["name"]) for found in some.get("items") or []), NOBODY)

    async def _refused(self, trial: Trial) -> bool:
        """Whether the policy, or RBAC, refuses a trial. What another one refuses proves nothing."""
        try:
            await trial.send(self._api)
        except (NotFound, Conflict):
            return False
        except (Forbidden, Invalid) as error:
            if IMPERSONATION in error.message:
                raise
            # What the account may not do at all needs no fence.
            return f"'{trial.policy}'" in error.message or NO_RIGHT in error.message
        return False
