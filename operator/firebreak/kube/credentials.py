"""Who we are to the API server. A mounted token is replaced under us, and dies with its ServiceAccount or its pod."""

import asyncio
import contextlib
import time
from collections.abc import Mapping

from firebreak.kube.configuration import IN_CLUSTER_TOKEN, Configuration, ConfigurationError, load_configuration

TOKEN_AGE = 60.0  # seconds until a mounted token is read again; kubelet replaces it long before it expires


class Credentials:
    """What authenticates our calls, by kubeconfig or as the pod's account."""

    def __init__(self, configuration: Configuration, kubeconfig: str | None, context: str | None) -> None:
        self._configuration = configuration
        self._kubeconfig, self._context = kubeconfig, context
        self._mounted = kubeconfig is None and IN_CLUSTER_TOKEN.exists()
        self._read_at = time.monotonic()
        self._reading = asyncio.Lock()
        self.refused, self.taken = asyncio.Event(), asyncio.Event()
        self.taken.set()

    async def headers(self) -> dict[str, str]:
        """Return the headers of the next call."""
        if self._mounted and time.monotonic() - self._read_at > TOKEN_AGE:
            await self._read()
        authorization = await self._configuration.authorization()
        return {"Authorization": authorization} if authorization else {}

    async def others(self, refused: Mapping[str, str]) -> bool:
        """Return whether there are others than those that were refused; they are read again, once for all who ask.

        If not, the API server does not know us: `refused` is set until `take` is called.
        """
        before = self._read_at
        async with self._reading:
            if self._read_at == before and await self.headers() == refused:
                await self._read()
        if await self.headers() != refused:
            return True
        self.refused.set()
        self.taken.clear()
        return False

    def take(self) -> None:
        """Note that the API server knows us."""
        self.refused.clear()
        self.taken.set()

    async def replaced(self) -> bool:
        """Return whether another token is mounted than the one that is used. A kubeconfig says so only when read."""
        used = await self._configuration.authorization()
        return self._mounted and IN_CLUSTER_TOKEN.read_text().strip() != used.rpartition(" ")[2]

    async def _read(self) -> None:
        """Read them again. Those that we have stay while there are none."""
        with contextlib.suppress(ConfigurationError):
            self._configuration = await load_configuration(self._kubeconfig, self._context)
            self._read_at = time.monotonic()
