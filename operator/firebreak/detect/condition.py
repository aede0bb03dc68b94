"""A rule's condition as a tree, and what is left of it when some of its tests are decided."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from firebreak.detect.fields import Field
from firebreak.detect.patterns import Pattern


@dataclass(frozen=True, slots=True)
class Test:
    """Whether a field is as at least one of the patterns wants it."""

    field: Field
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


Condition = Test | All | Any | Not


def all_of(parts: Iterable[Condition]) -> Condition:
    """Return what holds when all parts do."""
    flat = tuple(each for part in parts for each in (part.parts if isinstance(part, All) else (part,)))
    return flat[0] if len(flat) == 1 else All(flat)


def any_of(parts: Iterable[Condition]) -> Condition:
    """Return what holds when a part does. Tests of one field become one test."""
    flat = [each for part in parts for each in (part.parts if isinstance(part, Any) else (part,))]
    tests: dict[Field, list[Pattern]] = {}
    for each in flat:
        if isinstance(each, Test):
            tests.setdefault(each.field, []).extend(each.patterns)
    merged = [Test(field, tuple(patterns)) for field, patterns in tests.items()]
    whole = (*merged, *(each for each in flat if not isinstance(each, Test)))
    return whole[0] if len(whole) == 1 else Any(whole)


def tests_of(condition: Condition) -> Iterator[Test]:
    """Yield all its tests."""
    match condition:
        case Test():
            yield condition
        case Not(part):
            yield from tests_of(part)
        case All(parts) | Any(parts):
            for each in parts:
                yield from tests_of(each)


def decided(condition: Condition, answers: Mapping[Test, bool]) -> Condition | bool:
    """Return what is left to ask when some tests are answered; a truth value when nothing is."""
    match condition:
        case Test():
            return answers.get(condition, condition)
        case Not(part):
            inner = decided(part, answers)
            return not inner if isinstance(inner, bool) else Not(inner)
        case All(parts):
            return _left(parts, answers, ends=False)
        case Any(parts):
            return _left(parts, answers, ends=True)


def _left(parts: Iterable[Condition], answers: Mapping[Test, bool], *, ends: bool) -> Condition | bool:
    """What is left of several parts, of which one that is `ends` decides the whole."""
    left: list[Condition] = []
    for part in parts:
        answer = decided(part, answers)
        if isinstance(answer, bool):
            if answer is ends:
                return ends
        else:
            left.append(answer)
    if not left:
        return not ends
    return any_of(left) if ends else all_of(left)
