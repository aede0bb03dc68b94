"""Correlations: what comes together within a timespan, in which group, and how often that is said."""

from pathlib import Path

import pytest

from detecting import START, Json, correlation, event, fed, load, names, rule
from firebreak.detect.correlate import Counts, Tracker
from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event
from firebreak.detect.fields import Seen
from firebreak.detect.rules import Correlation

READ = rule({"objectRef.resource": "secrets"}, name="read")
WRITE = rule({"verb": "create"}, name="write")
LATER = START.timestamp() + 86_400
THREE = {"gte": 3}
THREE_NAMES = {"gte": 3, "field": "objectRef.name"}


def read(seconds: float, name: str = "a", user: str = "mallory", **more: object) -> Event:
    """A secret that somebody reads."""
    fields = {"user": {"username": user}, "objectRef": {"resource": "secrets", "name": name}, "verb": "get"}
    return event(seconds, **{**fields, **more})


def write(seconds: float, user: str = "mallory") -> Event:
    return event(seconds, verb="create", user={"username": user})


@pytest.mark.parametrize(
    ("condition", "events", "fires"),
    [
        (THREE, [read(0), read(1), read(2)], 1),
        (THREE, [read(0), read(1)], 0),
        ({"gt": 2}, [read(0), read(1), read(2)], 1),
        ({"gt": 2}, [read(0), read(1)], 0),
        (THREE, [read(0), read(30), read(60)], 1),
        (THREE, [read(0), read(30), read(60.001)], 0),
        (THREE, [read(0), read(30), read(61), read(62)], 1),
        (THREE, [read(0), read(1), read(2, user="bob")], 0),
        (THREE, [read(0), read(1), write(2)], 0),
        ({"gte": 1}, [read(0)], 1),
    ],
)
def test_events_are_counted_within_the_timespan_and_the_group(
    tmp_path: Path, condition: Json, events: list[Event], fires: int
) -> None:
    found = fed(load(tmp_path, READ, correlation("event_count", ["read"], condition)), *events)
    assert names(found) == ["together"] * fires


@pytest.mark.parametrize(
    ("events", "fires"),
    [
        ([read(0, "a"), read(1, "b"), read(2, "c")], 1),
        ([read(0, "a"), read(1, "b"), read(2, "a"), read(3, "b")], 0),
        ([read(0, "a"), read(1, "b"), read(70, "c")], 0),
        ([read(0, "a"), read(1, "b"), read(59, "a"), read(61, "c")], 1),
        ([read(0, "a"), read(1, "b"), read(2, "")], 0),
    ],
)
def test_distinct_values_are_counted(tmp_path: Path, events: list[Event], fires: int) -> None:
    found = fed(load(tmp_path, READ, correlation("value_count", ["read"], THREE_NAMES)), *events)
    assert names(found) == ["together"] * fires


@pytest.mark.parametrize(
    ("events", "fires"),
    [
        ([read(0), write(30)], 1),
        ([write(0), read(30)], 1),
        ([read(0), read(1)], 0),
        ([read(0), write(61)], 0),
        ([read(0), write(1, user="bob")], 0),
    ],
)
def test_temporal_wants_all_rules_in_any_order(tmp_path: Path, events: list[Event], fires: int) -> None:
    both = correlation("temporal", ["read", "write"], {"gte": 2})
    assert names(fed(load(tmp_path, READ, WRITE, both), *events)) == ["together"] * fires


def test_temporal_wants_all_rules_when_nothing_else_is_said(tmp_path: Path) -> None:
    both = correlation("temporal", ["read", "write"], {})
    del both["correlation"]["condition"]
    assert names(fed(load(tmp_path, READ, WRITE, both), read(0), write(1))) == ["together"]


def test_a_finding_has_the_events_that_completed_it_and_the_group(tmp_path: Path) -> None:
    events = [read(0, "a"), read(1, "b"), read(2, "c"), read(3, "d")]
    found = fed(load(tmp_path, READ, correlation("value_count", ["read"], THREE_NAMES)), *events)
    assert [e.object_ref.name for e in found[0].events if e.object_ref] == ["a", "b", "c"]
    assert (found[0].group, found[0].level) == ((("user.username", "mallory"),), "critical")
    assert (found[0].time - START).total_seconds() == 2


def test_it_fires_once_for_each_timespan_that_it_goes_on(tmp_path: Path) -> None:
    events = [read(each) for each in range(200)]
    found = fed(load(tmp_path, READ, correlation("event_count", ["read"], THREE)), *events)
    assert [(finding.time - START).total_seconds() for finding in found] == [2, 62, 122, 182]


def test_what_goes_on_all_day_is_one_entry_with_a_fresh_event(tmp_path: Path) -> None:
    """A pod that calls from one address keeps nothing but its latest moment, and no event that is long over."""
    counts = Counts()
    one = tracker(tmp_path, 10_000, counts)
    for second in range(0, 1000, 5):
        one.add(Seen(read(second, "a", auditID=str(second))), "read", START.timestamp() + second, LATER)
    assert one.kept == 1
    for second, name in enumerate("bcd", 1000):
        one.add(Seen(read(second, name)), "read", START.timestamp() + second, LATER)
    events, _ = one.add(Seen(read(1054, "e")), "read", START.timestamp() + 1054, LATER)
    assert [e.object_ref.name for e in events if e.object_ref] == ["a", "b", "c", "d", "e"]
    assert int(events[0].audit_id) >= 980


def test_it_does_not_fire_again_for_what_it_fired_for(tmp_path: Path) -> None:
    events = [read(0), read(1), read(2), read(70)]
    found = fed(load(tmp_path, READ, correlation("event_count", ["read"], THREE)), *events)
    assert [(finding.time - START).total_seconds() for finding in found] == [2]


def test_events_that_come_out_of_order_count_all_the_same(tmp_path: Path) -> None:
    """Three API servers, each of which sends what it has every half minute."""
    events = [read(2, "c"), read(40, "x"), read(0, "a"), read(1, "b")]
    found = fed(load(tmp_path, READ, correlation("value_count", ["read"], THREE_NAMES, timespan="10s")), *events)
    assert [e.object_ref.name for e in found[0].events if e.object_ref] == ["a", "b", "c"]


def test_what_comes_much_too_late_is_counted_and_left_out(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, READ, correlation("event_count", ["read"], THREE)))
    assert fed(detector, read(1000), read(0), read(1), read(2)) == []
    assert detector.counts.late == 3


def test_rules_that_are_only_referred_to_do_not_fire(tmp_path: Path) -> None:
    quiet = load(tmp_path, READ, WRITE, correlation("event_count", ["read"], {"gte": 2}))
    assert names(fed(quiet, read(0), write(1), read(2))) == ["write", "together"]
    loud = load(tmp_path, READ, correlation("event_count", ["read"], {"gte": 2}, generate=True))
    assert names(fed(loud, read(0), read(1))) == ["read", "read", "together"]


def test_aliases_name_the_same_thing_in_events_of_different_rules(tmp_path: Path) -> None:
    aliases = {"whom": {"read": "user.username", "write": "impersonatedUser.username"}}
    grouped: Json = {"group-by": ["whom"]}
    both = correlation("temporal", ["read", "write"], {"gte": 2}, aliases=aliases, **grouped)
    found = fed(
        load(tmp_path, READ, WRITE, both), read(0), event(1, verb="create", impersonatedUser={"username": "mallory"})
    )
    assert found[0].group == (("whom", "mallory"),)


def test_several_rules_may_feed_one_count(tmp_path: Path) -> None:
    found = fed(
        load(tmp_path, READ, WRITE, correlation("event_count", ["read", "write"], THREE)), read(0), write(1), read(2)
    )
    assert names(found) == ["together"]


def test_two_stages_of_one_request_count_once(tmp_path: Path) -> None:
    ruleset = load(tmp_path, READ, correlation("event_count", ["read"], {"gte": 2}))
    received = "2026-11-21T10:00:00.000001Z"
    one = read(0, auditID="1", stage="ResponseStarted", requestReceivedTimestamp=received)
    two = read(1, auditID="1", stage="ResponseComplete", requestReceivedTimestamp=received)
    assert fed(ruleset, one, two) == []


def test_an_event_that_comes_again_counts_once_and_is_told_once(tmp_path: Path) -> None:
    ruleset = load(tmp_path, READ, correlation("event_count", ["read"], {"gte": 2}))
    one, two = read(0, auditID="1"), read(1, auditID="2")
    assert names(fed(ruleset, one, one, one)) == []
    assert names(fed(ruleset, one, two, one, two)) == ["together"]


def test_a_caller_who_chooses_the_audit_id_does_not_make_many_requests_one(tmp_path: Path) -> None:
    """The API server takes the header Audit-ID from anybody: seen on 1.35."""
    ruleset = load(tmp_path, READ, correlation("event_count", ["read"], THREE))
    events = [read(each, auditID="mine", requestReceivedTimestamp=f"2026-11-21T10:00:0{each}Z") for each in range(3)]
    assert names(fed(ruleset, *events)) == ["together"]


def tracker(tmp_path: Path, most: int, counts: Counts) -> Tracker:
    loaded = load(tmp_path, READ, correlation("value_count", ["read"], {"gte": 5, "field": "objectRef.name"}))
    assert isinstance(loaded.correlations[0], Correlation)
    return Tracker(loaded.correlations[0], counts, most)


def test_many_groups_are_forgotten_from_the_quietest_on_and_counted(tmp_path: Path) -> None:
    counts = Counts()
    small = tracker(tmp_path, 100, counts)
    for number in range(1000):
        small.add(Seen(read(0, user=f"u{number}")), "read", START.timestamp(), LATER)
        if number % 50 == 0:
            small.add(Seen(read(0, f"s{number // 50 % 4}", user="mallory")), "read", START.timestamp(), LATER)
    assert small.kept <= 100
    assert counts.evicted > 800
    events, group = small.add(Seen(read(1, "d")), "read", START.timestamp() + 1, LATER)
    assert (len(events), group) == (5, ("mallory",))


def test_a_group_that_is_over_is_forgotten_and_not_counted(tmp_path: Path) -> None:
    counts = Counts()
    small = tracker(tmp_path, 100, counts)
    for number in range(1000):
        small.add(Seen(read(0, user=f"u{number}")), "read", START.timestamp() + number * 10, LATER)
    assert small.kept < 20
    assert counts.evicted == 0


def test_one_group_keeps_no_more_than_it_needs(tmp_path: Path) -> None:
    big = tracker(tmp_path, 10_000, Counts())
    for number in range(1000):
        big.add(Seen(read(0, f"n{number}")), "read", START.timestamp(), LATER)
    assert big.kept == 10


def test_what_is_kept_of_an_event_has_no_body_and_no_long_text(tmp_path: Path) -> None:
    long = "x" * 100_000
    ruleset = load(tmp_path, READ, correlation("event_count", ["read"], {"gte": 1}))
    one = read(0, long, requestURI=long, userAgent=long, requestObject={"a": long}, responseObject={"a": long})
    (found,) = fed(ruleset, one)
    kept = found.events[0]
    assert kept.object_ref
    assert {len(kept.object_ref.name), len(kept.request_uri), len(kept.user_agent)} == {256}
    assert (bytes(kept.request_object), bytes(kept.response_object)) == (b"", b"")


def test_long_values_that_differ_at_their_end_are_different(tmp_path: Path) -> None:
    ruleset = load(tmp_path, READ, correlation("value_count", ["read"], THREE_NAMES))
    events = [read(each, "x" * 1000 + str(each)) for each in range(3)]
    assert names(fed(ruleset, *events)) == ["together"]
