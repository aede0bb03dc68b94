"""The detection of a Sigma rule: what is wrong with it, and the condition that it means."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any as Json
from typing import Final

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionNOT,
    ConditionOR,
)
from sigma.exceptions import SigmaConditionError
from sigma.rule import SigmaDetections
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaType,
    SpecialChars,
)

from firebreak.detect.condition import Condition, Not, Test, all_of, any_of
from firebreak.detect.fields import Field, UnknownField, find
from firebreak.detect.patterns import (
    BadExpression,
    Compared,
    Exists,
    Network,
    Operator,
    Pattern,
    Regex,
    SameAs,
    Text,
    Wild,
    searcher,
)

MODIFIERS: Final = (
    "all", "cased", "cidr", "contains", "endswith", "exists", "fieldref", "gt", "gte", "lt", "lte", "re", "i", "m", "s",
    "startswith",
)  # fmt: skip
# Case counts in who somebody is, for it does to the API server: it takes a certificate for a group System:Masters, and
# none for system:masters (CertificateSubjectRestriction, seen on 1.35); a filter must not take one for the other.
WHO: Final = frozenset({"user.username", "user.groups", "impersonatedUser.username", "impersonatedUser.groups"})
LONGEST_CONDITION: Final = 4_096  # characters
KEYWORDS: Final = frozenset({"and", "or", "not", "of", "all", "any", "them"})
SELECTION: Final = re.compile(r"[A-Za-z_][\w-]*")  # its name, or a keyword; no pattern
DEEPEST_CONDITION: Final = 16  # brackets
WILD: Final = {SpecialChars.WILDCARD_MULTI: Wild.ANY, SpecialChars.WILDCARD_SINGLE: Wild.ONE}


def problems_of(detection: Json) -> list[str]:
    """Return what is wrong with a detection, as far as pySigma would not say it, or not as well."""
    if not isinstance(detection, dict) or not all(isinstance(name, str) for name in detection):
        return ["detection: there is none; write a map of selections and a condition"]
    selections = {name: value for name, value in detection.items() if name != "condition"}
    problems = [f"detection.{name}{each}" for name, value in selections.items() for each in _selection(value)]
    return problems + _condition(detection.get("condition"), selections)


def _condition(condition: Json, selections: Mapping[str, Json]) -> list[str]:
    conditions = condition if isinstance(condition, list) else [condition]
    if not conditions or not all(isinstance(each, str) for each in conditions):
        return ["detection.condition: there is none; write one, e.g. `selection and not 1 of filter_*`"]
    if max(map(len, conditions)) > LONGEST_CONDITION or max(each.count("(") for each in conditions) > DEEPEST_CONDITION:
        return [
            f"detection.condition: more than {LONGEST_CONDITION} characters or {DEEPEST_CONDITION} brackets; divide it"
        ]
    words = {word for each in conditions for word in each.replace("(", " ").replace(")", " ").split()}
    unknown = {word for word in words if SELECTION.fullmatch(word)} - KEYWORDS - selections.keys()
    if unknown and not any("|" in each for each in conditions):  # that there are no pipes pySigma says
        named = f"{', '.join(map(repr, sorted(unknown)))}; there are {', '.join(selections)}"
        return [f"detection.condition: there is no selection {named}"]
    return [
        f"detection.{name}: the condition does not use it; use it or take it out"
        for name in selections
        if "them" not in words and not any(fnmatchcase(name, word) for word in words)
    ]


def _selection(value: Json) -> Iterator[str]:
    """What is wrong with a selection, as texts that go on after its name."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for each in value:
            yield from _selection(each)
    elif isinstance(value, dict) and value:
        for key, wanted in value.items():
            yield from (f": field {key}: {problem}" for problem in _item(key, wanted))
    else:
        yield ": name the fields: a selection is a map of fields and values, or a list of such maps (no keywords)"


def _item(key: Json, wanted: Json) -> Iterator[str]:
    """What is wrong with one field and what is wanted of it."""
    if not isinstance(key, str):
        yield "this is no name of a field"
        return
    name, *modifiers = key.split("|")
    try:
        field = find(name)
    except UnknownField as problem:
        yield str(problem)
        return
    for each in modifiers:
        if each not in MODIFIERS:
            yield f"the modifier {each!r} is not evaluated; there are {', '.join(MODIFIERS)}"
    if "fieldref" in modifiers and len(modifiers) > 1:
        yield "fieldref goes with no other modifier"
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values:
        yield "an empty list of values; write null for a field that is not there"
    for value in values:
        yield from _value(field, modifiers, value)


def _value(field: Field, modifiers: list[str], value: Json) -> Iterator[str]:
    if not isinstance(value, str | int | float | bool | None):
        yield f"{value!r} is no text, number, truth value or null"
    elif value == "" and field.written_by_server:
        yield "an empty text is never recorded there; write null"
    elif "re" in modifiers and not isinstance(value, str):
        yield f"{value!r} is no regular expression; put it in quotes"
    elif "re" in modifiers:
        try:
            searcher([str(value)])
        except BadExpression as problem:
            yield f"{value!r} is no regular expression of RE2: {problem}"
    elif "fieldref" in modifiers:
        try:
            find(str(value))
        except UnknownField as problem:
            yield str(problem)


def translated(detection: SigmaDetections) -> Condition:
    """Return the condition of a detection. Raises SigmaError."""
    return any_of([_translated(each.parsed) for each in detection.parsed_condition])


def _translated(node: object) -> Condition:
    match node:
        case ConditionAND(args=parts):
            return all_of(map(_translated, parts))
        case ConditionOR(args=parts):
            return any_of(map(_translated, parts))
        case ConditionNOT(args=[part]):
            return Not(_translated(part))
        case ConditionFieldEqualsValueExpression(field=name, value=value):
            return Test(find(name), (_pattern(value, who=name in WHO),))
    kind = node if isinstance(node, ConditionItem) else type(node).__name__
    raise SigmaConditionError(f"{kind} is not evaluated")


def _pattern(value: SigmaType, *, who: bool) -> Pattern:
    match value:
        case SigmaString(s=parts):
            mapped = tuple(WILD[part] if isinstance(part, SpecialChars) else str(part) for part in parts)
            return Text(mapped, cased=who or isinstance(value, SigmaCasedString))
        case SigmaNumber() | SigmaBool():
            return Text((str(value).lower(),))
        case SigmaNull() | SigmaExists():
            return Exists(isinstance(value, SigmaExists) and value.exists)
        case SigmaRegularExpression():
            flags = "".join(sorted(SigmaRegularExpression.sigma_to_re_flag[flag] for flag in value.flags))
            return Regex((f"(?{flags})" if flags else "") + str(value.regexp))
    return _rarer(value)


def _rarer(value: SigmaType) -> Pattern:
    match value:
        case SigmaCIDRExpression(network=network):
            return Network(network)
        case SigmaCompareExpression(number=number, op=operator):
            return Compared(Operator[operator.name], number.number)
        case SigmaFieldReference(field=name):
            return SameAs(find(name))
    raise SigmaConditionError(f"a value of the kind {type(value).__name__} is not evaluated")
