"""A storm of alerts, through the real intake to the real engine: what it costs, and what it must not keep from anybody.

How fast it is, and how much memory it takes, stands in docs/performance.md.
"""

import asyncio

import pytest

from fake_api import Call, FakeApi
from firebreak.evidence.store import EvidenceStore
from firebreak.intake.routes import load
from harness import PATIENCE, replica
from intake_harness import Sender, alertmanager, falco, intake, opened
from world import is_cut, shop, web_pod

STORM_PATIENCE = 10 * PATIENCE  # seconds: a busy machine is no failure
BOUND, RESERVE = 10, 5  # of a namespace's automatic incidents, as shipped
ATTACKS = load("routes: [{name: attacks, match: {source: alertmanager}, mode: Respond}]", "routes.yaml")


@pytest.fixture
def store() -> EvidenceStore:
    return EvidenceStore.open("memory://")


async def test_ten_thousand_repeats_of_one_alert_are_one_incident_and_two_further_writes(fake: FakeApi) -> None:
    """The first repeat is written at once, the others together, here when the intake ends."""
    shop(fake)
    async with intake(fake, burst=10_000) as sender:
        for _ in range(100):
            answers = await asyncio.gather(*(sender.post("falco", falco()) for _ in range(100)))
            assert {each.status for each in answers} == {202}
    (found,) = opened(fake, "shop")
    assert found["metadata"]["annotations"]["firebreak.dev/repeats"] == "9999"
    calls = [call.verb for call in fake.calls if call.resource == "incidents" and "dryRun" not in call.query]
    assert calls == ["create", "get", "patch", "get", "patch"]


async def test_a_thousand_different_alerts_open_the_breaker_and_critical_ones_are_contained_all_the_same(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    storm = [f"storm-{number}" for number in range(1_000)]
    critical = [f"critical-{number}" for number in range(RESERVE)]
    for name in (*storm, *critical):
        fake.put(web_pod(name, labels={}))
    async with replica(fake, store), intake(fake, routes=ATTACKS) as sender:
        await _first(sender, storm[:BOUND])
        await _contained(fake, storm[:BOUND])
        before = len(fake.calls)
        await _first(sender, storm[BOUND:])
        async with asyncio.timeout(STORM_PATIENCE):
            await fake.called(_opens, len(storm))
            await _first(sender, critical, severity="critical")
            await _contained(fake, critical)
        calls = fake.calls[before:]
    cut = {call.name for call in fake.calls if is_cut(call) and call.resource == "pods"}
    assert cut == {*storm[:BOUND], *critical}
    assert sum(_opens(call) for call in calls) == 1_000 - BOUND + RESERVE
    assert sum(is_cut(call) for call in calls) == 2 * RESERVE


async def _first(sender: Sender, pods: list[str], severity: str = "high") -> None:
    group = alertmanager(*pods)
    for each in group["alerts"]:
        each["labels"]["severity"] = severity
        each["fingerprint"] = each["labels"]["pod"]
    answer = await sender.post("alertmanager", group)
    assert (answer.status, answer.body["opened"]) == (200, len(pods))


async def _contained(fake: FakeApi, pods: list[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        for pod in pods:
            await fake.called(lambda call, pod=pod: is_cut(call) and call.name == pod)


def _opens(call: Call) -> bool:
    return call.verb == "create" and call.resource == "incidents" and "dryRun" not in call.query
