"""The desk: one incident for one thing, whoever tells of it and how often."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import unhurried
from fake_api import Answer, FakeApi, Fault, Meanwhile, Obj, running_fake
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.intake.containers import Containers
from firebreak.intake.desk import Desk
from firebreak.intake.metrics import Metrics
from firebreak.intake.opening import incident
from firebreak.intake.repeats import Repeats, closed_at
from firebreak.intake.routes import Decision, Routes
from firebreak.intake.taken import Outcome, Taken
from firebreak.kube.client import Api
from firebreak.kube.errors import Unavailable
from firebreak.model.change import Ref
from harness import connect
from intake_harness import NOW, opened, until
from test_tiers import Clock

CONTAINER = "f0ce447bc170"


DECIDED = Routes().decide(Alert("falco", "Shell", Severity.HIGH, NOW, ("Shell",), repeats=True, summary="a shell"))


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[Api]:
    for name in ("shop", "firebreak"):
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async with connect(fake) as connected:
        yield connected


def desk(api: Api, **routes: Any) -> Desk:
    return Desk(api, Routes.model_validate(routes), Containers(api), Metrics(), lambda: NOW)


def alert(pod: str = "web-1", *, seconds: float = 0, **more: Any) -> Alert:
    """An alert about a pod, so many seconds after NOW."""
    subject = Subject(namespace="shop", pod=pod) if pod else Subject()
    given: dict[str, Any] = {
        "source": "falco",
        "rule": "Shell",
        "severity": Severity.HIGH,
        "time": NOW + timedelta(seconds=seconds),
        "identity": ("Shell", pod),
        "repeats": True,
        "summary": "a shell",
        "subject": subject,
    }
    return Alert(**{**given, **more})


class Fields(dict[str, str]):
    """Fields to which there are weak references."""


def name_of(given: Alert) -> str:
    return incident(given, Routes().decide(given)).name


def close(fake: FakeApi, name: str, at: datetime) -> None:
    """Close an incident, as a person and the operator do."""
    found = fake.get("Incident", "shop", name)
    found["spec"] |= {"state": "Closed", "verdict": "FalsePositive"}
    fake.put({**found, "status": {"phase": "Closed", "timings": {"closedAt": at.isoformat()}}})


def writes(fake: FakeApi) -> list[str]:
    return [call.verb for call in fake.writes if call.resource == "incidents"]


def counted(found: Obj) -> tuple[str | None, str | None]:
    annotations = found["metadata"].get("annotations", {})
    return annotations.get("firebreak.dev/repeats"), annotations.get("firebreak.dev/last-seen")


async def test_an_alert_opens_the_incident_of_its_name(fake: FakeApi, api: Api) -> None:
    taken = await desk(api).take(alert(), "falco")
    assert taken == Taken(Outcome.OPENED, "shop", name_of(alert()))
    assert [found["metadata"]["name"] for found in opened(fake)] == [name_of(alert())]


async def test_fifty_of_one_at_once_are_one_create(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    taken = await asyncio.gather(*(at.take(alert(), "falco") for _ in range(50)))
    assert sorted(each.outcome for each in taken) == ["opened", *["repeated"] * 49]
    assert writes(fake) == ["create"]
    await at.repeats.flush()
    (found,) = opened(fake)
    assert counted(found) == ("49", "2026-11-21T12:00:00+00:00")
    assert writes(fake) == ["create", "patch"]


async def test_two_replicas_open_one_and_lose_no_count_to_each_other(fake: FakeApi, api: Api) -> None:
    one, two = desk(api), desk(api)
    for at in (one, two, one, two):
        await at.take(alert(), "falco")
    await asyncio.gather(one.repeats.flush(), two.repeats.flush())
    (found,) = opened(fake)
    assert counted(found)[0] == "3"


async def test_a_count_that_somebody_else_s_write_overtakes_is_written_again(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    await at.take(alert(), "falco")
    await at.take(alert(), "falco")

    def operator_writes() -> None:
        found = fake.get("Incident", "shop", name_of(alert()))
        fake.put({**found, "status": {"phase": "Contained"}})

    patching = Fault(when=lambda call: call.verb == "patch", how=Meanwhile(operator_writes), times=2)
    fake.faults.add(patching)
    await at.repeats.flush()
    assert counted(opened(fake)[0])[0] == "1"


async def never(_alert: Alert, _decision: Decision) -> None:
    raise AssertionError("the incident is open")


async def test_the_first_repeat_is_written_at_once_and_a_thousand_more_are_one_write(fake: FakeApi, api: Api) -> None:
    clock = Clock()
    counts = Repeats(api, never, Metrics().uncounted, clock)
    for name in ("one", "other"):
        fake.put(
            incident(alert(identity=(name,)), Routes().decide(alert())).body
            | {"metadata": {"name": name, "namespace": "shop"}}
        )
        counts.learn(("shop", name), Ref("Incident", name, "shop"), alert(), DECIDED)
    running = asyncio.create_task(counts.run())
    try:
        counts.count(("shop", "one"), alert())
        await until(lambda: writes(fake) == ["patch"])
        for _ in range(1000):
            counts.count(("shop", "one"), alert(seconds=1))
        clock.now += 9.9
        counts.count(("shop", "other"), alert())
        await until(lambda: len(writes(fake)) == 2)
        assert counted(fake.get("Incident", "shop", "one"))[0] == "1"
        clock.now += 0.1
        counts.learn(("shop", "third"), Ref("Incident", "third", "shop"), alert(), DECIDED)
        counts.count(("shop", "third"), alert())  # wakes it: its own timer counts real seconds
        await until(lambda: counted(fake.get("Incident", "shop", "one"))[0] == "1001")
    finally:
        running.cancel()
    assert counted(fake.get("Incident", "shop", "one")) == ("1001", "2026-11-21T12:00:01+00:00")
    assert [call.name for call in fake.writes] == ["one", "other", "one"]


async def test_what_happens_again_after_the_incident_was_closed_opens_the_next_generation(
    fake: FakeApi, api: Api
) -> None:
    at = desk(api)
    for generation in (1, 2, 3):
        seconds = generation * 60.0
        taken = await desk(api).take(alert(seconds=seconds), "falco")
        suffix = "" if generation == 1 else f"-{generation}"
        assert taken == Taken(Outcome.OPENED, "shop", name_of(alert()) + suffix)
        close(fake, taken.name, NOW + timedelta(seconds=seconds + 30))
    assert (await at.take(alert(seconds=60), "falco")).outcome is Outcome.REPEATED
    assert len(opened(fake)) == 3


async def test_what_is_sent_again_after_its_incident_was_closed_opens_nothing(fake: FakeApi, api: Api) -> None:
    """A replay, or Alertmanager that repeats what still fires: a person has seen it and decided."""
    first = desk(api)
    await first.take(alert(), "falco")
    close(fake, name_of(alert()), NOW + timedelta(seconds=30))
    again = desk(api)
    assert (await again.take(alert(), "falco")).outcome is Outcome.REPEATED
    await again.repeats.flush()
    (found,) = opened(fake)
    assert counted(found)[0] == "1"


async def test_one_that_knows_the_incident_opens_the_next_when_it_counts_and_finds_it_closed(
    fake: FakeApi, api: Api
) -> None:
    at = desk(api)
    await at.take(alert(), "falco")
    close(fake, name_of(alert()), NOW + timedelta(seconds=30))
    for _ in range(3):
        assert (await at.take(alert(seconds=60), "falco")).outcome is Outcome.REPEATED
    await at.repeats.flush()
    assert [found["metadata"]["name"] for found in opened(fake)] == [name_of(alert()), f"{name_of(alert())}-2"]
    await at.repeats.flush()
    assert [counted(found)[0] for found in opened(fake)] == [None, "2"]


async def test_an_api_server_that_goes_away_while_the_next_is_opened_loses_nothing(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    await at.take(alert(), "falco")
    close(fake, name_of(alert()), NOW + timedelta(seconds=30))
    for _ in range(3):
        await at.take(alert(seconds=60), "falco")
    fake.faults.add(Fault(when=lambda call: call.verb == "create", how=Answer(500)))
    await at.repeats.flush()
    fake.faults.clear()
    await at.repeats.flush()
    await at.repeats.flush()
    names = {found["metadata"]["name"]: counted(found)[0] for found in opened(fake)}
    assert names == {name_of(alert()): None, f"{name_of(alert())}-2": "2"}


async def test_a_megabyte_of_fields_is_not_kept_for_each_incident(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    kept = []
    for number in range(50):
        fields = Fields({str(key): "x" * 1000 for key in range(200)})
        kept.append(weakref.ref(fields))
        big = alert(f"web-{number}", identity=(str(number),), fields=fields)
        del fields
        await at.take(big, "falco")
        await at.take(big, "falco")
    del big
    gc.collect()
    assert [reference() for reference in kept] == [None] * 50


async def test_one_whose_incident_was_deleted_opens_it_anew(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    await at.take(alert(), "falco")
    async with connect(fake) as somebody:
        await somebody.request("DELETE", f"/apis/firebreak.dev/v1alpha1/namespaces/shop/incidents/{name_of(alert())}")
    await at.take(alert(), "falco")
    await at.repeats.flush()
    assert len(opened(fake)) == 1


@pytest.mark.parametrize(
    "taken", [{"mode": "Plan"}, {"target": {"pod": "other"}}, {"podUID": "another"}, {"mode": "Plan", "target": None}]
)
async def test_who_takes_the_name_before_holds_up_no_containment(
    fake: FakeApi, api: Api, taken: dict[str, Any]
) -> None:
    body = incident(alert(), Routes().decide(alert())).body
    spec = {key: value for key, value in {**body["spec"], **taken}.items() if value is not None}
    fake.put({**body, "spec": spec})
    assert await desk(api).take(alert(), "falco") == Taken(Outcome.OPENED, "shop", f"{name_of(alert())}-2")


async def test_who_takes_all_names_is_told_of_and_so_is_what_is_lost(fake: FakeApi, api: Api) -> None:
    body = incident(alert(), Routes().decide(alert())).body
    for number in range(1, 21):
        name = name_of(alert()) + (f"-{number}" if number > 1 else "")
        fake.put({**body, "metadata": {"name": name, "namespace": "shop"}, "spec": {**body["spec"], "mode": "Plan"}})
    taken = await desk(api).take(alert(), "falco")
    assert taken == Taken(Outcome.OPENED, "firebreak", name_of(alert()))
    assert "20 incidents have the name" in fake.get("Incident", "firebreak", name_of(alert()))["spec"]["reason"]


async def test_where_all_names_are_taken_in_the_fallback_too_the_alert_is_lost_and_said(
    fake: FakeApi, api: Api
) -> None:
    body = incident(alert(), Routes().decide(alert())).body
    for namespace in ("shop", "firebreak"):
        for number in range(1, 21):
            name = name_of(alert()) + (f"-{number}" if number > 1 else "")
            fake.put({**body, "metadata": {"name": name, "namespace": namespace}, "spec": {"target": {"pod": "x"}}})
    taken = await desk(api).take(alert(), "falco")
    assert taken.outcome is Outcome.LOST
    assert "namespace firebreak does not take it either: 20 incidents have the name" in taken.why


HARMLESS = {"name": "harmless", "match": {"rule": "Shell", "fields": {"process": "ls"}}}


@pytest.mark.parametrize(
    "harmless", [{"mode": "Plan"}, {"mode": "Preserve"}, {"playbook": "contain-not-yet"}, {"severity": "High"}]
)
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_harmless_alert_swallows_no_graver_one_of_the_same_rule_and_pod(
    fake: FakeApi, api: Api, harmless: dict[str, str], *, remembered: bool
) -> None:
    routes = {"routes": [HARMLESS | harmless]}
    at = desk(api, **routes)
    assert (await at.take(alert(fields={"process": "ls"}), "falco")).outcome is Outcome.OPENED
    taken = await (at if remembered else desk(api, **routes)).take(alert(severity=Severity.CRITICAL), "falco")
    assert taken == Taken(Outcome.OPENED, "shop", f"{name_of(alert())}-2")
    spec = fake.get("Incident", "shop", taken.name)["spec"]
    assert (spec["mode"], spec["playbook"], spec["severity"]) == ("Respond", "contain", "Critical")
    again = await at.take(alert(fields={"process": "ls"}), "falco")
    assert again == Taken(Outcome.REPEATED, "shop", name_of(alert()))


async def test_what_is_only_planned_is_a_repeat_of_what_is_responded_to(fake: FakeApi, api: Api) -> None:
    at = desk(api, routes=[HARMLESS | {"mode": "Plan"}])
    await at.take(alert(), "falco")
    taken = await at.take(alert(fields={"process": "ls"}), "falco")
    assert taken == Taken(Outcome.REPEATED, "shop", name_of(alert()))
    assert len(opened(fake)) == 1


def test_until_the_operator_says_when_an_incident_was_closed_its_last_write_does() -> None:
    entries = [
        {"time": "2026-11-21T12:00:10Z", "operation": "Update"},
        {"time": "2026-11-21T12:00:20Z", "operation": "Update", "subresource": "status"},
    ]
    metadata = {"creationTimestamp": "2026-11-21T12:00:00Z", "managedFields": entries}
    found = {"metadata": metadata, "spec": {"state": "Closed"}}
    assert closed_at(found) == datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)
    told = {**found, "status": {"timings": {"closedAt": "2026-11-21T12:00:15Z"}}}
    assert closed_at(told) == datetime(2026, 11, 21, 12, 0, 15, tzinfo=UTC)
    assert closed_at({**found, "spec": {"state": "Active"}}) is None


async def test_a_namespace_that_is_not_there_keeps_the_alert_as_a_plan_elsewhere(fake: FakeApi, api: Api) -> None:
    lost = alert(subject=Subject(namespace="gone", pod="web-1"))
    taken = await desk(api).take(lost, "falco")
    assert (taken.outcome, taken.namespace) == (Outcome.OPENED, "firebreak")
    (found,) = opened(fake)
    assert found["spec"]["mode"] == "Plan"
    assert "target" not in found["spec"]
    assert 'the API server refused it: namespaces "gone" not found' in found["spec"]["reason"]


async def test_what_admission_refuses_is_kept_as_a_plan_of_the_playbook_that_may_be_used(
    fake: FakeApi, api: Api
) -> None:
    words = "firebreak: alerts may not use playbook standard"
    refusing = Fault(
        when=lambda call: (call.body or {}).get("spec", {}).get("playbook") == "standard",
        how=Answer(403, message=words),
    )
    fake.faults.add(refusing)
    taken = await desk(api, default={"playbook": "standard"}).take(alert(), "falco")
    assert taken.outcome is Outcome.OPENED
    (found,) = opened(fake)
    assert (found["spec"]["mode"], found["spec"]["playbook"]) == ("Plan", "contain")
    assert words in found["spec"]["reason"]


async def test_what_not_even_the_fallback_takes_is_lost_and_said(fake: FakeApi, api: Api) -> None:
    fake.faults.add(Fault(when=lambda call: call.verb == "create", how=Answer(403, message="no")))
    taken = await desk(api).take(alert(), "falco")
    assert (taken.outcome, taken.why) == (Outcome.LOST, "namespace firebreak does not take it either: no")


async def test_an_api_server_that_is_away_is_an_error_and_not_a_loss(fake: FakeApi, api: Api) -> None:
    at = desk(api)
    fake.faults.add(Fault(when=lambda call: call.verb == "create", how=Answer(500)))
    with pytest.raises(Unavailable):
        await at.take(alert(), "falco")
    fake.faults.clear()
    assert (await at.take(alert(), "falco")).outcome is Outcome.OPENED


async def test_what_is_old_and_what_a_route_ignores_opens_nothing(fake: FakeApi, api: Api) -> None:
    ignoring = {"routes": [{"name": "quiet", "match": {"rule": "Shell"}, "ignore": True}]}
    found = [
        desk(api, **ignoring).at_once(alert()),
        desk(api).at_once(alert(seconds=-7200)),
        desk(api).at_once(alert()),
    ]
    assert [taken and taken.outcome for taken in found] == [Outcome.IGNORED, Outcome.STALE, None]
    assert opened(fake) == []


def pod(name: str, node: str = "node1", container: str = f"containerd://{CONTAINER}{'0' * 52}") -> Obj:
    statuses = [{"name": "app", "containerID": container}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
        "spec": {"nodeName": node},
        "status": {"containerStatuses": statuses},
    }


def in_container(node: str = "node1") -> Alert:
    return alert("", subject=Subject(container_id=CONTAINER, node=node))


async def test_a_container_is_resolved_to_its_pod_on_its_node(fake: FakeApi, api: Api) -> None:
    fake.put(pod("other", container="containerd://0000"))
    fake.put(pod("web-1"))
    fake.put(pod("namesake", node="node2"))
    taken = await desk(api).take(in_container(), "falco")
    (found,) = opened(fake)
    assert (taken.namespace, found["spec"]["target"], found["spec"]["podUID"]) == (
        "shop",
        {"pod": "web-1"},
        "uid-web-1",
    )


async def test_a_container_that_is_reported_a_moment_later_is_found(fake: FakeApi, api: Api) -> None:
    def comes() -> None:
        fake.put(pod("web-1"))

    looked = Meanwhile(comes)
    fake.faults.add(
        Fault(when=lambda call: call.verb == "list" and call.resource == "pods", how=looked, skip=1, times=1)
    )
    await desk(api).take(in_container(), "falco")
    assert opened(fake)[0]["spec"]["target"] == {"pod": "web-1"}


async def test_without_the_right_to_list_pods_it_is_a_plan_that_names_the_component(fake: FakeApi, api: Api) -> None:
    fake.faults.add(Fault(when=lambda call: call.resource == "pods", how=Answer(403, message="no")))
    await desk(api).take(in_container(), "falco")
    (found,) = opened(fake)
    assert found["spec"]["mode"] == "Plan"
    assert "kubectl apply -k manifests/components/intake-pods" in found["spec"]["reason"]


async def test_without_a_node_it_is_a_plan_and_no_pod_is_listed(fake: FakeApi, api: Api) -> None:
    await desk(api).take(in_container(node=""), "falco")
    assert "but not the node it runs on" in opened(fake)[0]["spec"]["reason"]
    assert [call for call in fake.calls if call.resource == "pods"] == []


async def test_a_storm_of_containers_lists_a_node_once(fake: FakeApi, api: Api) -> None:
    for number in range(20):
        fake.put(pod(f"web-{number}", container=f"containerd://{number:012x}"))
    at = desk(api)
    alerts = [
        replace(in_container(), identity=(str(number),), subject=Subject(container_id=f"{number:012x}", node="node1"))
        for number in range(20)
    ]
    await asyncio.gather(*(at.take(each, "falco") for each in alerts))
    assert len(opened(fake, "shop")) == 20
    assert len([call for call in fake.calls if call.resource == "pods"]) == 1


async def test_ten_thousand_different_ones_are_remembered_and_no_more(fake: FakeApi, api: Api) -> None:
    counts = desk(api).repeats
    for number in range(10_001):
        counts.learn(("shop", str(number)), Ref("Incident", str(number), "shop"), alert(), DECIDED)
    assert counts.count(("shop", "0"), alert()) is None
    assert counts.count(("shop", "1"), alert()) == Ref("Incident", "1", "shop")


STORY = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.sampled_from(["take", "flush", "close"])), max_size=12
)


@unhurried
@given(STORY)
async def test_whatever_replicas_do_an_open_thing_has_one_open_incident(story: list[tuple[int, int, str]]) -> None:
    async with running_fake() as fake, connect(fake) as connected:
        for name in ("shop", "firebreak"):
            fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        replicas = [desk(connected), desk(connected)]
        taken = 0
        for second, (which, pod_, what) in enumerate(story):
            given_ = alert(f"web-{pod_}", identity=(str(pod_),), seconds=second)
            if what == "take":
                await replicas[which].take(given_, "falco")
                taken += 1
            elif what == "flush":
                await replicas[which].repeats.flush()
            else:
                for found in opened(fake):
                    if found["spec"].get("state") != "Closed":
                        close(fake, found["metadata"]["name"], NOW + timedelta(seconds=second, milliseconds=500))
        for at in (*replicas, *replicas):
            await at.repeats.flush()
        incidents = opened(fake)
        still = [each["spec"]["target"]["pod"] for each in incidents if each["spec"].get("state") != "Closed"]
        assert len(still) == len(set(still))
        assert sum(int(counted(each)[0] or 0) for each in incidents) + len(incidents) == taken
