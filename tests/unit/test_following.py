"""What a follower leaves to the leader, and for how long."""

import asyncio
import time

import pytest

from fake_api import FakeApi, Obj
from firebreak.engine.case import Tools
from firebreak.engine.following import Following
from firebreak.engine.notices import Notices
from firebreak.kube.guard import Guards
from firebreak.kube.tiers import Tiers
from firebreak.settings import Settings
from harness import PATIENCE, Clock, connect
from world import POD_PATH, UID, incident, web_pod

MOMENT = 0.05  # seconds


async def followed(fake: FakeApi, raw: Obj, busy_after: float | None = None) -> float:
    """Follow one incident as the watch shows it; return how many seconds that took."""
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        clock = Clock()
        settings = Settings(follower_seconds=MOMENT)
        notices = Notices(api, clock, "one")
        tools = Tools(
            api=api, settings=settings, clock=clock, notices=notices, tiers=Tiers(api), guards=Guards(api, "firebreak")
        )
        following = Following(tools, {UID: raw})
        if busy_after is not None:
            asyncio.get_running_loop().call_later(busy_after, following.saw, None, incident("other", "other"))
        began = time.monotonic()
        await following.follow(UID, lambda: False)
        return time.monotonic() - began


async def test_what_the_watch_shows_as_cut_costs_a_follower_no_call(fake: FakeApi) -> None:
    await followed(fake, incident() | {"status": {"timings": {"cutAt": "2026-11-21T12:00:00.000000Z"}}})
    assert not fake.calls


@pytest.mark.parametrize(("busy_after", "moments"), [(None, 1), (MOMENT / 2, 2)])
async def test_a_leader_is_left_another_moment_while_more_incidents_come(
    fake: FakeApi, busy_after: float | None, moments: int
) -> None:
    fake.put(web_pod())
    raw = fake.put(incident())
    assert await followed(fake, raw, busy_after) >= moments * MOMENT
    assert [call.line for call in fake.writes if call.verb == "patch"] == [f"PATCH {POD_PATH}"]
