"""The watch of Approvals: whoever approves something wakes its incident. A hint, no more: the step reads for itself.

Not through kopf, which reads all that exists into memory at its start: whoever may approve may fill that.
"""

import asyncio
from collections.abc import Callable

import structlog

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Gone
from firebreak.model.change import collection

log = structlog.get_logger()

PATH = collection("Approval")
RECONNECT = 1.0  # seconds until the watch is tried again


async def follow(api: Api, approved: Callable[[Json], None]) -> None:
    """Call `approved` with each Approval that is written from now on, until cancelled.

    After a break it goes on from where it broke. What is missed when that is too old, the resync finds.
    """
    version, said = "", False
    while True:
        try:
            version = version or await _now(api)
            async for event in api.watch(PATH, version):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "ADDED":
                    approved(event["object"])
        except Gone:
            version = ""
        except ApiError as error:
            if not said:
                log.warning("a watch of Approvals broke; it is tried again, and the resync goes on", error=str(error))
            said = True
        await asyncio.sleep(RECONNECT)


async def _now(api: Api) -> str:
    """The version from which to watch, with one Approval at most, however many there are."""
    found = await api.request("GET", PATH, params={"limit": "1"})
    return str(found["metadata"]["resourceVersion"])
