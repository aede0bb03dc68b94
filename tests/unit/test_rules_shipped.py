"""The rules that are shipped: each says what a reader needs, and does what its own cases say."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from firebreak.detect.cases import failures
from firebreak.detect.rules import SHIPPED, Cases, Correlation, Rule, Ruleset

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"
SHIPPED_RULES = Ruleset.load()
DOCUMENTS: list[dict[str, Any]] = [
    document for file in sorted(SHIPPED.glob("*.yaml")) for document in yaml.safe_load_all(file.read_bytes())
]
BY_NAME = [pytest.param(each, id=each["name"]) for each in DOCUMENTS]
# What a correlation counts finds nothing by itself, and its cases are those of the correlation.
FIRING = [
    pytest.param(each, id=each.name)
    for each in SHIPPED_RULES.named.values()
    if isinstance(each, Correlation) or each.fires
]


@pytest.mark.parametrize("document", BY_NAME)
def test_a_rule_says_what_it_is_where_it_comes_from_and_when_it_errs(document: dict[str, Any]) -> None:
    assert document["description"].strip()
    assert document["author"] == "Firebreak"
    assert document["date"]
    assert any(tag.startswith("attack.t") for tag in document["tags"])
    assert all(reference.startswith("https://") for reference in document["references"])
    assert any(document["falsepositives"])
    assert document["firebreak"]["target"] in {"caller", "object"}


def test_no_two_rules_have_the_same_id() -> None:
    ids = [document["id"] for document in DOCUMENTS]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("rule", FIRING)
def test_a_rule_that_fires_has_cases_for_what_it_finds_and_for_what_it_leaves_alone(rule: Rule | Correlation) -> None:
    assert rule.cases.match
    assert rule.cases.miss


@pytest.mark.parametrize("rule", FIRING)
def test_a_rule_does_what_its_cases_say(rule: Rule | Correlation) -> None:
    assert list(failures(SHIPPED_RULES, rule)) == []


def test_the_page_about_detection_lists_the_rules() -> None:
    rows = [
        f"| `{each['name']}` | {each['level']} | {_techniques(each)} | {each['title']} |"
        for each in sorted(DOCUMENTS, key=lambda each: str(each["name"]))
        if each["level"] != "informational"
    ]
    table = "\n".join(["| Rule | Level | ATT&CK | What it sees |", "|---|---|---|---|", *rows])

    assert table in PAGE.read_text(), f"docs/detection.md has to have this table:\n{table}"


def _techniques(document: dict[str, Any]) -> str:
    tags = (tag.removeprefix("attack.").upper() for tag in document["tags"] if tag.startswith("attack.t1"))
    return ", ".join(tags)


@pytest.mark.parametrize("rule", FIRING)
def test_words_of_a_dry_run_in_another_value_hide_nothing(rule: Rule | Correlation) -> None:
    """Seen on 1.35: `POST .../pods?pretty=a?dryRun=All` makes the pod, for a `?` within a query is part of a value."""
    assert _finds_all_the_same(rule, "pretty=a?dryRun=All")


@pytest.mark.parametrize("rule", FIRING)
def test_a_deletion_is_found_whatever_its_query_says(rule: Rule | Correlation) -> None:
    """Seen on 1.35: `DELETE ...?dryRun=All` with DeleteOptions in its body deletes: the query is not looked at then."""
    if any(event["verb"] == "delete" for case in rule.cases.match for event in case.events):
        assert _finds_all_the_same(rule, "dryRun=All", "delete")


WRITES = {"create", "update", "patch", "delete", "deletecollection"}
LASTING = {"exec", "attach", "portforward", "proxy", "token"}  # these have no such limit, or nothing without an answer


@pytest.mark.parametrize("rule", FIRING)
def test_a_write_whose_time_was_over_may_be_done_all_the_same(rule: Rule | Correlation) -> None:
    """Seen on 1.35: of `POST .../pods?timeout=1500us` some are answered with 504, and the pod is there."""
    cases = tuple(case for case in rule.cases.match if all(map(_is_write, case.events)))
    late = tuple(replace(case, events=tuple(map(_late, case.events))) for case in cases)
    assert not list(failures(SHIPPED_RULES, dataclasses.replace(rule, cases=Cases(match=late))))


def _is_write(event: dict[str, Any]) -> bool:
    """Whether it may be done without an answer, and is told by what was asked for, not by what came of it."""
    done = event["verb"] in WRITES and event.get("responseStatus", {}).get("code", 200) < 300
    lasts = event.get("objectRef", {}).get("subresource") in LASTING
    return done and not lasts and "responseObject" not in event and event.get("stage") != "RequestReceived"


def _late(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "responseStatus": {"code": 504, "reason": "Timeout"}}


def _finds_all_the_same(rule: Rule | Correlation, query: str, *verbs: str) -> bool:
    """Whether the rule still finds what its cases say when each event has this query."""
    cases = [case for case in rule.cases.match if not verbs or all(each["verb"] in verbs for each in case.events)]
    asked = tuple(replace(case, events=tuple(_asked(event, query) for event in case.events)) for case in cases)
    return not list(failures(SHIPPED_RULES, dataclasses.replace(rule, cases=Cases(match=asked))))


def _asked(event: dict[str, Any], query: str) -> dict[str, Any]:
    uri = event.get("requestURI", "/api/v1/x")
    return {**event, "requestURI": f"{uri}{'&' if '?' in uri else '?'}{query}"}
