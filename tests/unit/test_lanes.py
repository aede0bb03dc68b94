"""Our own calls: a cut goes before what can wait, and namespaces take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fake_api import FakeApi, Fault, Hold
from firebreak.kube.client import Api
from firebreak.kube.lanes import CUTS, LATER, MEANWHILE, Lane, lane
from firebreak.kube.seats import Seats
from harness import PATIENCE, connect


async def settled() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


class Sitters:
    """Who was seated, in order; all stay seated until told to leave."""

    def __init__(self, seats: Seats) -> None:
        self.seats = seats
        self.seated: list[str] = []

    def come(self, key: str, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._sit(key, name))

    async def _sit(self, key: str, name: str) -> None:
        await self.seats.take(key)
        self.seated.append(name)


async def test_keys_take_turns_and_within_a_key_who_came_first_is_first() -> None:
    sitters = Sitters(Seats(lambda: 1))
    tasks = [sitters.come("big", f"big-{n}") for n in range(4)] + [sitters.come("small", "small-0")]
    for _ in range(4):
        await settled()
        sitters.seats.give_back()
    await asyncio.gather(*tasks)
    assert sitters.seated == ["big-0", "big-1", "small-0", "big-2", "big-3"]


async def test_who_gives_up_waiting_takes_no_seat_along() -> None:
    sitters = Sitters(Seats(lambda: 1))
    first, second, third = (sitters.come("shop", str(n)) for n in range(3))
    await settled()
    second.cancel()
    await settled()
    sitters.seats.give_back()
    third.cancel()  # at the very moment in which it is seated
    await asyncio.gather(first, second, third, return_exceptions=True)
    await sitters.come("shop", "last")
    assert sitters.seated == ["0", "last"]


@asynccontextmanager
async def held(fake: FakeApi) -> AsyncIterator[tuple[Api, asyncio.Event]]:
    """A client of a fake that answers nobody until the event is set."""
    answer = asyncio.Event()
    fake.faults.add(Fault(when=lambda _: True, how=Hold(answer)))
    async with connect(fake) as api:
        yield api, answer


def ask(api: Api, chosen: Lane, namespace: str, number: int) -> list[asyncio.Task[object]]:
    """Send calls in a lane."""
    with lane(chosen):
        return [
            asyncio.create_task(api.request("GET", f"/api/v1/namespaces/{namespace}/pods", params={"limit": str(n)}))
            for n in range(1, number + 1)
        ]


def under_way(fake: FakeApi) -> int:
    return len([call for call in fake.calls if call.ended is None])


async def test_what_can_wait_leaves_the_seats_of_the_cut_and_of_the_lease_free(fake: FakeApi) -> None:
    async with held(fake) as (api, answer):
        calls = ask(api, Lane.LATER, "shop", LATER + 5)
        async with asyncio.timeout(PATIENCE):
            await fake.called(lambda _: True, LATER)  # before the cut came
            calls += ask(api, Lane.CUT, "bank", 2) + ask(api, Lane.LEASE, "firebreak", 1)
            await fake.called(lambda call: call.namespace == "bank", 2)
            await fake.called(lambda call: call.namespace == "firebreak")
        assert under_way(fake) == LATER + 3
        answer.set()
        await asyncio.gather(*calls)


@pytest.mark.parametrize("cuts", [1, CUTS, CUTS + 1], ids=["one", "as many as seats", "one more"])
async def test_while_a_cut_is_under_way_the_rest_gets_hardly_more_than_a_trickle(fake: FakeApi, cuts: int) -> None:
    async with held(fake) as (api, answer):
        calls = ask(api, Lane.CUT, "shop", cuts)
        async with asyncio.timeout(PATIENCE):
            await fake.called(lambda _: True, min(cuts, CUTS))
            calls += ask(api, Lane.LATER, "bank", LATER)
            await fake.called(lambda call: call.namespace == "bank", MEANWHILE)
        await settled()
        assert under_way(fake) == min(cuts, CUTS) + MEANWHILE
        answer.set()
        await asyncio.gather(*calls)


@pytest.mark.parametrize("chosen", [Lane.CUT, Lane.LATER])
async def test_nine_hundred_of_one_namespace_delay_the_first_of_another_by_no_more_than_those_under_way(
    fake: FakeApi, chosen: Lane
) -> None:
    async with held(fake) as (api, answer):
        calls = ask(api, chosen, "shop", 900)
        await settled()
        there = len(fake.calls)  # more than have seats, on a machine so slow that the first have sat for too long
        calls += ask(api, chosen, "bank", 1)
        answer.set()
        await asyncio.gather(*calls)
    (place,) = [call.n for call in fake.calls if call.namespace == "bank"]
    seated = {Lane.CUT: CUTS, Lane.LATER: LATER}[chosen]  # as many may be on their way
    assert place <= there + seated + 2


async def test_calls_that_stall_keep_no_cut_waiting(fake: FakeApi) -> None:
    async with held(fake) as (api, answer), asyncio.timeout(PATIENCE):
        stalled = ask(api, Lane.CUT, "hostile", CUTS)
        await fake.called(lambda call: call.namespace == "hostile", CUTS)
        others = ask(api, Lane.CUT, "shop", 1)
        await fake.called(lambda call: call.namespace == "shop")
        assert under_way(fake) == CUTS + 1
        answer.set()
        await asyncio.gather(*stalled, *others)
