"""Carrying out one Change: send it, read the world back, say honestly what became of it."""

import secrets
from dataclasses import dataclass
from typing import Any

from firebreak.api.base import Json
from firebreak.api.status import ChangeState
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, Forbidden, Invalid, NotFound, Unavailable
from firebreak.model.change import Change, Generated, Verb, holds


@dataclass(frozen=True)
class Result:
    """What became of a Change."""

    change: Change
    state: ChangeState
    message: str = ""


async def send(api: Api, change: Change) -> Json | None:
    """Send a Change once and return the answer; None where there is none. Raises `ApiError`."""
    match change.verb:
        case Verb.CREATE:
            return await api.create(change.target.kind, change.target.namespace, materialize(change.body))
        case Verb.PATCH:
            return await api.patch(change.target, materialize(change.body), metadata_only=change.metadata_only)
        case Verb.DELETE:
            await api.delete(change.target)
            return None
        case Verb.CALL:
            words = f"{change.target} is outside the cluster; the hook is asked, not the API server"
            raise TypeError(words)


async def carry_out(api: Api, change: Change) -> Result:
    """Send a Change and verify it. Raises `Conflict` (plan again) and `Unavailable` (try again later)."""
    answer: Json | None = None
    try:
        answer = await send(api, change)
    except AlreadyExists:
        pass  # an earlier try of ours, or somebody else's object: reading it back tells
    except NotFound:
        if change.verb is not Verb.DELETE:
            return Result(change, ChangeState.FAILED, "it is not there any more")
    except (Forbidden, Invalid) as error:
        return Result(change, ChangeState.FAILED, error.message)
    return await verify(api, change, answer)


async def verify(api: Api, change: Change, answer: Json | None = None) -> Result:
    """Read the world back: a Change is done when the world is as it wants it, whoever made it so.

    `answer`: what a write of it was answered with. Raises `Unavailable` when the world read back is older than that: it
    would look undone, and be done twice.
    """
    try:
        live: Json | None = await api.get(change.target, metadata_only=change.metadata_only)
    except NotFound:
        live = None
    if live and answer and _version(live) < _version(answer):
        raise Unavailable(f"GET {change.target.path}", "the API server shows an older state than it had answered with")
    if holds(change, live):
        return Result(change, ChangeState.DONE)
    return Result(change, ChangeState.FAILED, "accepted, but read back otherwise: a webhook or controller changed it")


def _version(obj: Json) -> int:
    """Versions of one kind are numbers that grow (promised since Kubernetes 1.35, and so before)."""
    return int(obj["metadata"]["resourceVersion"])


def materialize(body: Any) -> Any:
    """Return a body with every `Generated` made a fresh secret value. The value exists in the request only."""
    if isinstance(body, Generated):
        return "".join(secrets.choice(body.alphabet) for _ in range(body.length))
    if isinstance(body, dict):
        return {key: materialize(value) for key, value in body.items()}
    if isinstance(body, list):
        return [materialize(value) for value in body]
    return body
