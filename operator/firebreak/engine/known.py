"""Whether the API server knows who we are. Where it does not, no status can say so: log, metrics and readiness do.

A token dies before its time with its ServiceAccount, or with its pod. The kubelet mounts another one when the old one
is four fifths through its life; so whoever made the account anew restarts Firebreak. Until then nothing here ends.
"""

import asyncio
from collections.abc import Callable

import structlog

from firebreak.engine.metrics import Metrics
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Unauthorized

log = structlog.get_logger()

LOOK = 0.25  # seconds between looks at the mounted token: a pod that is to be cut off may be waiting
ASK = 8  # looks between questions with the token that was refused: the API server may know it again
REFUSED = (
    "credentials refused; tried again until they are taken. If the ServiceAccount was made anew, restart Firebreak"
)
TAKEN = "credentials are taken again"


class Known:
    """Waits out that the API server does not know us, and calls `again` when it does."""

    def __init__(self, api: Api, metrics: Metrics, again: Callable[[], None]) -> None:
        self._api, self._credentials = api, api.credentials
        self._again = again
        self._gauge = metrics.credentials_refused

    def __bool__(self) -> bool:
        return not self._credentials.refused.is_set()

    async def keep(self) -> None:
        """Say when our credentials are refused and when they are taken again, until cancelled."""
        while True:
            await self._credentials.refused.wait()
            if error := await self._refusal():
                self._gauge.set(1)
                log.error(REFUSED, error=str(error))
                while await self._refusal():
                    await self._pause()
                self._gauge.set(0)
                log.info(TAKEN)
            self._credentials.take()
            self._again()

    async def until(self) -> None:
        """Return once the API server takes our credentials. Needs `keep` beside it."""
        await self._refusal()
        await self._credentials.taken.wait()

    async def _refusal(self) -> Unauthorized | None:
        """What the API server says when it does not know us. What else it answers, or whether, is no matter here."""
        try:
            await self._api.request("GET", "/version")
        except Unauthorized as error:
            return error
        except ApiError:
            pass
        return None

    async def _pause(self) -> None:
        for _ in range(ASK):
            await asyncio.sleep(LOOK)
            if await self._credentials.replaced():
                return
