"""The cases in a rule's own file: events, and whether the rule finds something in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event, ObjectRef, Status, User
from firebreak.detect.rules import Case, Correlation, Rule, Ruleset

NOW: Final = datetime.max.replace(tzinfo=UTC)  # no time in a case is in the future
_PARTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "user": User,
    "impersonatedUser": User,
    "objectRef": ObjectRef,
    "responseStatus": Status,
}


@dataclass(frozen=True, slots=True)
class Failed:
    """A case that went otherwise than its rule says."""

    rule: str
    case: str
    problem: str


def failures(ruleset: Ruleset, rule: Rule | Correlation) -> Iterator[Failed]:
    """Run the cases of a rule, each against a detector of its own; yield those that fail."""
    for expected, cases in ((True, rule.cases.match), (False, rule.cases.miss)):
        for case in cases:
            problem = _problem(ruleset, rule.name, case, expected=expected)
            if problem:
                yield Failed(rule.name, case.name, problem)


def _problem(ruleset: Ruleset, name: str, case: Case, *, expected: bool) -> str:
    if not case.events:
        return "it has no events; give it at least one"
    detector = Detector(ruleset.only(name))
    found = False
    for position, raw in enumerate(case.events, 1):
        try:
            event = event_of(raw)
        except (ValueError, TypeError) as problem:
            return f"event {position} is no audit event: {problem}"
        found |= any(finding.rule == name for finding in detector.feed(event, NOW))
    if found is expected:
        return ""
    return "the rule finds nothing, but should" if expected else "the rule finds something, but should not"


def event_of(partial: Mapping[str, Any]) -> Event:
    """Return a partial audit event of a case as an event. Raises ValueError, TypeError.

    Unlike events of a log it may have no unknown field: a rule that misses a misspelt event proves nothing.
    """
    _known(partial, Event, "", {"kind", "apiVersion"})
    for name, kind in _PARTS.items():
        if isinstance(partial.get(name), dict):
            _known(partial[name], kind, f"{name}.", {"resourceVersion", "metadata", "details"})
    return msgspec.json.decode(msgspec.json.encode(partial), type=Event)


def _known(found: Mapping[str, Any], kind: type[msgspec.Struct], where: str, besides: set[str]) -> None:
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    for key in found:
        if key not in known | besides:
            raise ValueError(f"unknown field {where}{key}; there are {', '.join(sorted(known))}")
