"""What is wrong with a rule is said with file, rule and field; what is not evaluated is never ignored."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from detecting import Json, correlation, event, fed, load, names, rule
from firebreak.detect.finding import Aim, Level
from firebreak.detect.rules import RuleErrors, Ruleset
from hostile import hostile

GET = rule({"verb": "get"})
ALL = {"verb": "get"}
ALIASED = {"aliases": {"who": {"found": "verb"}}, "group-by": ["who"], "rules": ["found", "other"]}
TOGETHER = correlation("event_count", ["found"], {"gte": 2})


def problem(tmp_path: Path, *documents: Any) -> str:
    with pytest.raises(RuleErrors) as caught:
        load(tmp_path, *documents)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (rule({"verb|base64": "x"}), "field verb|base64: the modifier 'base64' is not evaluated; there are all, cased"),
        (rule({"verb|neq": "x"}), "the modifier 'neq' is not evaluated"),
        (rule({"verb|startwith": "x"}), "the modifier 'startwith' is not evaluated"),
        (rule({"objectRef.resourc": "x"}), "no audit event has a field 'objectRef.resourc'; there are auditID"),
        (rule({"requestobject.a": "x"}), "no audit event has a field 'requestobject.a'"),
        (rule({"annotations": "x"}), "no audit event has a field 'annotations'"),
        (rule({"requestObject..a": "x"}), "no audit event has a field"),
        (rule({"requestObject": "x"}), "no audit event has a field 'requestObject'"),
        (rule({"requestObject." + ".".join("a" * 17): 1}), "has more than 16 parts"),
        (rule({"verb|re": "("}), "'(' is no regular expression of RE2: missing ): ("),
        (rule({"verb|re": "(?=a)"}), "is no regular expression of RE2: invalid perl operator"),
        (rule({"verb|re": 3}), "3 is no regular expression; put it in quotes"),
        (rule({"sourceIPs|cidr": "10.0.0.0/33"}), "Invalid CIDR expression"),
        (rule({"sourceIPs|cidr": "10.0.0.1/8"}), "Invalid CIDR expression"),
        (rule({"responseStatus.code|gt": "x"}), "incompatible to value type"),
        (rule({"verb|exists": "yes"}), "incompatible to value type"),
        (rule({"verb|fieldref": "nothing"}), "no audit event has a field 'nothing'"),
        (rule({"verb|fieldref|startswith": "stage"}), "fieldref goes with no other modifier"),
        (rule({"objectRef.namespace": ""}), "an empty text is never recorded there; write null"),
        (rule({"verb": []}), "an empty list of values; write null"),
        (rule({"verb": {"a": 1}}), "is no text, number, truth value or null"),
        (rule(["get", "list"]), "name the fields: a selection is a map"),
        (rule({"": "x"}), "no audit event has a field ''"),
        (rule({"|contains": "x"}), "no audit event has a field ''"),
        (rule({"a": ALL, "b": ALL, "condition": "a"}), "detection.b: the condition does not use it"),
        (rule({"a": ALL, "condition": "a and b"}), "detection.condition: there is no selection 'b'; there are a"),
        (rule({"a": ALL, "condition": "a and not 1 of filter_*"}), "doesn't match any detection"),
        (rule({"a": ALL, "condition": "a | count() > 3"}), "pipe syntax"),
        (rule({"a": ALL, "condition": "a and"}), "condition: "),
        (rule({"a": ALL, "condition": "(" * 17 + "a" + ")" * 17}), "brackets; divide it"),
        (rule({"a": ALL, "condition": None}), "detection.condition: there is none"),
        (rule({"a": ALL, "condition": []}), "detection.condition: there is none"),
        ({**GET, "detection": 3}, "detection: there is none"),
        (
            {**GET, "logsource": {"product": "linux", "service": "audit"}},
            "logsource.product: 'linux', not 'kubernetes'",
        ),
        ({**GET, "logsource": {"product": "kubernetes"}}, "logsource.service: None, not 'audit'"),
        ({**GET, "logsource": {"product": "kubernetes", "service": "audit", "category": "x"}}, "'x' is another log"),
        ({**GET, "logsource": "kubernetes"}, "logsource: there is none"),
        ({**GET, "levl": "high"}, "levl: unknown; there are author, date"),
        ({**GET, "level": "severe"}, "'severe' is not a valid Sigma rule level"),
        ({k: v for k, v in GET.items() if k != "level"}, "level: there is none; write one of informational, low"),
        ({k: v for k, v in GET.items() if k != "name"}, "document 1: name: '' is none"),
        ({k: v for k, v in GET.items() if k != "title"}, "must have a title"),
        ({**GET, "name": "Get_It"}, "name: 'Get_It' is none; give it one of small letters"),
        ({**GET, "name": "a" * 101}, "is none; give it one of small letters"),
        ({**GET, "id": "no"}, "must be an UUID"),
        ({**GET, "action": "global"}, "action: unknown"),
        ({**GET, "firebreak": {"targt": "caller"}}, "firebreak: Object contains unknown field `targt`"),
        ({**GET, "firebreak": {"target": "pod"}}, "firebreak: Invalid enum value 'pod'"),
        ({**GET, "firebreak": {"cases": {"match": [{"events": []}]}}}, "missing required field `name`"),
        ("text", "document 1: this is no rule; a rule is a map"),
        ({1: 2}, "document 1: this is no rule"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_refused(tmp_path: Path, document: Any, said: str) -> None:
    assert said in problem(tmp_path, document)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"type": "value_sum"}, "correlation.type: 'value_sum' is not evaluated; there are event_count, value_count"),
        ({"type": "temporal_ordered"}, "'temporal_ordered' is not evaluated"),
        ({"condition": {"lt": 3}}, "only gte and gt are evaluated"),
        ({"condition": {"eq": 3}}, "only gte and gt are evaluated"),
        ({"condition": "a and b"}, "only {gte: NUMBER} and {gt: NUMBER} are evaluated"),
        ({"condition": {"gte": 0}}, "0 is needed; whole numbers from 1 to 1000"),
        ({"condition": {"gte": 1001}}, "1001 is needed"),
        ({"condition": {"gte": 1.5}}, "1.5 is needed"),
        ({"condition": {"gte": 2, "field": "verb"}}, "event_count has none"),
        ({"type": "value_count"}, "field"),
        ({"type": "value_count", "condition": {"gte": 2, "field": "nothing"}}, "no audit event has a field 'nothing'"),
        ({"type": "value_count", "condition": {"gte": 2, "field": ["verb"]}}, "name one field"),
        ({"type": "temporal", "condition": {"gte": 2}}, "2 is needed; whole numbers from 1 to 1"),
        ({"group-by": ["nothing"]}, "no audit event has a field 'nothing'"),
        ({"group_by": ["verb"]}, "correlation.group_by: unknown; there are aliases, condition"),
        ({"timespan": "1x"}, "Timespan '1x' is invalid"),
        ({"timespan": "0m"}, "must be greater than zero"),
        ({"rules": ["nowhere"]}, "rule together: the rule 'nowhere' that it refers to is not there"),
        ({"rules": ["together"]}, "is itself a correlation, and these cannot be chained"),
        ({"rules": []}, "rules: there are none"),
        (ALIASED, "nothing is said for the rule 'other'"),
        ({"aliases": {"who": {"fuond": "verb"}}}, "correlation.aliases: who: 'fuond' is none of the rules"),
        ({"generate": "yes"}, "must be a boolean"),
    ],
)
def test_a_correlation_that_cannot_be_evaluated_is_refused(tmp_path: Path, changed: Json, said: str) -> None:
    other = rule({"verb": "x"}, name="other")
    broken = {**TOGETHER, "correlation": {**TOGETHER["correlation"], **changed}}
    assert said in problem(tmp_path, GET, other, broken)


def test_all_that_is_wrong_is_said_at_once_with_the_file(tmp_path: Path) -> None:
    said = problem(tmp_path, rule({"verb|x": 1, "nothing": 2}), rule({"verb|y": 1}, name="other"))
    assert [line.split(": field")[0] for line in said.splitlines()] == [
        "/rules.yaml: rule found: detection.selection",
        "/rules.yaml: rule found: detection.selection",
        "/rules.yaml: rule other: detection.selection",
    ]


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    said = "/rules.yaml: rule found: another rule has this name; choose another one"
    assert problem(tmp_path, GET, GET).splitlines() == [said, said]


def test_a_rule_carries_what_its_finding_says(tmp_path: Path) -> None:
    tags, ours = ["attack.t1609", "attack.execution"], {"target": "object"}
    loaded = load(tmp_path, rule(ALL, tags=tags, firebreak=ours, level="low", title="A thing"))
    (found,) = fed(loaded, event(verb="get"))
    assert (found.rule, found.title, found.level, found.aim) == ("found", "A thing", Level.LOW, Aim.OBJECT)
    assert found.tags == ("attack.t1609", "attack.execution")


def test_public_rules_of_the_same_log_are_taken(tmp_path: Path) -> None:
    public = {**GET, "logsource": {"category": "application", "product": "kubernetes", "service": "audit"}}
    assert names(fed(load(tmp_path, public), event(verb="get"))) == ["found"]


def test_a_folder_is_read_with_all_below_it_and_nothing_that_is_hidden(tmp_path: Path) -> None:
    """A mounted ConfigMap has each file twice: as a link, and below a hidden folder."""
    hidden = tmp_path / "..2026_11_21"
    hidden.mkdir()
    (hidden / "a.yaml").write_text(yaml.safe_dump(GET))
    (tmp_path / "..data").symlink_to(hidden.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.yml").write_text(yaml.safe_dump(rule(ALL, name="other")))
    (tmp_path / "notes.txt").write_text("no rule")
    assert list(Ruleset.load([tmp_path]).named) == ["found", "other"]


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors, match="no rules in"):
        Ruleset.load([tmp_path])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "this is no YAML"),
        ("a: 1\na: 2", "Duplicate key 'a'"),
        (BOMB, "billion laughs"),
        ("&a [*a]", "Recursive YAML"),
        ("[a]: b", "this is no YAML"),
        ("a: 2026-13-45", "this is no YAML"),
        ("!!python/object/apply:os.system [ls]", "this is no YAML"),
        ("[" * 101, "this is no YAML that can be read: more than 100 levels"),
        ("[" * 100_000, "this is no YAML that can be read: more than 100 levels"),
        ("\x00", "this is no YAML"),
        ("#" * (1 << 20) + "##", "larger than 1048576 bytes"),
        ("", "no rules in"),
        ("---\n---\n", "no rules in"),
    ],
)
def test_a_file_that_is_no_rule_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RuleErrors, match=said):
        Ruleset.load([file])


OWN_PROCESS = """
import sys
from pathlib import Path
from firebreak.detect.rules import Ruleset
Ruleset.load([Path(sys.argv[1])])
print({"sigma.data.mitre_attack", "sigma.plugins", "diskcache", "requests", "urllib3"} & set(sys.modules))
"""


def test_parsing_touches_no_disk_and_no_network(tmp_path: Path) -> None:
    """pySigma would fetch ATT&CK's names into a folder below the home; only its validators do, and they stay out."""
    file, home = tmp_path / "rules.yaml", tmp_path / "home"
    file.write_text(yaml.safe_dump(rule(ALL, tags=["attack.t1609"])))
    home.mkdir()
    command = [sys.executable, "-c", OWN_PROCESS, str(file)]
    ran = subprocess.run(command, env={"HOME": str(home)}, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr, list(home.iterdir())) == ("set()\n", "", [])


KEYS = st.sampled_from([
    *GET, "correlation", "firebreak", "tags", "date", "id", "selection", "condition", "type", "rules", "group-by",
    "timespan", "aliases", "verb|re", "requestObject.a", "cases", "match",
])  # fmt: skip
VALUES = st.sampled_from(
    ["get", "selection", "value_count", "1m", "*", "1 of them", "high", "audit", "kubernetes", "(", "a.b"]
)
TREE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | VALUES | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)
DOCUMENT = TREE | st.builds(
    lambda base, changed: {**base, **changed}, st.sampled_from([GET, TOGETHER]), st.dictionaries(KEYS, TREE, max_size=3)
)


@hostile
@given(st.lists(DOCUMENT, min_size=1, max_size=3))
def test_whatever_a_file_holds_it_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Any]
) -> None:
    try:
        fed(load(tmp_path_factory.getbasetemp(), *documents), event(verb="get"))
    except RuleErrors:
        return


@hostile
@given(st.binary())
def test_whatever_bytes_a_file_holds_it_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(data)
    with pytest.raises(RuleErrors):
        Ruleset.load([file])
