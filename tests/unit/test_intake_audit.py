"""Audit events in: accepted at once, put through the rules after, each finding an alert like any other."""

import asyncio
import json
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_api import FakeApi, Fault, Hold
from firebreak.detect.decoding import Malformed
from firebreak.detect.event import Event
from firebreak.detect.finding import Finding
from firebreak.detect.reading import sent
from firebreak.intake.audit import AuditStream
from firebreak.intake.limits import Budget
from harness import PATIENCE
from hostile import hostile
from intake_harness import Sender, events, execs, falco, intake, opened, until


@pytest.fixture(autouse=True)
def a_shop(fake: FakeApi) -> None:
    for name in ("shop", "firebreak"):
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def looked_at(sender: Sender, number: int) -> None:
    await until(lambda: sender.metric("audit_events_total") >= number)


async def test_an_exec_becomes_an_incident_about_the_pod_and_what_is_ordinary_nothing(
    fake: FakeApi, rules: Path
) -> None:
    async with intake(fake, rules=rules) as sender:
        answered = await sender.post("audit", events(execs(), execs(verb="list", number=2)))
        assert answered.status == 200
        await fake.until(lambda: opened(fake, "shop") != [])
        assert sender.metric('findings_total{level="high"}') == 1
        assert sender.metric("audit_repeats") == 0
        await sender.post("audit", events(execs()))
        await until(lambda: sender.metric("audit_repeats") == 1)
    (found,) = opened(fake)
    assert (found["spec"]["target"], found["spec"]["source"]) == ({"pod": "web-1"}, "audit")
    assert json.loads(found["metadata"]["annotations"]["firebreak.dev/alert"])["auditIDs"] == ["id-1"]


async def test_a_batch_that_is_sent_again_finds_nothing_again(fake: FakeApi, rules: Path) -> None:
    async with intake(fake, rules=rules) as sender:
        for _ in range(3):
            await sender.post("audit", events(execs()))
        await looked_at(sender, 3)
        assert sender.metric('findings_total{level="high"}') == 1


async def test_what_is_no_event_is_counted_and_the_others_of_its_batch_are_looked_at(
    fake: FakeApi, rules: Path
) -> None:
    async with intake(fake, rules=rules) as sender:
        await sender.post("audit", events({"verb": 7}, execs()))
        await sender.post("audit", b"no json at all")
        await until(lambda: sender.metric("audit_malformed_total") == 2)
        await until(lambda: len(opened(fake)) == 1 and sender.metric("buffer_bytes") == 0)


async def test_alerts_are_taken_while_an_event_takes_its_time(fake: FakeApi) -> None:
    """Seen: one body of ten megabytes of `[],` held up probes and alerts for half a minute."""
    async with intake(fake) as sender:
        started, goes_on = threading.Event(), threading.Event()

        def feed(_: Event) -> list[Finding]:
            started.set()
            assert goes_on.wait(PATIENCE)
            return []

        running = sender.intake
        stream = AuditStream(feed, lambda _: None, running.backlog, Budget(2**20), running.metrics)
        looking = asyncio.create_task(stream.look_at([Event(verb="get")]))
        await until(started.is_set)
        assert (await sender.post("falco", falco())).status == 202
        goes_on.set()
        await looking


async def test_what_is_followed_and_what_is_sent_are_never_looked_at_together(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        inside: list[int] = []

        def feed(_: Event) -> list[Finding]:
            inside.append(1)
            assert len(inside) == 1
            inside.pop()
            return []

        running = sender.intake
        stream = AuditStream(feed, lambda _: None, running.backlog, Budget(2**20), running.metrics)
        await asyncio.gather(*(stream.look_at([Event(verb="get")] * 1000) for _ in range(4)))


async def test_a_batch_of_nothing_but_noise_is_left_after_a_while(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        await sender.post("audit", b"0\n" * 150_000)
        await until(lambda: sender.metric("buffer_bytes") == 0)
        assert sender.metric("audit_malformed_total") == 100_100


def test_a_list_of_noise_takes_memory_in_proportion() -> None:
    """Seen: ten megabytes of it took 520, of the 512 that the container has."""
    body = b'{"items":[' + b"0," * 2**20 + b"0]}"
    tracemalloc.start()
    try:
        assert isinstance(next(sent(body)), Malformed)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(body)
    finally:
        tracemalloc.stop()


async def test_the_api_server_is_answered_before_the_rules_have_looked_and_told_to_come_again_when_too_much_waits(
    fake: FakeApi, rules: Path
) -> None:
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.verb == "create", how=Hold(there)))
    async with intake(fake, rules=rules, buffer_bytes=2**20, alert_bytes=2**16, audit_bytes=2**16) as sender:
        many = [events(*(execs(f"web-{n}-{m}", 100 * n + m) for m in range(100))) for n in range(20)]
        answers = [await sender.post("audit", each) for each in many]
        assert {each.status for each in answers} == {200, 503}
        refused = next(each for each in answers if each.status == 503)
        assert (refused.body["refused"], refused.headers["Retry-After"]) == ("overload", "5")
        taken = sum(each.status == 200 for each in answers)
        there.set()
        await until(lambda: len(opened(fake)) == 100 * taken)
        assert sender.metric("buffer_bytes") == 0


def test_an_event_that_is_nested_without_end_hides_no_other() -> None:
    deep = '{"verb": "patch", "requestObject": ' + "[" * 100_000 + "]" * 100_000 + "}"
    body = '{"items": [' + deep + ', {"verb": "get"}]}'
    assert [each.verb for each in sent(body.encode()) if isinstance(each, Event)] == ["patch", "get"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
)


@hostile
@given(
    st.binary() | JSON.map(json.dumps).map(str.encode) | st.lists(JSON).map(lambda i: json.dumps({"items": i}).encode())
)
def test_whatever_comes_is_an_event_or_nothing(body: bytes) -> None:
    assert all(isinstance(each, Event | Malformed) for each in sent(body))


async def test_what_is_written_to_the_log_file_becomes_an_incident_and_is_not_read_again_after_a_restart(
    fake: FakeApi, rules: Path, tmp_path: Path
) -> None:
    log, kept = tmp_path / "audit.log", tmp_path / "checkpoint"
    log.write_text(json.dumps(execs("before", 0)) + "\n")
    async with intake(fake, rules=rules, audit_log=log, audit_checkpoint=kept) as sender:
        await until(kept.exists)
        begun = kept.read_bytes()
        with log.open("a") as file:
            file.write(json.dumps(execs()) + "\nno JSON\n")
        await until(lambda: len(opened(fake, "shop")) == 1 and kept.read_bytes() != begun)
        assert sender.metric("audit_malformed_total") == 1
    with log.open("a") as file:
        file.write(json.dumps(execs("web-2", 2)) + "\n")
    async with intake(fake, rules=rules, audit_log=log, audit_checkpoint=kept) as sender:
        await until(lambda: len(opened(fake, "shop")) == 2)
        assert sender.metric("audit_events_total") == 1


async def test_what_is_written_while_no_checkpoint_can_be_kept_is_found_all_the_same(
    fake: FakeApi, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen: each checkpoint that failed began the work again at the end of the log, and what was between was lost."""
    log, kept = tmp_path / "audit.log", tmp_path / "gone" / "checkpoint"
    log.write_text(json.dumps(execs("before", 0)) + "\n")
    async with intake(fake, rules=rules, audit_log=log, audit_checkpoint=kept) as sender:
        await until(lambda: "the audit log cannot be read" in capsys.readouterr().out)  # its end is not kept: it began
        for number in range(1, 4):
            with log.open("a") as file:
                file.write(json.dumps(execs(f"web-{number}", number)) + "\n")
            await until(lambda number=number: len(opened(fake, "shop")) == number)
        await until(lambda: "how far the audit log was read is not kept" in capsys.readouterr().out)
        kept.parent.mkdir()
        await until(kept.exists)
        assert sender.metric('background_failures_total{work="follow"}') == 0
