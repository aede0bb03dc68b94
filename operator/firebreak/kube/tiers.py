"""Asking the API server whether a tier of rights is granted, before a step runs into a refusal."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import NO_ROLES, Forbidden, Unavailable
from firebreak.model.tiers import AUTHORIZATION, Right, Tier

FRESH = 10.0  # seconds an answer is used again: a tier that was just granted is noticed after that


class Tiers:
    """Answers which rights of a tier are missing. `clock` counts seconds and never goes back."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._answers: dict[tuple[Right, str, str | None], tuple[float, bool]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def missing(self, tier: Tier, namespace: str) -> list[str]:
        """Return, in words, the rights of the tier that Firebreak lacks for an incident in this namespace.

        Raises `Unavailable` when the API server does not answer.
        """
        asked = [(right, verb) for right in tier.everywhere for verb in right.verbs]
        try:
            async with self._asking[namespace]:  # a thousand incidents at once ask once
                self._forget_old()
                allowed = await asyncio.gather(*(self._allowed(right, verb, namespace) for right, verb in asked))
        except Forbidden as error:
            words = f"unknown whether the rights of tier {tier.name} are there"
            return [f"{words}: the API server refuses to say ({error.message})"]
        answers = zip(asked, allowed, strict=True)
        return [right.in_words(verb, namespace) for (right, verb), granted in answers if not granted]

    async def _allowed(self, right: Right, verb: str, namespace: str) -> bool:
        question = (right, verb, right.where(namespace))
        if question in self._answers:
            return self._answers[question][1]
        body: Json = {
            "apiVersion": f"{AUTHORIZATION}/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": right.attributes(verb, namespace)},
        }
        review = await self._api.create("SelfSubjectAccessReview", None, body)
        answer = review.get("status") or {}
        granted = answer.get("allowed") is True
        if not granted and NO_ROLES in str(answer.get("evaluationError")):
            raise Unavailable("SelfSubjectAccessReview", "the API server has not read its roles yet")
        self._answers[question] = (self._clock(), granted)
        return granted

    def _forget_old(self) -> None:
        now = self._clock()
        self._answers = {q: (at, granted) for q, (at, granted) in self._answers.items() if now - at < FRESH}
