"""The breaker in the engine: what it reads before an automatic cut, for whom nothing is read, and what it counts."""

import asyncio

import pytest

from fake_api import Answer, Call, FakeApi, Fault, Hold, Obj
from fake_api.faults import How
from firebreak.engine.rails import Rails
from firebreak.evidence.store import EvidenceStore
from firebreak.model.incident import read
from firebreak.settings import Settings
from harness import PATIENCE, Clock, connect, replica
from world import KEY, POD_PATH, POLICIES_PATH, approval, incident, service, shop, web_pod

SIZES = {"daemonsets", "statefulsets", "replicasets"}
SELECTED = {"selector": {"matchLabels": {"tier": "front"}}}


def four_pods(fake: FakeApi) -> None:
    """The shop, with a Deployment that is to have four pods. Three of them carry a label of their own."""
    shop(fake)
    fake.update("ReplicaSet", "shop", "web-5d", {"spec": {"replicas": 4}})
    for name in ("web-5d-a", "web-5d-b", "web-5d-c"):
        fake.put(web_pod(name, labels={"app": "web", "tier": "front"}))
    fake.put(web_pod("web-5d-d"))


def read_sizes(call: Call) -> bool:
    return call.verb == "list" and call.resource.removesuffix(".apps") in SIZES


def before_the_cut(fake: FakeApi, since: int) -> list[str]:
    """What was asked until the first label or policy was on its way."""
    lines = [call.line for call in fake.calls[since:] if call.verb != "watch"]
    cut = next(n for n, line in enumerate(lines) if line == f"POST {POLICIES_PATH}" or line.startswith("PATCH /api/v1"))
    return lines[:cut]


def message(found: Obj) -> str:
    (contained,) = [c["message"] for c in found["status"]["conditions"] if c["type"] == "Contained"]
    return str(contained)


@pytest.mark.parametrize("target", [SELECTED, {"pod": "web-5d-c"}], ids=["at once", "one by one"])
async def test_the_first_alert_of_a_namespace_is_held_to_the_share_of_a_workload(
    fake: FakeApi, store: EvidenceStore, target: Obj
) -> None:
    four_pods(fake)
    async with replica(fake, store) as firebreak:
        if "pod" in target:
            for name in ("web-5d-a", "web-5d-b"):
                fake.put(incident(f"by-hand-{name}", f"uid-{name}", target={"pod": name}))
                await firebreak.condition(f"by-hand-{name}", "Contained", "True")
        fake.put(incident(target=target, source="falco"))
        found = await firebreak.condition("shell", "Contained", "False", "BreakerOpen")
    assert message(found).startswith("3 of the 4 pods of Deployment web would be under quarantine: evidence")
    assert KEY not in fake.get("Pod", "shop", "web-5d-c")["metadata"]["labels"]


@pytest.mark.parametrize(
    "spec", [{}, {"source": "falco", "severity": "Critical"}, {"source": "falco", "overrides": ["BreakerOpen"]}]
)
async def test_no_cut_but_an_automatic_one_that_is_not_critical_waits_for_a_read(
    fake: FakeApi, store: EvidenceStore, spec: Obj
) -> None:
    four_pods(fake)
    async with replica(fake, store) as firebreak:
        since = len(fake.calls)
        fake.put(incident(**spec))
        await firebreak.condition("shell", "Contained", "True")
    first_two = [c.line for c in fake.calls[since:] if c.verb != "watch"][:2]
    assert first_two == [f"PATCH {POD_PATH}", f"POST {POLICIES_PATH}"]
    assert not any(map(read_sizes, fake.calls[since:]))


async def test_a_storm_reads_the_sizes_of_a_namespace_once(fake: FakeApi, store: EvidenceStore) -> None:
    four_pods(fake)
    async with replica(fake, store) as firebreak:
        for name in ("web-1", "web-2", "web-5d-a"):
            fake.put(incident(name, f"uid-{name}", target={"pod": name}, source="falco"))
        for name in ("web-1", "web-2", "web-5d-a"):
            await firebreak.condition(name, "Contained", "True")
    assert len([call for call in fake.calls if read_sizes(call)]) == len(SIZES)


async def test_sizes_that_a_cut_had_to_read_outlast_a_reading_that_began_before(
    fake: FakeApi, store: EvidenceStore
) -> None:
    four_pods(fake)
    under_way = asyncio.Event()
    async with replica(fake, store) as firebreak:
        rails, api = firebreak.tools.rails, firebreak.tools.api
        fake.faults.add(Fault(when=lambda c: c.resource.startswith("apiservices"), how=Hold(under_way), times=1))
        reading = asyncio.create_task(rails.refresh(api))
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.resource.startswith("apiservices"))
        fake.put(incident(target={"pod": "web-1"}, source="falco"))
        await firebreak.condition("shell", "Contained", "True")
        under_way.set()
        await reading
    assert rails.known.sizes["shop"]["web-5d"].pods == 4


async def test_what_waits_for_sizes_keeps_the_place_that_it_came_to(fake: FakeApi) -> None:
    """Else what comes later takes it, on a replica that is slow, and what a quicker one has cut is held back there."""
    four_pods(fake)
    answered = asyncio.Event()
    fake.faults.add(Fault(when=read_sizes, how=Hold(answered)))
    rails = Rails(Settings(pod="one", breaker_namespace=1), Clock())
    first, second = (
        read(incident(name, f"uid-{name}", target={"pod": name}, source="falco")) for name in ("web-1", "web-2")
    )
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        for each in (first, second):
            rails.saw(each.raw)
        waiting = asyncio.create_task(rails.size(api, first))
        await fake.called(read_sizes)
        assert rails.breaker(second, ["web-2"]) is not None
        answered.set()
        await waiting
    assert rails.breaker(first, ["web-1"]) is None


@pytest.mark.parametrize("how", [Answer(403), Hold(asyncio.Event())], ids=["refused", "no answer"])
async def test_sizes_that_cannot_be_read_within_a_second_hold_nothing_back(
    fake: FakeApi, store: EvidenceStore, how: How, capfd: pytest.CaptureFixture[str]
) -> None:
    four_pods(fake)
    fake.faults.add(Fault(when=read_sizes, how=how))
    async with replica(fake, store) as firebreak:
        since = len(fake.calls)
        fake.put(incident(target=SELECTED, source="falco"))
        await firebreak.condition("shell", "Contained", "True")
    assert any("/replicasets" in line for line in before_the_cut(fake, since))
    assert "decided without the sizes of workloads" in capfd.readouterr().out


async def test_what_waits_for_approval_counts_only_from_its_cut_on(fake: FakeApi, store: EvidenceStore) -> None:
    four_pods(fake)
    fake.put(service("front", tier="front"))
    async with replica(fake, store, breaker_namespace=1, breaker_share=1) as firebreak:
        fake.put(incident("waits", "waits-uid", target=SELECTED, source="falco"))
        waits = (await firebreak.condition("waits", "Contained", "False", "AwaitingApproval"))["status"]
        fake.put(incident(source="falco"))
        await firebreak.condition("shell", "Contained", "True")
        digest = waits["steps"]["quarantine"]["digest"]
        fake.put(approval(digest, step="quarantine", about="waits"))  # a person's word: the breaker has none
        await firebreak.condition("waits", "Contained", "True")
        fake.put(incident("third", "third-uid", target={"pod": "web-2"}, source="falco"))
        found = await firebreak.condition("third", "Contained", "False", "BreakerOpen")
    assert message(found).startswith("2 automatic incidents of namespace shop have cut pods off within 10 minutes")


async def test_pods_of_a_cut_that_waits_are_no_share_of_their_workload_yet(fake: FakeApi, store: EvidenceStore) -> None:
    four_pods(fake)
    fake.put(service("front", tier="front"))
    async with replica(fake, store) as firebreak:
        fake.put(incident("waits", "waits-uid", target=SELECTED))
        await firebreak.until("waits", lambda s: s.get("heldBack") == "AwaitingApproval" and len(s["pods"]) == 3)
        await firebreak.controller.relist()
        fake.put(incident(target={"pod": "web-5d-d"}, source="falco"))
        await firebreak.condition("shell", "Contained", "True")


async def test_where_the_playbook_asks_nobody_the_breaker_still_decides(fake: FakeApi, store: EvidenceStore) -> None:
    four_pods(fake)
    fake.put(service("front", tier="front"))
    async with replica(fake, store) as firebreak:
        fake.put(incident(target=SELECTED, source="falco", playbook="unattended"))
        found = await firebreak.condition("shell", "Contained", "False", "BreakerOpen")
    assert message(found).startswith("3 of the 4 pods of Deployment web would be under quarantine: evidence")
