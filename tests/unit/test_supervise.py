"""Background work: what raises begins again and is seen, what hangs fails liveness, and what is cancelled ends."""

import asyncio
import io
import json

import aiohttp
import pytest
from prometheus_client import Counter

from fake_api import FakeApi
from firebreak.engine.case import Tools
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import Notices
from firebreak.engine.runtime import Runtime
from firebreak.engine.watches import Watches
from firebreak.engine.work import Work
from firebreak.kube.client import Api
from firebreak.kube.guard import Guards
from firebreak.kube.probe import save
from firebreak.kube.tiers import Tiers
from firebreak.model.enforcement import Enforcement, State
from firebreak.service import health
from firebreak.service.supervise import TURN, Pulse, growing_pause, supervise
from firebreak.settings import Settings
from firebreak.steps.drift import Followed
from harness import PATIENCE, Clock, connect
from world import UID, incident, shop


def failures(metrics: Metrics, work: str) -> float | None:
    return metrics.registry.get_sample_value("firebreak_background_failures_total", {"work": work})


def tools_of(api: Api, settings: Settings) -> Tools:
    notices = Notices(api, Clock(), "one")
    guards = Guards(api, "firebreak")
    return Tools(api=api, settings=settings, clock=Clock(), notices=notices, tiers=Tiers(api), guards=guards)


@pytest.fixture
def failed() -> Counter:
    return Metrics().background_failures


class Faulty:
    """Work that raises a number of times, and then goes on until it is cancelled."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.runs = 0
        self.steady = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self.times:
            raise KeyError("resourceVersion")
        self.steady.set()
        await asyncio.Event().wait()


async def test_work_that_raises_begins_again_and_is_counted_and_logged(lines: io.StringIO) -> None:
    faulty, metrics = Faulty(times=1), Metrics()
    task = asyncio.create_task(supervise(Work.WATCH, faulty.run, metrics.background_failures))
    async with asyncio.timeout(PATIENCE):
        await faulty.steady.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (faulty.runs, failures(metrics, "watch"), failures(metrics, "resync")) == (2, 1, 0)
    (line,) = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (line["event"], line["work"], line["level"]) == ("background work failed", "watch", "error")
    assert line["exception"].endswith("KeyError: 'resourceVersion'")


async def test_work_that_comes_to_its_end_is_not_begun_again(failed: Counter) -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    await supervise(Work.GUARDS, run, failed)
    assert runs == 1


@pytest.mark.parametrize("times", [0, 10**9], ids=["while it runs", "while it pauses"])
async def test_work_that_is_cancelled_ends(failed: Counter, times: int) -> None:
    faulty = Faulty(times)
    task = asyncio.create_task(supervise(Work.LEADERSHIP, faulty.run, failed))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert faulty.runs == 1


def test_the_pause_grows_and_has_an_end_however_often_something_failed() -> None:
    assert 0.2 <= growing_pause(1) <= 0.4
    assert 1.6 <= growing_pause(4) <= 3.2
    assert 15 <= growing_pause(10) <= 30
    assert 15 <= growing_pause(5000) <= 30


async def test_what_hangs_fails_liveness_by_name_and_nothing_else_does() -> None:
    pulse = Pulse()
    runner = await health.serve(0, Metrics().registry, pulse, lambda: True)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/healthz"

    async def asked(session: aiohttp.ClientSession) -> tuple[int, str]:
        async with session.get(url) as answer:
            return answer.status, await answer.text()

    async with aiohttp.ClientSession() as session:
        at_start = await asked(session)
        pulse.expect(Work.LEADERSHIP, TURN)
        pulse.expect(Work.RESYNC, 0.0)
        hanging = await asked(session)
        pulse.expect(Work.RESYNC, TURN)
        again = await asked(session)
    await runner.cleanup()
    assert (at_start, hanging, again) == ((200, "ok\n"), (503, "hangs: resync\n"), (200, "ok\n"))


@pytest.mark.parametrize("headers", [{"X": "y" * 3000}, {f"X-{number}": "y" for number in range(40)}])
async def test_the_port_for_probes_holds_little_of_a_head(headers: dict[str, str]) -> None:
    """Nobody proves anything there: seen on the port for alerts, heads of a megabyte take all memory."""
    runner = await health.serve(0, Metrics().registry, Pulse(), lambda: True)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/healthz"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 400
    await runner.cleanup()


async def test_a_watch_in_which_a_hint_raised_goes_on_from_a_list(fake: FakeApi) -> None:
    shop(fake)
    metrics, hints, hinted = Metrics(), list[str](), asyncio.Event()

    def hint(uid: str, step: str) -> None:
        hints.append(uid)
        if len(hints) == 1:
            raise RuntimeError(step)
        hinted.set()

    raw = incident(target={"selector": {"matchLabels": {"app": "web"}}})
    async with connect(fake) as api:
        watches = Watches(api, metrics, hint)
        watches.keep(Followed.of(raw), leading=True)
        async with asyncio.timeout(PATIENCE):
            await hinted.wait()
        watches.close()
    assert (hints[:2], failures(metrics, "watch")) == ([UID, UID], 1)


async def test_a_lease_that_cannot_be_read_keeps_nobody_from_leading_when_it_is_mended(fake: FakeApi) -> None:
    spec = {"holderIdentity": "other", "leaseDurationSeconds": "soon"}
    metadata = {"name": "firebreak", "namespace": "firebreak"}
    fake.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    async with connect(fake) as api:
        settings = Settings(pod="one", port=0, probe=False, lease_seconds=3)
        tools = tools_of(api, settings)
        async with Runtime(tools) as runtime, asyncio.timeout(PATIENCE):
            asked = len(await fake.called(lambda call: call.resource == "leases", 2))
            assert not runtime.controller.leading
            fake.update("Lease", "firebreak", "firebreak", {"spec": {"holderIdentity": "", "leaseDurationSeconds": 3}})
            (taken, *_) = await fake.called(lambda call: call.resource == "leases" and call.is_write)
            await fake.called(lambda call: call.n > taken.n and call.resource == "incidents")  # looked at anew
            assert runtime.controller.leading
    assert asked >= 2
    assert (failures(tools.metrics, "leadership") or 0) >= 1
    assert tools.pulse.overdue() == []


@pytest.mark.parametrize("at", ["2027-11-21T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00"])
async def test_a_record_of_enforcement_that_does_not_count_is_none_at_the_start(at: str, fake: FakeApi) -> None:
    record = Enforcement(State.PROVEN, at, "seen")
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})
    async with connect(fake) as api:
        await save(api, "firebreak", record)
        settings = Settings(pod="one", port=0, probe=False)
        tools = tools_of(api, settings)
        async with Runtime(tools):
            assert tools.enforcement.state is State.UNPROVEN
    assert failures(tools.metrics, "enforcement") in {None, 0}
