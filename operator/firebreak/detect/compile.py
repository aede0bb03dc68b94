"""A condition as one function of an event."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from firebreak.detect.condition import All, Any, Condition, Not, Test, tests_of
from firebreak.detect.fields import Cost, Place, Seen
from firebreak.detect.patterns import Compared, Exists, Holds, Network, Regex, SameAs, Text, holds_for, text_of

Check = Callable[[Seen], bool]
EXPRESSION: Final = max(Cost) + 1


def compiled(condition: Condition) -> Check:
    """Return a function that tells whether the condition holds; it never raises. What is cheap is asked first."""
    match condition:
        case Test():
            return _test(condition)
        case Not(part):
            inner = compiled(part)
            return lambda seen: not inner(seen)
        case All(parts):
            return _every([compiled(each) for each in sorted(parts, key=_cost)])
        case Any(parts):
            return _any_of(sorted(parts, key=_cost))


def _any_of(parts: Sequence[Condition]) -> Check:
    """Ask first whether a body may have a path at all, once for all tests that look for the same keys."""
    found: list[Check] = []
    places: dict[str, dict[Place, list[Check]]] = {}
    for part in parts:
        place = part.field.place if isinstance(part, Test) and Exists(wanted=False) not in part.patterns else None
        checks = found if place is None else places.setdefault(place.body, {}).setdefault(place, [])
        checks.append(compiled(part))
    found += (_within(body, mine) for body, mine in places.items())
    return _some(found) if len(found) > 1 else found[0]


def _within(body: str, places: Mapping[Place, Sequence[Check]]) -> Check:
    found = [(place.keys, _some(checks) if len(checks) > 1 else checks[0]) for place, checks in places.items()]

    def holds(seen: Seen) -> bool:
        data, escaped = seen.bytes_of(body)
        if not data:
            return False
        for keys, check in found:
            if escaped:
                if check(seen):
                    return True
                continue
            for key in keys:
                if key not in data:
                    break
            else:
                if check(seen):
                    return True
        return False

    return holds


def _cost(condition: Condition) -> int:
    return max(map(_cost_of, tests_of(condition)))


def _cost_of(test: Test) -> int:
    """An expression costs more than a look for the keys of a path, which most bodies have not."""
    searched = test.field.place is None and any(isinstance(pattern, Regex) for pattern in test.patterns)
    return EXPRESSION if searched else test.field.cost


def _every(checks: Sequence[Check]) -> Check:
    first, *rest = checks
    if len(rest) == 1:
        second = rest[0]
        return lambda seen: first(seen) and second(seen)

    def holds(seen: Seen) -> bool:
        for check in checks:  # noqa: SIM110 - half the time of all() with a generator
            if not check(seen):
                return False
        return True

    return holds


def _some(checks: Sequence[Check]) -> Check:
    def holds(seen: Seen) -> bool:
        for check in checks:  # noqa: SIM110 - half the time of any() with a generator
            if check(seen):
                return True
        return False

    return holds


def _test(test: Test) -> Check:
    read = test.field.read
    of_value = [p for p in test.patterns if isinstance(p, Text | Regex | Network | Compared)]
    checks = [_valued(read, holds_for(of_value))] if of_value else []
    for pattern in test.patterns:
        if isinstance(pattern, Exists):
            checks.append(_exists(read, wanted=pattern.wanted))
        elif isinstance(pattern, SameAs):
            checks.append(_same(read, pattern.field.read))
    return checks[0] if len(checks) == 1 else _some(checks)


Read = Callable[[Seen], Sequence[object]]


def _valued(read: Read, holds: Holds) -> Check:
    def check(seen: Seen) -> bool:
        for value in read(seen):  # noqa: SIM110 - half the time of any() with a generator
            if holds(value):
                return True
        return False

    return check


def _exists(read: Read, *, wanted: bool) -> Check:
    return lambda seen: bool(read(seen)) is wanted


def _same(read: Read, other: Read) -> Check:
    def texts(seen: Seen, values: Read) -> set[str]:
        return {text.lower() for text in map(text_of, values(seen)) if text is not None}

    return lambda seen: not texts(seen, read).isdisjoint(texts(seen, other))
