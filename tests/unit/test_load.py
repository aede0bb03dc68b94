"""Many incidents at once: cuts go first, namespaces take turns, and hostile captures delay nobody else.

Orders and counts, never times: how fast it is stands in docs/performance.md.
"""

import asyncio
from collections.abc import Iterable

import pytest

from fake_api import Call, ExecSession, FakeApi, Fault, Hold, Obj
from firebreak.engine.controller import SHORT
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.lanes import CUTS
from harness import PATIENCE, replica
from world import incident, is_cut, shell, web_pod

STORM_PATIENCE = 10 * PATIENCE  # seconds: a busy machine is no failure


@pytest.fixture
def store() -> EvidenceStore:
    return EvidenceStore.open("memory://")


def pod_of(namespace: str, number: int) -> Obj:
    pod = web_pod(f"web-{number}")
    pod["metadata"]["namespace"] = namespace
    return pod


def incident_of(namespace: str, number: int) -> Obj:
    found = incident(f"inc-{number}", f"{namespace}-{number:04}", target={"pod": f"web-{number}"})
    found["metadata"]["namespace"] = namespace
    return found


def open_all(fake: FakeApi, namespace: str, numbers: Iterable[int]) -> None:
    """Open an incident about each of these pods, all before anybody sees the first."""
    for number in numbers:
        fake.put(pod_of(namespace, number))
    for number in numbers:
        fake.put(incident_of(namespace, number))


async def test_a_thousand_incidents_at_once_are_cut_by_two_calls_each_and_before_the_rest(
    fake: FakeApi, store: EvidenceStore
) -> None:
    async with replica(fake, store):
        before = len(fake.calls)
        for each in range(10):
            open_all(fake, f"shop-{each}", range(100))
        async with asyncio.timeout(STORM_PATIENCE):
            await fake.called(is_cut, 2000)
        calls = fake.calls[before:]
    cuts = [call for call in calls if is_cut(call)]
    last = cuts[1999].n
    assert {call.status for call in cuts if call.n < last} <= {200, 201, None}
    assert len({(call.namespace, call.name or call.body["metadata"]["name"]) for call in cuts}) == 2000
    others = [call for call in calls if call.n < last and not is_cut(call) and call.verb != "watch"]
    assert len(others) <= 400  # of the tens of thousands that the whole response takes


async def test_the_first_incident_of_a_namespace_is_cut_next_whatever_waits_of_another(
    fake: FakeApi, store: EvidenceStore
) -> None:
    answer = asyncio.Event()
    fake.faults.add(Fault(when=is_cut, how=Hold(answer)))
    async with replica(fake, store):
        open_all(fake, "shop", range(200))
        async with asyncio.timeout(PATIENCE):
            await fake.called(is_cut, CUTS)
            open_all(fake, "bank", range(1))
            fake.put(incident("marker", "marker", mode="Preserve"))  # events come in order: when it is read, all were
            await fake.called(lambda call: call.name == "marker")
            before = len(fake.calls)
            answer.set()
            await fake.called(lambda call: is_cut(call) and call.namespace == "bank", 2)
        after = [call.namespace for call in fake.calls[before:] if is_cut(call)]
    assert after[:CUTS].count("bank") == 2  # of the seats that were free then


def is_hostile(namespace: str) -> bool:
    return namespace == "hostile"


async def stalls_in_the_copy(session: ExecSession) -> None:
    """In hostile pods tar says nothing for ever; the others have no shell."""
    if is_hostile(session.pod["metadata"]["namespace"]) and "tar" in str(session.command):
        await asyncio.Event().wait()
    await shell(session)


async def test_ten_hostile_captures_delay_no_other(fake: FakeApi, store: EvidenceStore) -> None:
    """Five stall in the copy of files, five in the log; the settings let four of each be read at once."""
    never = asyncio.Event()
    stalled = {f"web-{number}" for number in range(5, 10)}
    fake.containers.on_exec = stalls_in_the_copy
    fake.faults.add(Fault(when=lambda c: c.resource == "pods/log" and c.name in stalled, how=Hold(never)))
    async with replica(fake, store) as firebreak:
        open_all(fake, "hostile", range(10))
        async with asyncio.timeout(PATIENCE):
            execs = 10 + 4  # what dies first of each, and copies of files
            await fake.called(lambda call: call.resource == "pods/exec" and is_hostile(call.namespace), execs)
            await fake.called(lambda call: call.resource == "pods/log" and call.name in stalled, 4)
        open_all(fake, "shop", range(5))
        for number in range(5):
            await firebreak.until(f"inc-{number}", lambda s: bool(s.get("evidence", {}).get("seal")))
        sealed = [i["metadata"]["name"] for i in fake.list("Incident", "hostile") if "evidence" in i.get("status", {})]
    assert sealed == []


async def test_a_restart_reads_the_open_incidents_and_none_of_the_closed(fake: FakeApi, store: EvidenceStore) -> None:
    """The API server leaves the closed ones out: they cost a restart nothing, however many there are."""
    closed = {"phase": "Closed", "timings": {"cutAt": "2026-11-21T11:00:00.000000Z"}}
    settled = {"phase": "Responded", "timings": {"cutAt": "2026-11-21T11:00:00.000000Z"}}
    for number in range(5000):
        fake.put(incident_of("shop", number) | {"status": closed})
    for number in range(200):
        fake.put(incident_of("bank", number) | {"status": settled})
    async with replica(fake, store) as firebreak:
        await firebreak.controller.relist()
        assert firebreak.controller.listed
        in_hand = firebreak.tools.metrics.registry.get_sample_value("firebreak_incidents")
    assert in_hand == 200
    assert {call.namespace for call in fake.calls if call.resource.startswith("incidents")} <= {"", "bank"}


def judged(call: Call) -> bool:
    """Whether a call writes what became of a cut."""
    conditions = (call.body or {}).get("status", {}).get("conditions", []) if call.method == "PATCH" else []
    return any(c["type"] == "Contained" and c["status"] == "True" for c in conditions)


async def test_after_the_cut_so_many_incidents_are_worked_on_at_once_and_no_more(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """Thousands of incidents must not all be in memory with what was read for them, half done."""
    async with replica(fake, store):
        open_all(fake, "shop", range(100))
        async with asyncio.timeout(STORM_PATIENCE):
            await fake.called(judged, 100)
        calls = fake.calls
    opened, done, most = set[str](), set[str](), 0
    for call in calls:
        if call.resource == "incidents" and call.verb == "get":
            opened.add(call.name)
        elif judged(call):
            done.add(call.name)
        most = max(most, len(opened - done))
    assert most <= SHORT + 1  # the write that ends the work of one is on its way while the next begins
