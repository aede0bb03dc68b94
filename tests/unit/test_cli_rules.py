"""`firebreak rules`: check and test."""

from pathlib import Path

import yaml

from cli_harness import bare
from detecting import Json, correlation, rule

MATCH = {"name": "a get", "events": [{"verb": "get"}]}
MISS = {"name": "a list", "events": [{"verb": "list"}]}


def written(folder: Path, *documents: Json) -> str:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


def get(**cases: list[Json]) -> Json:
    return rule({"verb": "get"}, name="get", firebreak={"target": "caller", "cases": cases}, tags=["attack.t1552.007"])


def test_check_lists_rules(tmp_path: Path) -> None:
    file = written(tmp_path, get(match=[MATCH]), correlation("event_count", ["get"], {"gte": 2}))
    ran = bare("rules", "check", file)
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["NAME", "LEVEL", "TARGET", "KIND", "CASES", "TAGS"],
        ["get", "high", "caller", "event", "1", "attack.t1552.007"],
        ["together", "critical", "caller", "event_count", "0"],
    ]


def test_check_writes_json(tmp_path: Path) -> None:
    file = written(tmp_path, get())
    assert bare("-o", "json", "rules", "check", file).json == [
        {
            "name": "get",
            "level": "high",
            "target": "caller",
            "kind": "event",
            "tags": ["attack.t1552.007"],
            "cases": 0,
            "file": file,
        }
    ]


def test_check_names_all_that_is_wrong(tmp_path: Path) -> None:
    file = written(tmp_path, rule({"verb|base64": "x", "nothing": 1}))
    ran = bare("rules", "check", file)
    assert (ran.code, ran.out) == (1, "")
    second, first, error, after = ran.err.splitlines()
    assert first.startswith(f"{file}: rule found: detection.selection: field verb|base64: the modifier 'base64' is not")
    assert second.startswith(f"{file}: rule found: detection.selection: field nothing: no audit event has a field")
    assert error == "error: these rules cannot be used: 2 problems"
    assert after == "next:  correct what is named above; docs/rules.md says what a rule may have"


def test_check_says_which_file_is_not_there(tmp_path: Path) -> None:
    ran = bare("rules", "check", str(tmp_path / "none.yaml"))
    assert ran.code == 1
    assert ran.err.splitlines()[0] == f"error: {tmp_path / 'none.yaml'} cannot be read: No such file or directory"


def test_check_holds_an_allow_list_against_the_rules(tmp_path: Path) -> None:
    allow = tmp_path / "allow.yml"
    allow.write_text("[{rule: gte, users: [a]}]")
    ran = bare("rules", "check", written(tmp_path, get()), "--allow", str(allow))
    assert ran.code == 1
    assert "allow-list: there is no rule 'gte'" in ran.err


def test_test_runs_the_cases(tmp_path: Path) -> None:
    ran = bare("rules", "test", written(tmp_path, get(match=[MATCH], miss=[MISS])))
    assert (ran.code, ran.out) == (0, "2 cases of 1 rules went as they should\n")


def test_test_names_every_case_that_goes_otherwise(tmp_path: Path) -> None:
    unknown = {"name": "misspelt", "events": [{"vreb": "get"}]}
    empty: Json = {"name": "empty", "events": []}
    ran = bare("rules", "test", written(tmp_path, get(match=[MISS, unknown], miss=[MATCH, empty])))
    assert ran.code == 1
    lines = ran.err.splitlines()
    assert lines[0] == "rule get: case 'a list': the rule finds nothing, but should"
    assert lines[1].startswith("rule get: case 'misspelt': event 1 is no audit event: unknown field vreb; there are")
    assert lines[2] == "rule get: case 'a get': the rule finds something, but should not"
    assert lines[3] == "rule get: case 'empty': it has no events; give it at least one"
    assert lines[4] == "error: 4 of 4 cases went otherwise than their rule says"


def test_test_runs_the_cases_of_a_correlation_and_of_a_rule_that_only_feeds_it(tmp_path: Path) -> None:
    at = "2026-11-21T10:00:0{}Z".format
    twice = {
        "name": "two",
        "events": [{"verb": "get", "stageTimestamp": at(1)}, {"verb": "get", "stageTimestamp": at(2)}],
    }
    together = correlation("event_count", ["get"], {"gte": 2})
    together["firebreak"] = {"cases": {"match": [twice], "miss": [{**MATCH, "name": "one"}]}}
    ran = bare("rules", "test", written(tmp_path, get(match=[MATCH]), together))
    assert (ran.code, ran.out) == (0, "3 cases of 2 rules went as they should\n")


def test_rules_without_any_case_prove_nothing(tmp_path: Path) -> None:
    ran = bare("rules", "test", written(tmp_path, get()))
    assert ran.code == 1
    assert "no rule has a case" in ran.err
