"""Leadership by a Lease: one leader at a time, taken over after silence, given back in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fake_api import Answer, FakeApi, Fault, Hold
from firebreak.engine.leadership import Leadership
from firebreak.kube.client import DEFAULT_LIMITS, CallLimits
from firebreak.service.supervise import Pulse
from harness import IMPATIENT, PATIENCE, Clock, connect


class Contender:
    """One replica that wants to lead."""

    def __init__(self) -> None:
        self.history: list[bool] = []
        self.changed = asyncio.Event()

    def note(self, leading: bool) -> None:  # noqa: FBT001 - the Lease's callback
        self.history.append(leading)
        self.changed.set()

    async def until(self, *history: bool) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.history != list(history):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def contender(
    fake: FakeApi, name: str, seconds: int = 1, limits: CallLimits = IMPATIENT
) -> AsyncIterator[tuple[Contender, asyncio.Task[None]]]:
    me = Contender()
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})
    async with connect(fake, limits) as api:
        task = asyncio.create_task(Leadership(api, "firebreak", name, seconds, Clock(), me.note, Pulse()).run())
        try:
            yield me, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def holder(fake: FakeApi) -> str:
    return str(fake.get("Lease", "firebreak", "firebreak")["spec"]["holderIdentity"])


async def test_the_first_leads_and_the_second_waits_until_the_lease_is_given_back(fake: FakeApi) -> None:
    async with contender(fake, "two") as (two, _):
        async with contender(fake, "one") as (one, _):
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait(
                    {asyncio.create_task(one.until(True)), asyncio.create_task(two.until(True))},
                    return_when=asyncio.FIRST_COMPLETED,
                )
            assert sorted([one.history, two.history]) == [[], [True]]
        await two.until(True)
    assert holder(fake) == ""


async def test_a_leader_that_falls_silent_is_replaced(fake: FakeApi) -> None:
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00.000000Z"}
    metadata = {"name": "firebreak", "namespace": "firebreak"}
    fake.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    async with contender(fake, "one") as (one, _):
        await one.until(True)
        assert holder(fake) == "one"
        assert fake.get("Lease", "firebreak", "firebreak")["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_cannot_renew_stops_by_itself(fake: FakeApi) -> None:
    async with contender(fake, "one") as (one, _):
        await one.until(True)
        fake.faults.add(Fault(when=lambda call: call.resource == "leases", how=Answer(503)))
        await one.until(True, False)
        fake.faults.clear()
        await one.until(True, False, True)


async def test_a_leader_that_is_to_end_does_not_wait_for_an_api_server_that_is_away(fake: FakeApi) -> None:
    """A pod has 30 seconds to end in order; its Lease expires by itself."""
    back = asyncio.Event()
    async with contender(fake, "one", limits=DEFAULT_LIMITS) as (one, task):
        await one.until(True)
        fake.faults.add(Fault(when=lambda call: call.resource == "leases", how=Hold(back)))
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)
        back.set()
    assert one.history == [True, False]
    assert holder(fake) == "one"


async def test_a_lease_taken_by_somebody_else_is_not_taken_back(fake: FakeApi) -> None:
    async with contender(fake, "one", seconds=3) as (one, _):
        await one.until(True)
        fake.update("Lease", "firebreak", "firebreak", {"spec": {"holderIdentity": "other"}})
        await one.until(True, False)
        assert holder(fake) == "other"
