"""The detector: what comes again, who is allowed, and events of which nobody knows what is in them."""

import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detecting import START, Json, correlation, event, fed, load, names, rule
from firebreak.detect.allowing import read_allowances
from firebreak.detect.answers import LONGEST, MOST, Answers
from firebreak.detect.evaluate import REMEMBERED, Detector
from firebreak.detect.event import Event, ObjectRef, Status, User
from firebreak.detect.rules import Allowance, RuleErrors, Ruleset
from hostile import hostile

GET = rule({"verb": "get"})


def test_another_call_that_ends_in_the_same_microsecond_under_the_same_audit_id_is_no_repeat(tmp_path: Path) -> None:
    calls = [event(verb="get", auditID="1", requestURI=f"/{name}") for name in ("harmless", "real")]
    assert names(fed(load(tmp_path, GET), *calls)) == ["found", "found"]


def test_expressions_that_are_too_large_together_are_looked_for_one_after_the_other(tmp_path: Path) -> None:
    """Seen: twenty of these loaded, and the intake ended at its start."""
    large = rule({"userAgent|re": [f"(?i)x{number}.{{0,900}}y" for number in range(20)]})
    found = fed(load(tmp_path, large), *(event(userAgent=agent) for agent in ("x0y", "X19 and Y", "x20", "y19x")))
    assert [finding.events[0].user_agent for finding in found] == ["x0y", "X19 and Y"]


def test_an_event_that_comes_again_is_skipped_and_counted(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, GET))
    one = event(verb="get", auditID="1")
    assert names(fed(detector, one, one, event(1, verb="get", auditID="2"), one)) == ["found", "found"]
    assert detector.counts.repeats == 2


@pytest.mark.parametrize("stages", [("RequestReceived", "ResponseComplete"), ("RequestReceived", "ResponseStarted")])
def test_a_call_whose_stages_all_match_is_found_once(tmp_path: Path, stages: tuple[str, ...]) -> None:
    asked, answered = (event(verb="get", auditID="1", stage=stage) for stage in stages)
    detector = Detector(load(tmp_path, GET))
    assert [finding.events for finding in fed(detector, asked, answered)] == [(asked,)]
    assert detector.counts.repeats == 0


def test_a_call_that_lasts_is_found_once_when_it_begins(tmp_path: Path) -> None:
    begun, ended = (event(verb="get", auditID="1", stage=stage) for stage in ("ResponseStarted", "ResponseComplete"))
    found = fed(load(tmp_path, GET), begun, ended)
    assert [finding.events for finding in found] == [(begun,)]


def test_a_call_that_lasts_is_found_when_it_ends_if_its_beginning_was_not_logged(tmp_path: Path) -> None:
    assert names(fed(load(tmp_path, GET), event(verb="get", auditID="1", stage="ResponseComplete"))) == ["found"]


def test_a_caller_who_chooses_the_audit_id_hides_nothing_behind_a_first_call(tmp_path: Path) -> None:
    """The API server takes the header Audit-ID from anybody, as often as he likes: seen on 1.35."""
    calls = [event(each, verb="get", auditID="mine", requestURI="/api") for each in range(3)]
    assert names(fed(load(tmp_path, GET), *calls)) == ["found"] * 3


def test_an_event_without_audit_id_is_never_a_repeat(tmp_path: Path) -> None:
    assert names(fed(load(tmp_path, GET), event(verb="get"), event(verb="get"))) == ["found", "found"]


def test_repeats_are_known_for_a_while_and_memory_has_an_end(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, GET))
    first = event(verb="get", auditID="first")
    fed(detector, first)
    for each in range(2 * REMEMBERED):
        detector.feed(Event(audit_id=str(each), verb="get"), START)
    assert names(fed(detector, first)) == ["found"]
    fed(detector, first)
    assert detector.counts.repeats == 1


def test_values_that_somebody_makes_up_fill_no_memory(tmp_path: Path) -> None:
    tests = [{"objectRef.resource": "a?c"}, {"userAgent|contains": "x"}, {"user.username": "x"}]
    known = Answers(rule.condition for rule in load(tmp_path, rule(tests)).rules)
    ((_, agents),) = known.asks(0)
    for number in range(2 * MOST):
        known.of(Event(user=User(f"{number}"), object_ref=ObjectRef(resource=f"{number}")))
        assert agents[f"{number}",] == 0
    long = "x" * 100_000
    assert known.of(Event(user=User(long), object_ref=ObjectRef(resource=long))) == 0
    assert agents[long,] == 0b010
    held = gc.get_referents(agents, *(each for each in vars(known).values() if isinstance(each, dict)))
    assert len(held) < 6 * 2 * MOST
    assert max(len(str(each)) for each in held) < 2 * LONGEST


def test_a_rule_sees_the_same_in_the_first_and_the_later_events_of_a_combination(tmp_path: Path) -> None:
    ruleset = load(tmp_path, rule({"verb": "get", "objectRef.name": "a"}))
    events = [event(verb="get", objectRef={"name": name}) for name in ("b", "a", "b", "a")]
    assert [len(fed(ruleset, each)) for each in events] == [0, 1, 0, 1]
    assert len(fed(ruleset, *events)) == 2


def test_administrators_allow_accounts_by_rule_or_everywhere(tmp_path: Path) -> None:
    other = rule({"verb": "get"}, name="other")
    allowed = (Allowance("found", ("system:serviceaccount:gitops:*",)), Allowance("*", ("root",)))
    ruleset = load(tmp_path, GET, other, allowed=allowed)

    def by(user: str) -> list[str]:
        return names(fed(ruleset, event(verb="get", user={"username": user})))

    assert by("system:serviceaccount:gitops:flux") == ["other"]
    assert by("system:serviceaccount:gitopsX:flux") == ["found", "other"]
    assert by("SYSTEM:serviceaccount:gitops:flux") == ["found", "other"]
    assert by("root") == []


def test_who_impersonates_an_account_that_is_allowed_is_not_allowed(tmp_path: Path) -> None:
    ruleset = load(tmp_path, GET, allowed=(Allowance("*", ("root",)),))
    assert names(fed(ruleset, event(verb="get", impersonatedUser={"username": "root"}))) == ["found"]


def test_an_account_may_be_allowed_in_a_correlation(tmp_path: Path) -> None:
    twice = correlation("event_count", ["found"], {"gte": 2}, generate=True)
    ruleset = load(tmp_path, GET, twice, allowed=(Allowance("together", ("backup",)),))
    events = [event(each, verb="get", user={"username": "backup"}) for each in range(3)]
    assert names(fed(ruleset, *events)) == ["found"] * 3


def test_an_allow_list_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "allow.yaml"
    file.write_text("- {rule: found, users: [a, 'b*']}\n- {rule: '*', users: [c]}\n")
    assert read_allowances(file) == (Allowance("found", ("a", "b*")), Allowance("*", ("c",)))
    file.write_text("")
    assert read_allowances(file) == ()


@pytest.mark.parametrize(
    "text",
    [
        "{rule: a}",
        "[{rule: a}]",
        "[{rule: a, users: [1]}]",
        "[{rule: a, users: [], x: 1}]",
        "[{rule: a, users: [a], users: [b]}]",
        "[",
        "[" * 100_000,
        "- - - a",
    ],
)
def test_an_allow_list_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "allow.yaml"
    file.write_text(text)
    with pytest.raises(RuleErrors, match=r"allow\.yaml: this is no allow-list: .*; write a list of"):
        read_allowances(file)


def test_an_allow_list_names_rules_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors, match="there is no rule 'fuond'"):
        load(tmp_path, GET, allowed=(Allowance("fuond", ("a",)),))


@pytest.mark.parametrize(
    ("stamps", "time", "misdated"),
    [
        ({"stage_timestamp": "2026-11-21T09:00:00.123456Z"}, datetime(2026, 11, 21, 9, 0, 0, 123456, UTC), 0),
        ({"stage_timestamp": "2026-11-21T09:00:00"}, datetime(2026, 11, 21, 9, tzinfo=UTC), 0),
        ({"request_received_timestamp": "2026-11-21T09:00:00Z"}, datetime(2026, 11, 21, 9, tzinfo=UTC), 0),
        ({"stage_timestamp": "2026-11-21T10:04:59Z"}, datetime(2026, 11, 21, 10, 4, 59, tzinfo=UTC), 0),
        ({"stage_timestamp": "2026-11-21T10:05:01Z"}, START, 1),
        ({"stage_timestamp": "9999-12-31T23:59:59-23:59"}, START, 1),
        ({"stage_timestamp": "0001-01-01T00:00:00+14:00"}, START, 1),
        ({"stage_timestamp": "yesterday"}, START, 1),
        ({}, START, 1),
    ],
)
def test_a_finding_has_the_api_servers_time_if_it_can_be_true(
    tmp_path: Path, stamps: dict[str, str], time: datetime, misdated: int
) -> None:
    detector = Detector(load(tmp_path, GET))
    (found,) = detector.feed(msgspec.structs.replace(Event(verb="get"), **stamps), START)
    assert (found.time, detector.counts.misdated) == (time, misdated)


def test_a_body_that_is_no_json_is_counted(tmp_path: Path) -> None:
    detector = Detector(load(tmp_path, rule({"requestObject.a": 1})))
    assert detector.feed(Event(request_object=msgspec.Raw(b'{"a"')), START) == []
    assert detector.counts.unreadable == 1


KEY = st.sampled_from(["a", "b", "a.b", "spec"]) | st.text()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=10,
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
BODY = (st.binary(max_size=30) | JSON.map(msgspec.json.encode)).map(msgspec.Raw)
EXTRA = st.none() | st.dictionaries(TEXT, st.tuples(TEXT))
USER = st.builds(User, TEXT, TEXT, st.none() | st.tuples(TEXT, TEXT), EXTRA)
EVENT = st.builds(
    Event,
    audit_id=TEXT,
    stage=TEXT,
    verb=TEXT,
    request_uri=TEXT,
    user=USER,
    impersonated_user=st.none() | USER,
    source_ips=st.none() | st.tuples(TEXT),
    user_agent=TEXT,
    object_ref=st.none() | st.builds(ObjectRef, TEXT, TEXT, TEXT),
    response_status=st.none() | st.builds(Status, st.integers()),
    request_object=BODY,
    response_object=BODY,
    stage_timestamp=TEXT | st.just("2026-11-21T10:00:00Z"),
    annotations=st.none() | st.dictionaries(TEXT, TEXT),
)


@pytest.fixture(scope="module")
def of_all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Ruleset:
    """A rule for each kind of test, and a correlation of them all."""
    selections: list[Json] = [
        {"verb|contains": "a"},
        {"user.username|re": "a.*b"},
        {"userAgent": "*a?b*"},
        {"sourceIPs|cidr": "10.0.0.0/8"},
        {"responseStatus.code|gt": 3},
        {"requestObject.a.b": "x"},
        {"responseObject.spec|exists": True},
        {"annotations.a": None},
        {"user.extra.a": "b"},
        {"objectRef.name|fieldref": "requestObject.a"},
        {"user.groups|cased|contains": "a?b"},
    ]
    rules = [rule([selection, {"verb": "x"}], name=f"r{n}") for n, selection in enumerate(selections)]
    condition = {"gte": 1, "field": "requestObject.a"}
    together = correlation("value_count", [each["name"] for each in rules], condition, generate=True)
    together["correlation"]["group-by"] = ["objectRef.name", "sourceIPs", "requestObject.spec"]
    return load(tmp_path_factory.mktemp("rules"), *rules, together)


@hostile
@given(st.lists(EVENT, max_size=5))
def test_no_event_makes_the_detector_fail(of_all_kinds: Ruleset, events: list[Event]) -> None:
    fed(of_all_kinds, *events)
