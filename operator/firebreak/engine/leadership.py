"""Leadership by a Lease: what must happen once happens on its holder.

The holder renews three times within the lease's duration and stops by itself when it could not, before anybody else may
take over. Containment does not wait for this: every replica contains.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from firebreak.api.base import Json
from firebreak.engine.work import Work
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Conflict, NotFound
from firebreak.kube.lanes import Lane, lane
from firebreak.model.change import Ref
from firebreak.model.clock import Clock
from firebreak.model.record import stamp
from firebreak.service.supervise import TURN, Pulse

log = structlog.get_logger()

LEASE = "firebreak"
NO_ANSWER = "no answer in time"  # a timeout has no words of its own


class Leadership:
    """Tries to hold the Lease for as long as `run` runs. `changed` is called with every gain and loss."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        identity: str,
        seconds: int,
        clock: Clock,
        changed: Callable[[bool], None],
        pulse: Pulse,
    ) -> None:
        self._api = api
        self._ref = Ref("Lease", LEASE, namespace)
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._changed = changed
        self._pulse = pulse
        self._until = 0.0
        self._seen: tuple[str, float] = ("", 0.0)
        self.leading = False

    async def run(self) -> None:
        """Renew or watch for a chance, until cancelled; then give the Lease back."""
        try:
            while True:
                self._pulse.expect(Work.LEADERSHIP, self._seconds + TURN)
                await self._round()
                await asyncio.sleep(self._seconds / 3 if self.leading else min(2.0, self._seconds / 3))
        finally:
            was = self.leading
            self._set(leading=False)
            if was:
                await asyncio.shield(self._give_back())

    async def _round(self) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds / 3):
                with lane(Lane.LEASE):
                    held = await self._take()
        except (ApiError, TimeoutError) as error:
            log.warning("lease not reached", error=str(error) or NO_ANSWER)
            held = self.leading and time.monotonic() < self._until
        else:
            self._until = started + self._seconds * 2 / 3 if held else 0.0
        self._set(leading=held)

    def _set(self, *, leading: bool) -> None:
        if leading != self.leading:
            self.leading = leading
            log.info("leading" if leading else "following", identity=self._identity)
            self._changed(leading)

    async def _take(self) -> bool:
        """Renew our Lease, take a free or expired one; never one that somebody holds."""
        try:
            lease = await self._api.get(self._ref)
        except NotFound:
            return await self._create()
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in {"", self._identity} and not self._expired(lease):
            return False
        now = stamp(self._clock())
        if holder != self._identity:
            spec = {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        spec = {**spec, "holderIdentity": self._identity, "leaseDurationSeconds": self._seconds, "renewTime": now}
        try:
            await self._api.replace(self._ref, {**lease, "spec": spec})
        except Conflict:
            return False
        return True

    def _expired(self, lease: Json) -> bool:
        """Whether the holder was silent for its whole duration, by our own clock: theirs may be wrong."""
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, time.monotonic())
        duration = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._seconds
        return time.monotonic() - self._seen[1] > duration

    async def _create(self) -> bool:
        now = stamp(self._clock())
        body = {
            "apiVersion": self._ref.api_version,
            "kind": "Lease",
            "metadata": {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._seconds,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        try:
            await self._api.create("Lease", self._ref.namespace, body)
        except Conflict:
            return False
        return True

    async def _give_back(self) -> None:
        """Let the next replica lead at once. Failing to is no harm, and worth no wait at the end: the Lease expires."""
        try:
            async with asyncio.timeout(self._seconds / 3):
                lease = await self._api.get(self._ref)
                if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                    await self._api.replace(self._ref, {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except (ApiError, TimeoutError) as error:
            log.warning("lease not given back; it expires", seconds=self._seconds, error=str(error) or NO_ANSWER)
