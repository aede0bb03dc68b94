"""Patches of which the log has no answer: the API server drops the event of one whose body is no JSON."""

from pathlib import Path

import pytest

from detecting import Json, correlation, event, fed, load, names, rule
from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event
from firebreak.detect.rules import Allowance, RuleErrors
from firebreak.detect.unanswered import MOST_WAITING

LOST: Json = {"firebreak": {"unanswered": True}}
PATCHED = rule({"stage": "RequestReceived"}, **LOST)


def asked(seconds: float = 0, audit_id: str = "1", verb: str = "patch", user: str = "eve", uri: str = "/x") -> Event:
    stamp = f"received at {seconds}"
    return event(
        seconds,
        auditID=audit_id,
        stage="RequestReceived",
        verb=verb,
        user={"username": user},
        requestURI=uri,
        requestReceivedTimestamp=stamp,
    )


def later(seconds: float) -> Event:
    return event(seconds, verb="get", auditID=f"later {seconds}")


def test_a_patch_is_found_when_the_log_went_on_without_its_answer(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, PATCHED))
    assert fed(detector, asked(), later(150)) == []
    (found,) = fed(detector, later(151))
    assert found.events == (asked(),)
    assert found.time.isoformat() == "2026-11-21T10:00:00+00:00"
    assert fed(detector, later(500)) == []


def test_a_log_that_is_read_long_after_is_judged_by_its_own_time(tmp_path: Path) -> None:
    undated = Event(audit_id="2", verb="get")
    assert fed(load(tmp_path, PATCHED), asked(), later(10), undated) == []


def test_what_was_received_and_delivered_twice_is_answered_once(tmp_path: Path) -> None:
    answer = event(1, auditID="1", verb="patch", user={"username": "eve"}, requestURI="/x",
                   requestReceivedTimestamp="received at 0")  # fmt: skip
    assert fed(load(tmp_path, PATCHED), asked(), answer, asked(), later(500)) == []


def test_only_patches_are_waited_for(tmp_path: Path) -> None:
    assert fed(load(tmp_path, PATCHED), asked(verb="create"), later(500)) == []


def test_whom_an_administrator_allows_is_not_waited_for(tmp_path: Path) -> None:
    ruleset = load(tmp_path, PATCHED, allowed=(Allowance("found", ("eve",)),))
    assert fed(ruleset, asked(), later(500)) == []


def test_memory_has_an_end_and_what_is_not_waited_for_any_longer_is_found(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, PATCHED))
    for number in range(MOST_WAITING + 2):
        fed(detector, asked(audit_id=str(number), uri="/" + "x" * 10_000))
    found = fed(detector, later(0))
    assert [each.events[0].audit_id for each in found] == ["1"]
    assert len(found[0].events[0].request_uri) == 256
    assert names(fed(detector, later(500))) == ["found"] * MOST_WAITING


def test_a_correlation_neither_waits_nor_counts_what_is_waited_for(tmp_path: Path) -> None:
    count = correlation("event_count", ["found"], {"gte": 2})
    with pytest.raises(RuleErrors, match="'found' that it refers to waits for an answer"):
        load(tmp_path, PATCHED, count)
    with pytest.raises(RuleErrors, match=r"firebreak\.unanswered: a correlation has none"):
        load(tmp_path, rule({"verb": "get"}), {**count, **LOST})
