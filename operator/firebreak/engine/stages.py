"""The steps that change rights, secrets and workloads: for each, how to survey, plan and confirm it.

A stage adds no decision of its own: it joins `kube.survey` with a pure step and asks the world afterwards.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Protocol

from firebreak.api.base import Json
from firebreak.api.incident import ChangeState
from firebreak.api.playbook import Replace, Rotate
from firebreak.engine.case import Case
from firebreak.kube import exposure, survey
from firebreak.model.change import Change, Ref, Verb
from firebreak.model.facts import Account, Rights, Secrets, Workload
from firebreak.model.pod import Pod
from firebreak.model.record import step
from firebreak.model.verdict import IDENTITY, RECOVERED, ROTATED, Verdict
from firebreak.model.words import listed
from firebreak.steps import replace, revoke, rotate, suspicion

# What every identity has in every cluster: discovery and questions about itself. Source: the page "Using RBAC
# Authorization", section "API discovery roles". The reason is the API server's (seen on 1.35), word for word: a role of
# one of these names that a binding of another name, or of another kind, gives is not one of these.
HARMLESS = re.compile(
    r'RBAC: allowed by ClusterRoleBinding "('
    r"system:discovery|system:basic-user|system:public-info-viewer|system:service-account-issuer-discovery"
    r')" of ClusterRole "\1" to Group "system:(authenticated|unauthenticated|serviceaccounts(:[a-z0-9-]+)?)"'
)
_SELF_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
_ABOUT_ITSELF = frozenset(("create", resource) for resource in _SELF_REVIEWS)


class Stage(Protocol):
    """A step whose outcome is Changes. `confirm` returns None while the world is still on its way."""

    name: str
    condition: str

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Survey, then decide."""

    async def confirm(self, case: Case) -> Verdict | None:
        """Ask the world what is so now."""

    def patience(self, case: Case) -> float:
        """Seconds until `confirm` must have an answer."""


def accounts(case: Case) -> list[Account]:
    """Return the accounts that the incident's pods run as, and the one it names."""
    names = {record.account for record in case.status.pods.values()}
    target = case.incident.spec.target
    if target and target.service_account:
        names.add(target.service_account)
    return [Account(case.id.namespace, name) for name in sorted(names - {""})]


async def rights(case: Case) -> list[Rights]:
    """Read the rights of all accounts, with the bindings that were shrunk by this incident."""
    revoked = [change.object for change in step(case.status, "revoke").changes.values()]
    uids = list(case.status.pods)
    return [await survey.rights(case.tools.api, case.id, account, uids, revoked) for account in accounts(case)]


async def held(case: Case) -> tuple[Pod, ...]:
    """Read the incident's pods that are still there; in mode Plan, take them as they would be."""
    if case.planned is not None:
        return case.planned
    target = case.incident.spec.target
    pods = await survey.target_pods(case.tools.api, case.id, target) if target else ()
    return tuple(pod for pod in pods if pod.uid in case.status.pods)


def harmless(question: Json, reason: str) -> bool:
    """Return whether an answer `allowed` is worth nothing to an intruder: everybody has it, and it reads no object."""
    attributes = question.get("resourceAttributes")
    itself = attributes is None or (attributes.get("verb"), attributes.get("resource")) in _ABOUT_ITSELF
    return itself and HARMLESS.fullmatch(reason) is not None


class Revoke:
    """Take the accounts out of every binding that names them, then ask what is left."""

    name = "revoke"
    condition = IDENTITY

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Shrink bindings, also those that somebody has put back."""
        recorded = step(case.status, self.name).changes
        done = {change_id for change_id, was in recorded.items() if was.state is ChangeState.DONE}
        return tuple(change for right in await rights(case) for change in revoke.plan(right, done))

    async def confirm(self, case: Case) -> Verdict | None:
        """Ask the API server as the account; its own reason names the source of what is left."""
        if not accounts(case):
            return Verdict(IDENTITY, "False", "TargetNotFound", "no pod was found yet, so no account is known")
        left: list[str] = []
        number = 0
        for right in await rights(case):
            asked = revoke.questions(right)
            number += len(asked)
            left.extend(await self._left(case, asked))
        if left:
            words = f"still allowed: {listed(left, separator='; ')}"
            return Verdict(IDENTITY, "False", "RightsRemain", words)
        clouds = [words for account in accounts(case) for words in await self._cloud(case, account)]
        if clouds:
            return Verdict(IDENTITY, "False", "CloudCredentialsLive", "; ".join(clouds))
        names = ", ".join(str(account) for account in accounts(case))
        return Verdict(
            IDENTITY, "True", "Revoked", f"{names}: the API server refused all {number} requests asked about"
        )

    async def _left(self, case: Case, asked: list[Json]) -> list[str]:
        answers = await asyncio.gather(*(survey.ask(case.tools.api, q) for q in asked))
        return [
            f"{revoke.in_words(question)} ({reason or 'no reason given'})"
            for question, (allowed, reason) in zip(asked, answers, strict=True)
            if allowed and not harmless(question, reason)
        ]

    async def _cloud(self, case: Case, account: Account) -> list[str]:
        found = await survey.find(case.tools.api, Ref("ServiceAccount", account.name, account.namespace))
        return list(suspicion.cloud(found)) if found else []

    def patience(self, case: Case) -> float:  # noqa: ARG002 - one shape for all stages
        """The authorizer's caches settle within seconds: the first answer may be stale."""
        return 10.0


class RotateSecrets:
    """Rotate what was in reach, restart who uses it, and watch the restart."""

    name = "rotate"
    condition = ROTATED

    async def _facts(self, case: Case) -> Secrets:
        records = case.status.pods.values()
        begun = {ChangeState.INTENDED, ChangeState.DONE}
        changes = step(case.status, self.name).changes.values()
        deleted = {c.object.rpartition("/")[2] for c in changes if c.verb == Verb.DELETE and c.state in begun}
        return await exposure.secrets(
            case.tools.api, case.id, await held(case), await rights(case), records, frozenset(deleted)
        )

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Generate, delete, restart; name the rest."""
        return tuple(rotate.plan(await self._facts(case)))

    async def confirm(self, case: Case) -> Verdict | None:
        """True only when nothing in reach was left out and every restarted workload is back."""
        changes = step(case.status, "rotate").changes.values()
        restarted = [c.object for c in changes if c.state is ChangeState.DONE and not c.object.startswith("Secret ")]
        for words in restarted:
            kind, _, path = words.partition(" ")
            namespace, _, name = path.partition("/")
            live = await survey.find(case.tools.api, Ref(kind, name, namespace))
            if live and not rolled_out({"kind": kind, **live}):
                return None
        open_ones = [c.object.removeprefix("Secret ") for c in changes if c.state is not ChangeState.DONE]
        if open_ones:
            return Verdict(ROTATED, "False", "ByHand", f"not rotated: {listed(open_ones, 10)}")
        done = [c.object.removeprefix("Secret ") for c in changes if c.object.startswith("Secret ")]
        words = f"rotated {listed(done, 10)}" if done else "no secret was in reach"
        return Verdict(ROTATED, "True", "Rotated" if done else "NothingInReach", words)

    def patience(self, case: Case) -> float:
        """How long consumers may take."""
        return case.options("rotate", Rotate).timeout_seconds


class ReplaceWorkload:
    """Bring the workload back and verify that it is the cure that runs."""

    name = "replace"
    condition = RECOVERED

    async def _facts(self, case: Case) -> tuple[Workload, ...]:
        owners = {uid: (record.owner, record.owner_uid) for uid, record in case.status.pods.items()}
        return await survey.workloads(case.tools.api, case.id, await held(case), owners)

    async def plan(self, case: Case) -> tuple[Change, ...]:
        """Roll out the known-good image, where one is named."""
        images = case.options("replace", Replace).images
        return tuple(change for facts in await self._facts(case) for change in replace.plan(facts, images))

    async def confirm(self, case: Case) -> Verdict | None:
        """Ready, the wanted image by digest where one was named, and no pod of it under quarantine."""
        images = case.options("replace", Replace).images
        verdicts = [
            replace.judge(facts, images, back=facts.controller is not None and rolled_out(facts.controller))
            for facts in await self._facts(case)
        ]
        said = [verdict for verdict in verdicts if verdict is not None]
        bad = next((verdict for verdict in said if not verdict.holds), None)
        if bad or len(said) < len(verdicts):
            return bad
        return Verdict(RECOVERED, "True", "Ready", "; ".join(verdict.message for verdict in said))

    def patience(self, case: Case) -> float:
        """How long the workload may take."""
        return case.options("replace", Replace).timeout_seconds


def rolled_out(workload: Json) -> bool:
    """Return whether a controller has brought all its pods to its newest template, and they are available.

    The rules of `kubectl rollout status` for each kind.
    """
    metadata, spec, status = workload["metadata"], workload.get("spec") or {}, workload.get("status") or {}
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(status.get("updatedNumberScheduled", 0) >= wanted <= status.get("numberAvailable", 0))
    wanted = spec.get("replicas", 1)
    updated = status.get("updatedReplicas", wanted if workload["kind"] == "ReplicaSet" else 0)
    ready = status.get("readyReplicas", 0)
    return bool(updated >= wanted and ready >= wanted and status.get("replicas", 0) == wanted)


STAGES: Iterable[Stage] = (Revoke(), RotateSecrets(), ReplaceWorkload())
