"""Which rights the operator's account has, tier by tier, asked of the API server by whoever runs the command."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from firebreak.api.base import Json
from firebreak.api.playbook import STEP_NAMES
from firebreak.cli.checks import Check, Outcome
from firebreak.cli.text import shown
from firebreak.kube.client import Api
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.facts import Account
from firebreak.model.tiers import CONTAIN, TIERS, Right, Tier, needed

AT_ONCE = 16  # questions under way


@dataclass(frozen=True)
class Question:
    """May the account do this? `own` is Firebreak's namespace for what is needed there only."""

    right: Right
    verb: str
    own: str | None


async def tiers(api: Api, namespace: str, account: str, *, itself: bool) -> AsyncIterator[Check]:
    """Say of each tier whether it is granted, to the operator's account if it is there, else to who asks.

    With `itself` the operator's account is who asks: about oneself everybody may.
    A tier of which nothing is granted was left out, which is a choice; `contain` must be there. Raises `ApiError`.
    """
    found = not itself and await find(api, Ref("ServiceAccount", account, namespace))
    who = Account(namespace, account) if found else None
    gate = asyncio.Semaphore(AT_ONCE)
    base = set(_questions(CONTAIN, namespace))
    for tier in TIERS:
        asked = _questions(tier, namespace)
        answers = await asyncio.gather(*(_allowed(api, gate, who, question) for question in asked))
        granted = {question for question, allowed in zip(asked, answers, strict=True) if allowed}
        yield judge(tier, asked, granted, base, str(who) if who else "you")


def judge(tier: Tier, asked: list[Question], granted: set[Question], base: set[Question], who: str) -> Check:
    """Say what the answers about one tier mean. `base` are the questions of the tier that is always needed."""
    name = f"rights {tier.name}"
    missing = [q.right.in_words(q.verb, q.own) for q in asked if q not in granted]
    if not missing:
        return Check(name, Outcome.OK, f"granted to {who}")
    if tier is not CONTAIN and not granted - base:
        steps = ", ".join(step for step in STEP_NAMES if needed(step) is tier)
        return Check(name, Outcome.LEFT_OUT, f"not granted to {who}; Blocked without it: {steps}", tier.remedy)
    return Check(name, Outcome.FAILED, f"not granted to {who}: {shown(missing, 3)}", tier.remedy)


def _questions(tier: Tier, namespace: str) -> list[Question]:
    """One for each verb: tiers ask for the same verb of a resource beside different ones."""
    asked = [(right, None) for right in tier.everywhere] + [(right, namespace) for right in tier.own]
    return [Question(replace(right, verbs=(verb,)), verb, own) for right, own in asked for verb in right.verbs]


async def _allowed(api: Api, gate: asyncio.Semaphore, who: Account | None, question: Question) -> bool:
    spec: Json = {"resourceAttributes": question.right.attributes(question.verb, question.own)}
    kind = "SelfSubjectAccessReview"
    if who:
        kind, spec = "SubjectAccessReview", spec | {"user": who.user, "groups": list(who.groups)}
    async with gate:
        review = await api.create(kind, None, {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec})
    return (review.get("status") or {}).get("allowed") is True
