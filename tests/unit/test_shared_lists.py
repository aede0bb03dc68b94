"""Lists that many incidents ask for at the same time: one answer for all, and never one from before the question."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fake_api import Answer, Call, FakeApi, Fault, Hold
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden
from firebreak.kube.lanes import Lane, lane
from harness import PATIENCE, connect
from world import web_pod


@asynccontextmanager
async def first_under_way(fake: FakeApi) -> AsyncIterator[tuple[Api, asyncio.Task[list[str]], asyncio.Event]]:
    """A client whose first list of pods is under way until the event is set."""
    answer = asyncio.Event()
    fake.faults.add(Fault(when=lists_pods, how=Hold(answer), times=1))
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        first = asyncio.create_task(pods(api))
        await fake.called(lists_pods)
        yield api, first, answer


def lists_pods(call: Call) -> bool:
    return call.verb == "list" and call.resource == "pods"


async def pods(api: Api) -> list[str]:
    return [found["metadata"]["name"] for found in await api.list_all("Pod", "shop")]


async def meanwhile(api: Api, number: int) -> list[asyncio.Task[list[str]]]:
    """Ask for the same list; all wait when this returns."""
    tasks = [asyncio.create_task(pods(api)) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_who_asks_while_a_list_is_under_way_shares_the_next_one(fake: FakeApi) -> None:
    async with first_under_way(fake) as (api, first, answer):
        others = await meanwhile(api, 50)
        answer.set()
        await asyncio.gather(first, *others)
    assert len([call for call in fake.calls if lists_pods(call)]) == 2


async def test_nobody_gets_a_list_from_before_they_asked(fake: FakeApi) -> None:
    async with first_under_way(fake) as (api, first, answer):
        fake.faults.add(Fault(when=lists_pods, how=Hold(answer)))
        (other,) = await meanwhile(api, 1)
        answer.set()
        await first
        fake.put(web_pod("joined"))
        later = await pods(api)
        await other
    assert later == ["joined"]


async def test_who_waits_goes_on_when_the_one_who_asked_first_is_gone(fake: FakeApi) -> None:
    fake.put(web_pod("web-1"))
    async with first_under_way(fake) as (api, first, _):
        others = await meanwhile(api, 2)
        first.cancel()
        assert await asyncio.gather(*others) == [["web-1"], ["web-1"]]


async def test_a_refusal_is_told_to_all_who_waited_and_to_nobody_later(fake: FakeApi) -> None:
    async with first_under_way(fake) as (api, first, answer):
        fake.faults.add(Fault(when=lists_pods, how=Answer(403), times=1))
        others = await meanwhile(api, 3)
        answer.set()
        await first
        said = await asyncio.gather(*others, return_exceptions=True)
        assert [type(error) for error in said] == [Forbidden] * 3
        assert await pods(api) == []
    assert len([call for call in fake.calls if lists_pods(call)]) == 3


@pytest.mark.parametrize("chosen", [Lane.CUT, Lane.LATER])
async def test_a_cut_waits_for_no_list_of_others(fake: FakeApi, chosen: Lane) -> None:
    async with first_under_way(fake) as (api, first, answer):
        with lane(chosen):
            (other,) = await meanwhile(api, 1)
        if chosen is Lane.CUT:
            await other
        assert (first.done(), other.done()) == (False, chosen is Lane.CUT)
        answer.set()
        await asyncio.gather(first, other)
