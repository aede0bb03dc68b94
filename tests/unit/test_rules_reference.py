"""The compiled evaluator says the same as a naive one, which is written here from the rules' documentation."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detecting import START, Json, event, load, names, rule
from firebreak.detect.evaluate import Detector

WORDS = ["a", "AB", "ba", "b.c", "403", "true", ""]
WORD = st.sampled_from(WORDS)
LEAF = WORD | st.sampled_from([None, True, False, 0, 403, 403.0, 1.5])
LEAVES = LEAF | st.lists(LEAF, max_size=3)
MAP = st.dictionaries(st.sampled_from(["k", "l", "k.l"]), LEAVES, max_size=3)
BODY = st.dictionaries(st.sampled_from(["k", "l", "k.l"]), LEAVES | MAP | st.lists(MAP, max_size=2), max_size=3)
EVENTS = st.fixed_dictionaries(
    {
        "verb": WORD,
        "stage": WORD,
        "user": st.fixed_dictionaries({"username": WORD, "groups": st.lists(WORD.filter(bool), max_size=3)}),
        "objectRef": st.fixed_dictionaries({"resource": WORD, "name": WORD}),
        "requestObject": BODY,
    },
    optional={
        "responseStatus": st.fixed_dictionaries({"code": st.sampled_from([0, 200, 403])}),
        "annotations": st.dictionaries(st.sampled_from(["k", "k.l"]), WORD),
    },
)
TYPED = ["verb", "user.username", "user.groups", "objectRef.resource", "objectRef.name", "responseStatus.code"]
OPEN = ["annotations.k.l", "requestObject.k", "requestObject.k.l", "requestObject.l"]
FIELD = st.sampled_from(TYPED + OPEN)
PATTERN = st.sampled_from(["a", "b", "A*", "*b", "*B*", "a?", "?", "*", "b.*", "4*3", "tr?e"])
KIND = st.sampled_from(["contains", "startswith", "endswith", "", "re", "re|i", "number", "null", "exists", "fieldref"])


@st.composite
def items(draw: st.DrawFn) -> tuple[str, Any]:
    """A field with modifiers, and what is wanted of it."""
    field = draw(FIELD)
    kind = draw(
        st.sampled_from(
            ["", "contains", "startswith", "endswith", "re", "re|i", "number", "null", "exists", "fieldref"]
        )
    )
    every = draw(st.sampled_from(["", "|all"]))
    cased = draw(st.sampled_from(["", "|cased"]))
    if kind in {"re", "re|i"}:
        return f"{field}|{kind}", draw(st.sampled_from(["a", "^A", "b$", "a|B", "^$", "4.3"]))
    if kind == "number":
        operator = draw(st.sampled_from(["", "|gt", "|gte", "|lt", "|lte"]))
        return f"{field}{operator}", draw(st.sampled_from([0, 1.5, 403]))
    if kind == "null":
        return field, None
    if kind == "exists":
        return f"{field}|exists", draw(st.booleans())
    if kind == "fieldref":
        return f"{field}|fieldref", draw(FIELD)
    modifier = f"|{kind}" if kind else ""
    return f"{field}{modifier}{cased}{every}", draw(st.lists(PATTERN, min_size=1, max_size=3))


SELECTION = st.lists(items(), min_size=1, max_size=2).map(dict)
CONDITION = st.sampled_from(
    ["a", "a and b", "a or b", "not a", "a and not b", "not (a or b)", "1 of them", "all of them"]
)


RULE = st.tuples(SELECTION, SELECTION, CONDITION)


@settings(deadline=None, max_examples=100)
@given(st.lists(RULE, min_size=5, max_size=5), st.lists(EVENTS, min_size=8, max_size=8))
def test_compiled_rules_say_what_a_naive_evaluator_says(
    tmp_path_factory: pytest.TempPathFactory, rules: list[tuple[Json, Json, str]], events: list[Json]
) -> None:
    used = [{"a": a, "b": b} if "b" in condition or "them" in condition else {"a": a} for a, b, condition in rules]
    documents = [
        rule({**selections, "condition": condition}, name=f"r{number}")
        for number, (selections, (_, _, condition)) in enumerate(zip(used, rules, strict=True))
    ]
    detector = Detector(load(Path(tmp_path_factory.getbasetemp()), *documents))
    for each in events:
        expected = [
            f"r{number}"
            for number, (selections, (_, _, condition)) in enumerate(zip(used, rules, strict=True))
            if holds(condition, [selected(one, each) for one in selections.values()])
        ]
        assert names(detector.feed(event(**each), START)) == expected, (rules, each)


def holds(condition: str, found: list[bool]) -> bool:
    return {
        "a": lambda: found[0],
        "a and b": lambda: all(found),
        "all of them": lambda: all(found),
        "a or b": lambda: any(found),
        "1 of them": lambda: any(found),
        "not a": lambda: not found[0],
        "a and not b": lambda: found[0] and not found[1],
        "not (a or b)": lambda: not any(found),
    }[condition]()


def selected(selection: Json, seen: Json) -> bool:
    return all(wanted(key, value, seen) for key, value in selection.items())


def wanted(key: str, value: Any, seen: Json) -> bool:
    name, *modifiers = key.split("|")
    found = values(name, seen)
    if "exists" in modifiers or value is None:
        return bool(found) is bool(value)
    if "fieldref" in modifiers:
        return bool(texts(found) & texts(values(value, seen)))
    linking = all if "all" in modifiers else any
    patterns = value if isinstance(value, list) else [value]
    if name in {"user.username", "user.groups"}:
        modifiers = [*modifiers, "cased"]
    return linking(any(one(modifiers, pattern, v) for v in found) for pattern in patterns)


def texts(found: list[Any]) -> set[str]:
    return {text(value).lower() for value in found if text(value) is not None}


def one(modifiers: list[str], pattern: Any, value: Any) -> bool:
    if set(modifiers) & {"gt", "gte", "lt", "lte"}:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return {"gt": value > pattern, "gte": value >= pattern, "lt": value < pattern, "lte": value <= pattern}[
            modifiers[0]
        ]
    found = text(value)
    if found is None:
        return False
    if "re" in modifiers:
        return re.search(pattern, found, re.IGNORECASE if "i" in modifiers else 0) is not None
    whole = str(pattern)
    whole = {"contains": f"*{whole}*", "startswith": f"{whole}*", "endswith": f"*{whole}"}.get(
        (modifiers or [""])[0], whole
    )
    return fnmatchcase(found, whole) if "cased" in modifiers else fnmatchcase(found.lower(), whole.lower())


def text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return None if isinstance(value, dict) else str(value)


def values(name: str, seen: Json) -> list[Any]:
    """What the API server writes has no empty texts; what people write may."""
    if name.startswith("annotations."):
        found = seen.get("annotations", {}).get(name.removeprefix("annotations."))
        return [] if found is None else [found]
    found = below(seen, name.split("."))
    return found if name.startswith("requestObject") else [value for value in found if value not in {"", 0}]


def below(node: Any, parts: list[str]) -> list[Any]:
    if isinstance(node, list):
        return [value for each in node for value in below(each, parts)]
    if not parts:
        return [] if node is None else [node]
    if isinstance(node, dict):
        for count in range(1, len(parts) + 1):
            found = below(node.get(".".join(parts[:count])), parts[count:])
            if found:
                return found
    return []
