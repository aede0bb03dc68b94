"""The watch of incidents: what breaks it is mended soon, and what comes while a list is read is not lost."""

import asyncio

import pytest

from fake_api import Answer, Call, Close, FakeApi, Fault, Hold, Obj, Stale
from fake_api.faults import How
from firebreak.engine import incidents
from firebreak.evidence.store import EvidenceStore
from harness import PATIENCE, connect, replica
from world import POLICIES_PATH, incident, shop


def watches(call: Call) -> bool:
    return call.verb == "watch" and call.resource == "incidents" and not call.namespace


def lists(call: Call) -> bool:
    return call.verb == "list" and call.resource == "incidents"


def denies(call: Call) -> bool:
    return call.line == f"POST {POLICIES_PATH}"


async def test_an_incident_that_comes_while_the_list_is_read_is_not_taken_for_gone(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """The list is as it was before, and the cut is under way when it is there."""
    shop(fake)
    answered, cut = asyncio.Event(), asyncio.Event()
    async with replica(fake, store) as firebreak, asyncio.timeout(PATIENCE):
        for how in (Hold(answered), Stale()):
            fake.faults.add(Fault(when=lists, how=how, times=1))
        fake.faults.add(Fault(when=denies, how=Hold(cut), times=1))
        listing = asyncio.create_task(firebreak.controller.relist())
        await fake.called(lists, times=2)
        fake.put(incident())
        await fake.called(denies)
        answered.set()
        await listing
        cut.set()
        await firebreak.condition("shell", "Contained", "True")


@pytest.mark.parametrize(
    "how",
    [Answer(403), Answer(404), Answer(410), Answer(500), Close()],
    ids=["refused", "without its kind", "too old", "out of order", "reset"],
)
async def test_a_watch_of_incidents_that_breaks_is_soon_there_again(
    how: How, fake: FakeApi, store: EvidenceStore
) -> None:
    """What cannot be had of other kinds is left for a minute: the resync does their work as well."""
    shop(fake)
    async with replica(fake, store) as firebreak, asyncio.timeout(PATIENCE):
        fake.faults.add(Fault(when=watches, how=how, times=3))
        fake.drop_watches("incidents")
        await fake.called(watches, times=5)
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")


async def test_a_server_that_asks_for_patience_is_left_alone_for_so_long(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    loop = asyncio.get_running_loop()
    async with replica(fake, store), asyncio.timeout(PATIENCE):
        fake.faults.add(Fault(when=watches, how=Answer(429, retry_after=1), times=1))
        fake.drop_watches("incidents")
        await fake.called(watches, times=2)
        refused = loop.time()
        await fake.called(watches, times=3)
        assert loop.time() - refused > 0.9


async def test_an_incident_that_a_bug_meets_keeps_no_other_from_being_seen(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        metadata = {"namespace": "shop", "name": "odd", "uid": ["of another kind"]}
        firebreak.controller.seen({"metadata": metadata}, deleted=False)
        count = firebreak.tools.metrics.registry.get_sample_value
        assert count("firebreak_background_failures_total", {"work": "incidents"}) == 1


async def test_what_is_not_read_of_an_incident_is_left_at_the_door_of_list_and_watch(fake: FakeApi) -> None:
    """Whoever opens an incident may fill a quarter of a megabyte with it."""
    full = incident()
    full["metadata"] |= {"annotations": {"a": "b"}, "labels": {"c": "d"}, "managedFields": [{"manager": "kubectl"}]}
    fake.put(full)
    seen: list[Obj] = []

    def take(raw: Obj, *, deleted: bool) -> None:
        assert not deleted
        seen.append(raw)

    async with connect(fake) as api:
        found, _ = await incidents.listed(api)
    incidents.source(no_list, take).saw("ADDED", full)
    assert [sorted(raw["metadata"]) for raw in (*found.values(), *seen)] == [
        ["creationTimestamp", "generation", "name", "namespace", "resourceVersion", "uid"],
        ["name", "namespace", "uid"],
    ]


async def no_list() -> str:
    return ""
