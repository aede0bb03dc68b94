"""Answers to the tests of a ruleset, remembered by the values of fields that repeat from event to event.

Every test of such a field has a bit. What an event answers to them is one number, put together from a few
dictionaries; a rule is looked at only when that number leaves it open. What kind of call it was and who made it is
asked of every event. All else is asked only of events after whose answers a rule is left that wants to know it: a bit
that nobody asked about is 0. Somebody who makes up values (a user agent, a resource) makes his own events slower and
pushes out what was remembered of that field, and nothing else.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from firebreak.detect.compile import compiled
from firebreak.detect.condition import Condition, Test, decided, tests_of
from firebreak.detect.event import Event
from firebreak.detect.fields import Field, Values, characters
from firebreak.detect.patterns import Exists, SameAs

MOST: Final = 10_000  # values of one field
MOST_LEFT: Final = 2_000  # combinations of answers
LONGEST: Final = 1_024  # characters of a value that is remembered
KIND: Final = (
    "responseStatus.code", "stage", "verb", "objectRef.resource", "objectRef.subresource", "objectRef.apiGroup",
)  # fmt: skip
"""What kind of call it was: these have few combinations, and so go together."""
EXTRA, NOTED = "user.extra.", "annotations."
KEYED: Final = {EXTRA: 2, NOTED: 3}
"""Flat maps of which tests may ask for keys alone, and where these keys are in what is remembered of a caller."""

T = TypeVar("T")
Readers = Mapping[str, Callable[[Any], Values]]


def _itself(value: Any) -> Values:
    return (value,) if value else ()


def _all(values: Values) -> Values:
    return values


def _part(position: int) -> Callable[[Any], Values]:
    return lambda values: _itself(values[position])


def _parts(position: int) -> Callable[[Any], Values]:
    return lambda values: values[position] or ()


# What is remembered of an event, and how a field is read from that, instead of from an event.
KINDS: Final[Readers] = {name: _part(position) for position, name in enumerate(KIND)}
CALLER: Final[Readers] = {"user.username": _part(0), "user.groups": _parts(1)}
IMPERSONATED: Final[Readers] = {"impersonatedUser.username": _part(0), "impersonatedUser.groups": _parts(1)}
LATER: Final = frozenset({"userAgent", "objectRef.namespace", "sourceIPs.last"})
"""What few rules ask, and so few events are asked; beside these the values in `user.extra`."""
FIELDS: Final = frozenset(name for each in (KINDS, CALLER, IMPERSONATED, LATER) for name in each)


class _Known(dict[Any, int]):
    """By value, or by the values of several fields, the bits of the tests that it passes."""

    def __init__(self, tests: Mapping[Test, int], readers: Readers) -> None:
        super().__init__()
        self._bits = [
            (bit, compiled(replace(test, field=replace(test.field, read=readers[test.field.name]))))
            for test, bit in tests.items()
        ]

    def __missing__(self, value: Any) -> int:
        found = sum(bit for bit, passes in self._bits if passes(value))
        if len(self) >= MOST:
            self.clear()
        if characters(value) <= LONGEST:
            self[value] = found
        return found


Ask = tuple[Callable[[Event], Values], _Known]


class Left(Generic[T]):
    """What is made of the rest of a condition once some of its tests are answered, remembered by their answers."""

    def __init__(self, condition: Condition, bits: Mapping[Test, int], make: Callable[[Condition | bool], T]) -> None:
        self._condition = condition
        self._bits = {test: bits[test] for test in tests_of(condition) if test in bits}
        self._mine = sum(self._bits.values())
        self._make = make
        self._made: dict[int, T] = {}

    def after(self, answers: int) -> T:
        """Return what is made of what is left to ask; of a truth value when nothing is."""
        mine = answers & self._mine
        if mine not in self._made:
            left = decided(self._condition, {test: bool(mine & bit) for test, bit in self._bits.items()})
            if len(self._made) >= MOST_LEFT:
                self._made.clear()
            self._made[mine] = self._make(left)
        return self._made[mine]


class Answers:
    """The tests that are remembered, of all that some conditions have."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        every = tuple(dict.fromkeys(conditions))
        tests = dict.fromkeys(test for each in every for test in tests_of(each) if _is_remembered(test))
        self.bits: Mapping[Test, int] = {test: 1 << place for place, test in enumerate(tests)}
        """Of each test that is remembered the bit."""
        of_keys = {each.field.name: _key(each.field.name) for each in tests if _is_of_keys(each)}
        self._unnoted = frozenset(name.removeprefix(NOTED) for name in of_keys if name.startswith(NOTED)).isdisjoint
        first = {test: bit for test, bit in self.bits.items() if not _is_later(test)}
        self._kinds, self._callers, self._posing = (
            _Known({test: bit for test, bit in first.items() if test.field.name in readers}, readers)
            for readers in (KINDS, {**CALLER, **of_keys}, IMPERSONATED)
        )
        self._nobody = self._posing["", None]
        later = {test: bit for test, bit in self.bits.items() if test not in first}
        self._later = {field: _ask(field, later) for field in dict.fromkeys(test.field for test in later)}
        self._left = [Left(each, first, partial(_fields, later)) for each in every]

    def of(self, event: Event) -> int:
        """Return the bits of the tests that are asked of every event and that this one passes."""
        ref, status, user, posing = event.object_ref, event.response_status, event.user, event.impersonated_user
        code = 0 if status is None else status.code
        if ref is None:
            found = self._kinds[code, event.stage, event.verb, "", "", ""]
        else:
            found = self._kinds[code, event.stage, event.verb, ref.resource, ref.subresource, ref.api_group]
        extra, notes = user.extra, event.annotations
        noted = () if notes is None or self._unnoted(notes) else tuple(notes)
        found |= self._callers[user.username, user.groups, tuple(extra) if extra else (), noted]
        if posing is not None:
            return found | self._posing[posing.username, posing.groups]
        return found | self._nobody if self._nobody else found

    def asks(self, answers: int) -> tuple[Ask, ...]:
        """Return what else the conditions depend on after these answers."""
        fields = dict.fromkeys(field for each in self._left for field in each.after(answers))
        return tuple(self._later[field] for field in fields)


def _ask(field: Field, tests: Mapping[Test, int]) -> Ask:
    assert field.of_event  # noqa: S101 - what is remembered is of no body
    return field.of_event, _Known({test: bit for test, bit in tests.items() if test.field == field}, {field.name: _all})


def _fields(tests: Container[Test], left: Condition | bool) -> tuple[Field, ...]:  # noqa: FBT001 - maybe decided
    """Return the fields of those of the tests that are left."""
    return () if isinstance(left, bool) else tuple(test.field for test in tests_of(left) if test in tests)


def _is_remembered(test: Test) -> bool:
    plain = test.field.name in FIELDS or test.field.name.startswith(EXTRA) or _is_of_keys(test)
    return plain and not any(isinstance(pattern, SameAs) for pattern in test.patterns)


def _is_later(test: Test) -> bool:
    name = test.field.name
    return name in LATER or (name.startswith(EXTRA) and not _is_of_keys(test))


def _is_of_keys(test: Test) -> bool:
    """Whether it asks only for keys of a flat map: in `user.extra` they are the same for all tokens of a kind."""
    return test.field.name.startswith(tuple(KEYED)) and all(isinstance(each, Exists) for each in test.patterns)


def _key(name: str) -> Callable[[Any], Values]:
    root = next(each for each in KEYED if name.startswith(each))
    key, place = name.removeprefix(root), KEYED[root]
    return lambda caller: (key,) if key in caller[place] else ()
