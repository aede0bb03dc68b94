"""`firebreak detect` on files."""

import gzip
import json
from pathlib import Path

import pytest
import yaml

from cli_harness import bare
from detecting import rule
from ecs_fields import assert_ecs

NOW = "2026-11-21T10:00:00.000000Z"


def event(verb: str = "get", **more: object) -> dict[str, object]:
    ref = {"resource": "pods", "subresource": "exec", "namespace": "shop", "name": "web-1"}
    return {
        "auditID": "a1",
        "verb": verb,
        "user": {"username": "mallory"},
        "objectRef": ref,
        "stageTimestamp": NOW,
    } | more


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """A rule of level high about every get, one of level low about every list."""
    file = tmp_path / "rules.yaml"
    low = rule({"verb": "list"}, "listed") | {"level": "low"}
    file.write_text(yaml.safe_dump_all([rule({"verb": "get"}, "got"), low]))
    return str(file)


def log(folder: Path, *lines: object) -> str:
    file = folder / "audit.log"
    file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return str(file)


def test_each_finding_is_one_line_of_json(tmp_path: Path, rules: str) -> None:
    ran = bare(
        "detect", "--rules", rules, log(tmp_path, event(), event("watch", auditID="a2"), event("list", auditID="a3"))
    )
    assert ran.code == 1
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {
            "time": "2026-11-21T10:00:00+00:00",
            "rule": name,
            "level": level,
            "title": name,
            "user": "mallory",
            "verb": verb,
            "resource": "pods/exec",
            "namespace": "shop",
            "name": "web-1",
            "auditIDs": [audit_id],
        }
        for name, level, verb, audit_id in [("got", "high", "get", "a1"), ("listed", "low", "list", "a3")]
    ]
    assert ran.err == ""


def test_nothing_found_is_exit_code_0(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, log(tmp_path, event("watch")))
    assert (ran.code, ran.out) == (0, "")


def test_findings_below_a_level_are_left_out(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, "--level", "medium", log(tmp_path, event("list")))
    assert (ran.code, ran.out) == (0, "")


def test_what_is_no_event_is_named_by_its_line_and_counted(tmp_path: Path, rules: str) -> None:
    file = log(tmp_path, event(), "not JSON", event(auditID="a2"))
    ran = bare("detect", "--rules", rules, file)
    assert len(ran.out.splitlines()) == 2
    assert ran.err == f"{file}: line 2: no JSON: byte 4\n{file}: 1 place holds no audit event\n"


def test_of_many_places_that_hold_no_event_some_are_named(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, log(tmp_path, *["17"] * 500, event()))
    assert ran.err.count("no JSON object") == 20
    assert ran.err.endswith("500 places hold no audit event\n")


def test_an_event_without_audit_id_and_stage_counts_each_time(tmp_path: Path, rules: str) -> None:
    bare_event = {"verb": "get", "user": {"username": "mallory"}}
    ran = bare("detect", "--rules", rules, log(tmp_path, bare_event, bare_event))
    assert [json.loads(line)["auditIDs"] for line in ran.out.splitlines()] == [[], []]


def test_an_event_that_comes_twice_is_found_once(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, log(tmp_path, event(), event()))
    assert len(ran.out.splitlines()) == 1


def test_a_table_for_people_hides_what_an_attacker_put_into_a_name(tmp_path: Path, rules: str) -> None:
    file = log(tmp_path, event(user={"username": "mal\x1b[2Jlory"}))
    ran = bare("detect", "-o", "table", "--rules", rules, file)
    assert ran.code == 1
    assert ran.out.split()[:8] == ["TIME", "LEVEL", "RULE", "USER", "VERB", "RESOURCE", "NAMESPACE", "NAME"]
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("options", [("detect", "-o", "ecs"), ("detect", "--output", "ecs")])
def test_findings_are_printed_as_a_siem_reads_them(tmp_path: Path, rules: str, options: tuple[str, ...]) -> None:
    ran = bare(*options, "--rules", rules, log(tmp_path, event(), event("list", auditID="a2")))
    assert ran.code == 1
    documents = [json.loads(line) for line in ran.out.splitlines()]
    for document in documents:
        assert_ecs(document)
    assert [(each["rule"]["id"], each["event"]["severity"]) for each in documents] == [("got", 73), ("listed", 21)]


def test_the_form_may_stand_before_the_command_and_the_one_behind_it_wins(tmp_path: Path, rules: str) -> None:
    file = log(tmp_path, event())
    assert "rule: got" in bare("-o", "yaml", "detect", "--rules", rules, file).out
    assert "got" in json.loads(bare("-o", "yaml", "detect", "-o", "json", "--rules", rules, file).out)["rule"]


def test_no_other_command_has_the_form_of_a_siem() -> None:
    ran = bare("status", "-o", "ecs")
    assert ran.code == 2
    assert "'ecs' is not one of" in ran.err


def test_a_gzipped_file_is_read(tmp_path: Path, rules: str) -> None:
    file = tmp_path / "audit.log.gz"
    file.write_bytes(gzip.compress(json.dumps({"items": [event(), event(auditID="a2")]}, indent=1).encode()))
    assert len(bare("detect", "--rules", rules, str(file)).out.splitlines()) == 2


def test_a_file_that_is_not_there_is_a_usage_error_that_names_it(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, str(tmp_path / "none.log"))
    assert ran.code == 2
    assert "none.log cannot be read: No such file or directory" in ran.err


@pytest.mark.parametrize("option", ["--rules", "--allow"])
def test_rules_that_are_not_there_are_a_usage_error_and_no_finding(tmp_path: Path, option: str) -> None:
    none = tmp_path / "none.yaml"
    ran = bare("detect", option, str(none), log(tmp_path, event()))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == f"error: {none} cannot be read: No such file or directory"


def test_a_file_without_any_event_is_a_usage_error_and_not_nothing_found(tmp_path: Path, rules: str) -> None:
    other = tmp_path / "kubelet.log"
    other.write_text("I1121 kubelet started\n")
    ran = bare("detect", "--rules", rules, str(other), log(tmp_path, event()))
    assert (ran.code, len(ran.out.splitlines())) == (2, 1)
    assert ran.err.splitlines()[-2:] == [
        f"error: no audit event in {other}",
        "next:  name files with audit events, or - for stdin",
    ]


def test_an_empty_log_holds_nothing_to_be_found(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, log(tmp_path))
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_rules_that_cannot_be_used_are_a_usage_error(tmp_path: Path) -> None:
    broken = tmp_path / "rules.yaml"
    broken.write_text("title: nothing else\n")
    assert bare("detect", "--rules", str(broken), log(tmp_path, event())).code == 2


def test_a_level_that_is_none_is_a_usage_error(tmp_path: Path, rules: str) -> None:
    ran = bare("detect", "--rules", rules, "--level", "huge", log(tmp_path, event()))
    assert ran.code == 2
    assert "'huge' is no level" in ran.err
