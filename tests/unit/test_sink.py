"""Records on their way out: nobody waits for them, what fails is tried again, what is lost is counted and said."""

import asyncio
import io
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr, ValidationError

from ecs_fields import assert_ecs
from fake_api import FakeApi
from firebreak.evidence.store import EvidenceStore
from firebreak.intake.settings import IntakeSettings
from firebreak.model.ecs import Record, record
from firebreak.outward.posting import PostLimits
from firebreak.outward.sink import MOST_WAITING, CloudEvents, EcsLines, Output, Sink, counter, outputs
from firebreak.settings import Settings
from harness import replica
from intake_harness import events, execs, intake, until
from receiver import Receiver, Reply, receiving
from test_undone import POLICY, contained, event
from world import incident, shop

QUICK = PostLimits(timeout=0.5, budget=0.0, longest_pause=0.05)


class Work(StrEnum):
    SIEM = "siem"


class Counts:
    """What a sink counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = counter("records", self.registry)
        self.failures = Counter("failures", "", ("work",), registry=self.registry)

    def of(self, result: str, output: str = "ecs") -> float | None:
        return self.registry.get_sample_value("records_total", {"output": output, "result": result})


class Held:
    """An output that hands nothing over until it is let."""

    name = "ecs"
    place = "held"

    def __init__(self, *errors: Exception) -> None:
        self.go = asyncio.Event()
        self.errors = list(errors)
        self.sent: list[Record] = []

    async def send(self, record: Record) -> None:
        await self.go.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(record)

    async def close(self) -> None:
        pass


def sink(counts: Counts, *to: Output) -> Sink:
    return Sink(to, Work.SIEM, counts.records, counts.failures)


def made(number: int = 1) -> Record:
    return record("dev.firebreak.finding", "rule", {"@timestamp": "2026-11-21T12:00:00Z", "event": {"id": str(number)}})


def said(stream: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == event]


def poster(receiver: Receiver) -> CloudEvents:
    return CloudEvents(SecretStr(str(receiver.url)), SecretStr("X-Token: of-ours"), "prod", QUICK)


async def test_records_go_to_all_outputs_in_their_order(tmp_path: Path) -> None:
    counts, file = Counts(), tmp_path / "ecs.jsonl"
    async with receiving() as receiver:
        telling = sink(counts, EcsLines(file), poster(receiver))
        for number in range(3):
            telling.offer(made(number))
        await telling.close(5.0)
    assert [json.loads(line)["event"]["id"] for line in file.read_text().splitlines()] == ["0", "1", "2"]
    assert [json.loads(body)["id"] for body in receiver.bodies] == ["0", "1", "2"]
    assert (counts.of("sent"), counts.of("sent", "cloudevents"), counts.of("dropped")) == (3, 3, 0)


async def test_an_event_is_posted_in_the_structured_mode_with_the_header() -> None:
    async with receiving() as receiver:
        telling = sink(Counts(), poster(receiver))
        telling.offer(made())
        await telling.close(5.0)
    assert receiver.headers[0]["Content-Type"] == "application/cloudevents+json; charset=UTF-8"
    assert receiver.headers[0]["X-Token"] == "of-ours"
    assert json.loads(receiver.bodies[0])["source"] == "https://firebreak.dev/clusters/prod"


async def test_a_server_that_is_away_gets_the_same_event_later(lines: io.StringIO) -> None:
    counts = Counts()
    async with receiving(Reply(503), Reply(500)) as receiver:
        telling = sink(counts, poster(receiver))
        telling.offer(made())
        await receiver.posts(3)
        await telling.close(5.0)
    assert len(set(receiver.bodies)) == 1
    assert (counts.of("again", "cloudevents"), counts.of("sent", "cloudevents")) == (2, 1)
    (failed,) = said(lines, "output to the SIEM fails, records wait")
    assert (failed["to"], failed["error"]) == ("127.0.0.1", "127.0.0.1 answered 503")
    assert len(said(lines, "output to the SIEM works again")) == 1
    assert "SECRET" not in lines.getvalue()
    assert "of-ours" not in lines.getvalue()


async def test_what_a_server_refuses_is_dropped_and_the_next_goes_out(
    lines: io.StringIO,
) -> None:
    counts = Counts()
    async with receiving(Reply(400)) as receiver:
        telling = sink(counts, poster(receiver))
        telling.offer(made(1))
        telling.offer(made(2))
        await telling.close(5.0)
    assert (counts.of("dropped", "cloudevents"), counts.of("sent", "cloudevents")) == (1, 1)
    (dropped,) = said(lines, "records for the SIEM dropped")
    assert dropped["error"] == "127.0.0.1 answered 400"


async def test_a_server_that_hangs_holds_up_no_file(tmp_path: Path) -> None:
    counts = Counts()
    async with receiving(otherwise=Reply(hang=True)) as receiver:
        telling = sink(counts, poster(receiver), EcsLines(tmp_path / "ecs.jsonl"))
        for number in range(5):
            telling.offer(made(number))
        await until(lambda: counts.of("sent") == 5)
        await telling.close(0.0)
    assert counts.of("dropped", "cloudevents") == 5


async def test_what_finds_no_room_is_dropped_counted_and_said_once(
    lines: io.StringIO,
) -> None:
    counts, held = Counts(), Held()
    telling = sink(counts, held)
    for number in range(MOST_WAITING + 100):
        telling.offer(made(number))
    assert counts.of("dropped") == 100
    assert len(said(lines, "records for the SIEM dropped")) == 1
    held.go.set()
    await telling.close(5.0)
    assert [each.document["event"]["id"] for each in held.sent] == [str(number) for number in range(MOST_WAITING)]


async def test_a_full_disk_is_said_once_and_what_waited_is_written_when_there_is_room(
    lines: io.StringIO,
) -> None:
    counts, held = Counts(), Held(*[OSError(28, "No space left on device")] * 3)
    telling = sink(counts, held)
    telling.offer(made(1))
    telling.offer(made(2))
    held.go.set()
    await telling.close(10.0)
    assert [each.document["event"]["id"] for each in held.sent] == ["1", "2"]
    assert (counts.of("again"), counts.of("sent"), counts.of("dropped")) == (3, 2, 0)
    (failed,) = said(lines, "output to the SIEM fails, records wait")
    assert failed["error"] == "[Errno 28] No space left on device"


async def test_what_is_left_at_the_end_is_counted_and_said(lines: io.StringIO) -> None:
    counts = Counts()
    telling = sink(counts, Held())
    for number in range(3):
        telling.offer(made(number))
    await telling.close(0.05)
    assert counts.of("dropped") == 3
    (dropped,) = said(lines, "records for the SIEM dropped")
    assert (dropped["number"], dropped["error"]) == (3, "this process ended before they could go out")


async def test_closing_again_counts_nothing_again() -> None:
    """The operator does so: once when it is told to end, and once when it has ended."""
    counts = Counts()
    telling = sink(counts, Held())
    telling.offer(made())
    await telling.close(0.05)
    async with asyncio.timeout(1.0):
        await telling.close(60.0)
    assert counts.of("dropped") == 1


async def test_a_bug_costs_one_record(lines: io.StringIO) -> None:
    counts, held = Counts(), Held(RuntimeError("a bug"))
    telling = sink(counts, held)
    telling.offer(made(1))
    telling.offer(made(2))
    held.go.set()
    await until(lambda: len(held.sent) == 1)
    await telling.close(5.0)
    assert (counts.of("dropped"), counts.of("sent")) == (1, 1)
    assert counts.registry.get_sample_value("failures_total", {"work": "siem"}) == 1


async def test_a_sink_without_outputs_is_nothing() -> None:
    telling = sink(Counts())
    assert not telling
    telling.offer(made())
    await telling.close(1.0)


# --- settings


@pytest.mark.parametrize("kind", [Settings, IntakeSettings])
def test_the_settings_say_where_records_go(kind: Callable[..., Settings | IntakeSettings]) -> None:
    assert outputs(kind()) == []
    url = "https://siem.example/events/SECRET"
    found = outputs(kind(ecs_file="-", cluster="prod", cloudevents_url=url, cloudevents_header="X-Token: SECRET"))
    assert [(each.name, each.place) for each in found] == [("ecs", "stdout"), ("cloudevents", "siem.example")]
    (file,) = outputs(kind(ecs_file="/var/log/firebreak/ecs.jsonl"))
    assert file.place == "/var/log/firebreak/ecs.jsonl"


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Settings, {"ecs_file": "ecs.jsonl"}, "want the path of a file from / on, or `-` for stdout"),
        (Settings, {"cloudevents_url": "ftp://x/SECRET", "cluster": "a"}, "want https://HOST/PATH"),
        (Settings, {"cloudevents_url": "https://x/SECRET"}, "FIREBREAK_CLOUDEVENTS_URL needs FIREBREAK_CLUSTER"),
        (
            IntakeSettings,
            {"cloudevents_url": "https://x/SECRET"},
            "FIREBREAK_INTAKE_CLOUDEVENTS_URL needs FIREBREAK_INTAKE_CLUSTER",
        ),
        (IntakeSettings, {"cloudevents_header": "SECRET"}, "want one header as NAME: VALUE"),
    ],
)
def test_settings_that_are_wrong_stop_the_start(kind: Callable[..., Any], given: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        kind(**given)
    (problem,) = raised.value.errors(include_input=False)
    assert words in problem["msg"]
    assert "SECRET" not in problem["msg"]


# --- in the two processes


async def test_what_becomes_of_an_incident_is_told(fake: FakeApi, store: EvidenceStore, tmp_path: Path) -> None:
    shop(fake)
    file = tmp_path / "ecs.jsonl"
    async with replica(fake, store, ecs_file=str(file), cluster="prod") as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        await firebreak.until("shell", lambda s: s.get("phase") == "Closed")
    documents = [json.loads(line) for line in file.read_text().splitlines()]
    for document in documents:
        assert_ecs(document)
    actions = [document["event"]["action"] for document in documents]
    assert (actions[0], actions[-1], actions.count("incident-opened")) == ("incident-opened", "incident-closed", 1)
    turned = [document["labels"] for document in documents if document["event"]["action"] == "condition-turned"]
    assert {"Contained", "EvidencePreserved", "IdentityContained"} <= {labels["condition"] for labels in turned}
    assert len({document["event"]["id"] for document in documents}) == len(documents)
    assert "b2xkLXBhc3N3b3Jk" not in file.read_text()
    assert "literal-value-to-leave-out" not in file.read_text()


async def test_that_somebody_undid_a_cut_is_told(fake: FakeApi, store: EvidenceStore, tmp_path: Path) -> None:
    file = tmp_path / "ecs.jsonl"
    async with contained(fake, store, ecs_file=str(file)) as firebreak:
        fake.delete("NetworkPolicy", "shop", POLICY)
        await event(fake, f"policy {POLICY} was deleted")
        await firebreak.tools.notices.close()
    (undone,) = [each for each in map(json.loads, file.read_text().splitlines()) if "undone" in each["event"]["action"]]
    assert_ecs(undone)
    assert undone["event"]["action"] == "response-undone"
    assert undone["message"] == (
        f"incident shop/shell: policy {POLICY} was deleted, by whom only the audit log knows; it is done again"
    )


async def test_a_disk_that_takes_nothing_holds_no_incident_up(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store, ecs_file="/dev/full") as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        metrics = firebreak.tools.metrics.registry
        assert metrics.get_sample_value("firebreak_siem_records_total", {"output": "ecs", "result": "again"})


async def test_what_the_rules_find_is_told_once_each(
    fake: FakeApi,
    rules: Path,
    tmp_path: Path,
) -> None:
    for name in ("shop", "firebreak"):
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    file = tmp_path / "out" / "ecs.jsonl"
    file.parent.mkdir()
    async with intake(fake, rules=rules, ecs_file=str(file), cluster="prod") as sender:
        batch = events(execs("web-1", 1), execs("web-2", 2), execs("web-1", 1))
        await sender.post("audit", batch)
        await until(lambda: sender.metric('siem_records_total{output="ecs",result="sent"}') == 2)
    documents = [json.loads(line) for line in file.read_text().splitlines()]
    for document in documents:
        assert_ecs(document)
    assert [each["orchestrator"]["resource"]["name"] for each in documents] == ["web-1", "web-2"]
    assert {each["rule"]["id"] for each in documents} == {"exec-into-pod"}


async def test_a_finding_without_a_siem_is_an_alert_all_the_same(
    fake: FakeApi,
    rules: Path,
) -> None:
    async with intake(fake, rules=rules) as sender:
        await sender.post("audit", events(execs()))
        await until(lambda: sender.metric('findings_total{level="high"}') == 1)
