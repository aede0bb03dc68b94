"""The open incidents as the API server has them: how they are followed, and how they are listed.

Both ways in are here, and leave at the door what is not read of an incident.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from firebreak.api.base import Json
from firebreak.engine.informer import Source
from firebreak.kube.client import Api
from firebreak.model.change import collection
from firebreak.model.incident import lean
from firebreak.steps.drift import DELETED

OPEN_ONLY = "status.phase!=Closed"
PATH = collection("Incident")


class Seen(Protocol):
    """Takes in an incident. One that was closed leaves the watch as deleted."""

    def __call__(self, raw: Json, *, deleted: bool) -> None:
        """Take it in."""


def source(begin: Callable[[], Awaitable[str]], seen: Seen) -> Source:
    """Follow them: the only watch of them. `begin` takes over the list."""

    def saw(event: str, raw: Json) -> None:
        seen(lean(raw), deleted=event == DELETED)

    return Source(PATH, begin, saw, "incidents are found by the resync only", fields=OPEN_ONLY, vital=True)


async def listed(api: Api) -> tuple[dict[str, Json], str]:
    """Return them by uid, and the resourceVersion of the list. Raises `ApiError`."""
    found, version = await api.list_from(PATH, fields=OPEN_ONLY, keep=lean)
    return {raw["metadata"]["uid"]: {"kind": "Incident", **raw} for raw in found}, version
