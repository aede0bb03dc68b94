"""One document of a Sigma file to one rule. pySigma parses; what we do not evaluate is refused, never ignored.

Source: the Sigma specification 2.1 (rules, modifiers, correlations), and pySigma 2. Parsing touches neither the network
nor the disk: what pySigma downloads belongs to its validators, which are not imported.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule
from sigma.rule.base import SigmaRuleBase

from firebreak.detect.fields import Field, UnknownField, find
from firebreak.detect.finding import Aim, Level
from firebreak.detect.rules import Cases, Correlation, Kind, Rule
from firebreak.detect.selections import problems_of, translated

NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME: Final = 100
MOST_NEEDED: Final = 1_000  # of a correlation: so many events of each group are kept in memory
COMMON: Final = {
    "title", "id", "name", "taxonomy", "related", "status", "description", "license", "references", "tags", "author",
    "date", "modified", "fields", "falsepositives", "level", "scope", "firebreak",
}  # fmt: skip
CORRELATION_KEYS: Final = {"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}
LOGSOURCE: Final = {"product": "kubernetes", "service": "audit"}
AT_LEAST: Final = {"GTE": 0, "GT": 1}

Parsed = TypeVar("Parsed", SigmaRule, SigmaCorrelationRule)


class BadRule(Exception):
    """A document that is no rule of ours, and all that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class Ours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The attribute `firebreak` of a rule."""

    target: Aim = Aim.CALLER
    unanswered: bool = False
    cases: Cases = Cases()


def rule_of(file: Path, document: Mapping[str, Any]) -> Rule:
    """Return the rule of a document. Raises BadRule."""
    _refuse(_keys(document, COMMON | {"logsource", "detection"}, "") + _source(document.get("logsource")))
    _refuse(problems_of(document.get("detection")))
    parsed = _parsed(SigmaRule.from_dict, document)
    try:
        condition = translated(parsed.detection)
    except (SigmaError, RecursionError) as problem:
        raise BadRule([f"condition: {problem}"]) from None
    ours = _ours(document)
    return Rule(**_common(file, document, parsed), condition=condition, unanswered=ours.unanswered)


def correlation_of(file: Path, document: Mapping[str, Any]) -> Correlation:
    """Return the correlation of a document; whether its rules are there is not known yet. Raises BadRule."""
    body = document["correlation"]
    if not isinstance(body, dict):
        raise BadRule(["correlation: this is no map"])
    _refuse(_keys(document, COMMON | {"correlation"}, "") + _keys(body, CORRELATION_KEYS, "correlation."))
    kinds = [kind.value for kind in Kind]
    if body.get("type") not in kinds:
        raise BadRule([f"correlation.type: {body.get('type')!r} is not evaluated; there are {', '.join(kinds)}"])
    if not isinstance(body.get("condition", {}), dict):
        raise BadRule(["correlation.condition: only {gte: NUMBER} and {gt: NUMBER} are evaluated"])
    parsed = _parsed(SigmaCorrelationRule.from_dict, document)
    _refuse(["firebreak.unanswered: a correlation has none; say it of a rule"] if _ours(document).unanswered else [])
    kind, rules = Kind(body["type"]), tuple(each.reference for each in parsed.rules or ())
    group_by = tuple(parsed.group_by or ())
    aliases = {each.alias: {r.reference: name for r, name in each.mapping.items()} for each in parsed.aliases}
    _refuse([] if rules else ["correlation.rules: there are none; name the rules whose events are counted"])
    _refuse(
        [
            f"correlation.aliases: {alias}: {n!r} is none of the rules"
            for alias in aliases
            for n in aliases[alias]
            if n not in rules
        ]
    )
    counted = [_counted(parsed.condition)] if kind is Kind.VALUE_COUNT else []
    return Correlation(
        **_common(file, document, parsed),
        kind=kind,
        rules=rules,
        needed=_needed(parsed, kind),
        timespan=parsed.timespan.seconds,
        generate=parsed.generate,
        group_by=group_by,
        groups={rule: tuple(_field(aliases, each, rule) for each in group_by) for rule in rules},
        counted={rule: _field(aliases, each, rule) for rule in rules for each in counted},
    )


def _parsed(parse: Callable[..., Parsed], document: Mapping[str, Any]) -> Parsed:
    """Let pySigma parse. On some wrong shapes it stumbles instead of saying what is wrong."""
    try:
        parsed = parse(document, collect_errors=True)
    except (SigmaError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as problem:
        raise BadRule([f"this is no Sigma rule: {problem}"]) from None
    _refuse([str(problem) for problem in parsed.errors])
    return parsed


def _common(file: Path, document: Mapping[str, Any], parsed: SigmaRuleBase) -> dict[str, Any]:
    """What every rule has."""
    name = parsed.name or ""
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise BadRule(
            [f"name: {name!r} is none; give it one of small letters, digits and hyphens, unique among the rules"]
        )
    if parsed.level is None:
        raise BadRule([f"level: there is none; write one of {', '.join(Level)}"])
    ours = _ours(document)
    return {
        "name": name,
        "title": parsed.title,
        "level": Level(str(parsed.level)),
        "aim": ours.target,
        "tags": tuple(map(str, parsed.tags)),
        "file": file,
        "cases": ours.cases,
    }


def _ours(document: Mapping[str, Any]) -> Ours:
    try:
        return msgspec.convert(document.get("firebreak") or {}, Ours)
    except (ValueError, TypeError, RecursionError) as problem:
        known = "target (caller, object), cases (match, miss) and unanswered (of a rule about patches)"
        raise BadRule([f"firebreak: {problem}; there are {known}"]) from None


def _keys(found: Mapping[Any, Any], known: set[str], where: str) -> list[str]:
    return [f"{where}{key}: unknown; there are {', '.join(sorted(known))}" for key in found if key not in known]


def _source(source: Any) -> list[str]:
    """What is wrong with a logsource. Older public rules of this product have a category as well."""
    wanted = "write {product: kubernetes, service: audit}"
    if not isinstance(source, dict):
        return [f"logsource: there is none; {wanted}"]
    problems = [
        f"logsource.{k}: {source.get(k)!r}, not {v!r}; {wanted}" for k, v in LOGSOURCE.items() if source.get(k) != v
    ]
    if source.get("category") not in {None, "application"}:
        problems.append(f"logsource.category: {source['category']!r} is another log; {wanted}")
    return problems


def _needed(parsed: SigmaCorrelationRule, kind: Kind) -> int:
    condition = parsed.condition
    if not isinstance(condition, SigmaCorrelationCondition) or condition.op.name not in AT_LEAST:
        raise BadRule(
            ["correlation.condition: only gte and gt are evaluated: the others cannot be known while events come"]
        )
    needed = condition.count + AT_LEAST[condition.op.name]
    most = len(parsed.rules or ()) if kind is Kind.TEMPORAL else MOST_NEEDED
    if not isinstance(needed, int) or not 1 <= needed <= most:
        raise BadRule([f"correlation.condition: {needed} is needed; whole numbers from 1 to {most} are evaluated"])
    if (condition.fieldref is not None) is not (kind is Kind.VALUE_COUNT):
        raise BadRule(
            [f"correlation.condition.field: {kind.value} {'needs one' if condition.fieldref is None else 'has none'}"]
        )
    return needed


def _counted(condition: object) -> str:
    name = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    if not isinstance(name, str):
        raise BadRule(["correlation.condition.field: name one field, the values of which are counted"])
    return name


def _field(aliases: Mapping[str, Mapping[str, str]], name: str, rule: str) -> Field:
    """Return the field of a rule's events that a name or an alias of a correlation means."""
    meant = aliases[name].get(rule) if name in aliases else name
    if not isinstance(meant, str):
        raise BadRule([f"correlation.aliases.{name}: nothing is said for the rule {rule!r}; add it"])
    try:
        return find(meant)
    except UnknownField as problem:
        raise BadRule([f"correlation: {problem}"]) from None


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise BadRule(problems)
