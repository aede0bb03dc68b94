"""What is seen of a running Firebreak from outside: log lines that name incident and step, and numbers to scrape."""

import io
import json

import aiohttp

from fake_api import FakeApi
from firebreak.engine.controller import Controller
from firebreak.evidence.store import EvidenceStore
from firebreak.service import health
from harness import replica
from world import incident, shop


async def test_every_line_about_a_response_names_the_incident_and_the_step(
    fake: FakeApi, store: EvidenceStore, lines: io.StringIO
) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    steps = {
        event: {line["step"] for line in found if line["event"] == event} for event in ("cut", "captured", "change")
    }
    assert steps == {"cut": {"quarantine"}, "captured": {"capture"}, "change": {"revoke", "rotate"}}
    assert {line["incident"] for line in found} == {"shop/shell"}


async def scraped(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


async def test_the_numbers_are_those_of_the_moment_they_are_scraped(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak, aiohttp.ClientSession() as session:
        runner = await health.serve(0, firebreak.tools.metrics.registry, firebreak.tools.pulse, lambda: True)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert (await scraped(session, url))["firebreak_incidents"] == 0
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        during = await scraped(session, url)
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        await firebreak.until("shell", lambda s: s.get("phase") == "Closed")
        firebreak.controller.seen(firebreak.incident("shell"), deleted=True)
        after = await scraped(session, url)
        await runner.cleanup()
    assert during["firebreak_incidents"] == during["firebreak_leader"] == during["firebreak_contain_seconds_count"] == 1
    assert during['firebreak_step_results_total{result="Done",step="rotate"}'] == 2
    assert during["firebreak_jobs"] >= 3, "what is done is looked at again"
    assert during['firebreak_step_seconds_count{step="quarantine"}'] >= 1
    assert during["firebreak_evidence_bytes_total"] > 0
    assert (after["firebreak_incidents"], after["firebreak_jobs"]) == (0, 0)


async def test_a_replica_is_ready_when_it_has_seen_the_incidents(fake: FakeApi) -> None:
    async with replica(fake) as firebreak:
        controller = Controller(firebreak.tools)
        assert not controller.listed
        await controller.relist()
        assert controller.listed
