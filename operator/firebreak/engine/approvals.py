"""The watch of Approvals: whoever approves something wakes its incident. A hint, no more: the step reads for itself."""

from collections.abc import Callable

from firebreak.api.base import Json
from firebreak.engine.informer import Source
from firebreak.kube.client import Api
from firebreak.model.change import collection

PATH = collection("Approval")


def source(api: Api, approved: Callable[[Json], None]) -> Source:
    """Follow each Approval that is written from now on. What is missed in a break, the resync finds."""

    async def begin() -> str:
        """One Approval at most, however many there are: whoever may approve may fill what is kept."""
        found = await api.request("GET", PATH, params={"limit": "1"})
        return str(found["metadata"]["resourceVersion"])

    def saw(event: str, approval: Json) -> None:
        if event == "ADDED":
            approved(approval)

    return Source(PATH, begin, saw, meanwhile="the resync finds what is approved")
