"""A wall clock that jumps: leadership goes by a clock that never does, and no claim grows older or younger by it."""

import asyncio
from datetime import timedelta

import pytest

from fake_api import FakeApi
from firebreak.engine.leadership import Leadership
from firebreak.evidence.store import EvidenceStore
from firebreak.service.supervise import Pulse
from harness import PATIENCE, Clock, connect, replica
from world import incident, shop

JUMPS = pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)], ids=["forward", "backward"])


@pytest.fixture
def store() -> EvidenceStore:
    return EvidenceStore.open("memory://")


@JUMPS
async def test_a_leader_keeps_leading_and_a_follower_following(jump: timedelta, fake: FakeApi) -> None:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})
    clocks = (Clock(), Clock())
    histories: tuple[list[bool], list[bool]] = ([], [])
    async with connect(fake) as api:
        one = asyncio.create_task(Leadership(api, "firebreak", "one", 3, clocks[0], histories[0].append, Pulse()).run())
        async with asyncio.timeout(PATIENCE):
            await fake.called(lambda call: call.method == "POST" and call.resource == "leases")
        two = asyncio.create_task(Leadership(api, "firebreak", "two", 3, clocks[1], histories[1].append, Pulse()).run())
        clocks[0].moment += jump
        clocks[1].moment -= jump
        begun = len(fake.calls)
        async with asyncio.timeout(PATIENCE):  # two renewals more, and the follower has looked between them
            await fake.called(lambda call: call.n > begun and call.method == "PUT" and call.resource == "leases", 2)
        assert (histories[0], histories[1]) == ([True], [])
        assert fake.get("Lease", "firebreak", "firebreak")["spec"]["holderIdentity"] == "one"
        for task in (one, two):
            task.cancel()
        await asyncio.gather(one, two, return_exceptions=True)


@JUMPS
async def test_a_response_goes_on_to_its_end(jump: timedelta, fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda status: bool((status.get("timings") or {}).get("cutAt")))
        clock = firebreak.tools.clock
        assert isinstance(clock, Clock)
        clock.moment += jump
        await firebreak.until("shell", lambda status: status.get("phase") in {"Responded", "Waiting"})
        await firebreak.condition("shell", "Contained", "True", "Enforced")
        await firebreak.condition("shell", "SecretsRotated", "True")
