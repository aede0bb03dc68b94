"""Answers to the tests of a ruleset, remembered by the values of fields that repeat from event to event.

Every test of such a field has a bit. What an event answers to all of them is one number, put together from a few
dictionaries; a rule is looked at only when that number leaves it open. Somebody who makes up values (a user agent, a
resource) makes his own events slower and pushes out what was remembered of that field, and nothing else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from firebreak.detect.compile import compiled
from firebreak.detect.condition import Test
from firebreak.detect.event import Event
from firebreak.detect.fields import Values
from firebreak.detect.patterns import Exists, SameAs

MOST: Final = 10_000  # values of one field
LONGEST: Final = 1_024  # characters of a value that is remembered
KIND: Final = (
    "responseStatus.code", "stage", "verb", "objectRef.resource", "objectRef.subresource", "objectRef.apiGroup",
)  # fmt: skip
"""What kind of call it was: these have few combinations, and so go together."""
EXTRA: Final = "user.extra."

Readers = Mapping[str, Callable[[Any], Values]]


def _itself(value: Any) -> Values:
    return (value,) if value else ()


def _all(values: Values) -> Values:
    return values


def _part(position: int) -> Callable[[Any], Values]:
    return lambda values: _itself(values[position])


# What is remembered of an event, and how a field is read from that, instead of from an event.
KINDS: Final[Readers] = {name: _part(position) for position, name in enumerate(KIND)}
USER: Final[Readers] = {"user.username": _itself}
GROUPS: Final[Readers] = {"user.groups": _all}
AGENT: Final[Readers] = {"userAgent": _itself}
NAMESPACE: Final[Readers] = {"objectRef.namespace": _itself}
PEER: Final[Readers] = {"sourceIPs.last": _itself}
IMPERSONATED: Final[Readers] = {
    "impersonatedUser.username": _part(0),
    "impersonatedUser.groups": lambda value: value[1],
}
FIELDS: Final = frozenset(name for each in (KINDS, USER, GROUPS, AGENT, NAMESPACE, PEER, IMPERSONATED) for name in each)


class _Known(dict[Any, int]):
    """By value, or by the values of several fields, the bits of the tests that it passes."""

    def __init__(self, tests: Sequence[Test], readers: Readers) -> None:
        super().__init__()
        self._bits = [
            (1 << position, compiled(replace(test, field=replace(test.field, read=readers[test.field.name]))))
            for position, test in enumerate(tests)
            if test.field.name in readers
        ]

    def __missing__(self, value: Any) -> int:
        found = sum(bit for bit, passes in self._bits if passes(value))
        if len(self) >= MOST:
            self.clear()
        if _size(value) <= LONGEST:
            self[value] = found
        return found


def _size(value: Any) -> int:
    """How many characters are in a text, or in all texts of a tuple."""
    return len(value) if isinstance(value, str) else sum(map(_size, value)) if isinstance(value, tuple) else 0


class Answers:
    """The tests that are remembered, of all that a ruleset has."""

    def __init__(self, tests: Iterable[Test]) -> None:
        self.tests = tuple(test for test in dict.fromkeys(tests) if _is_remembered(test))
        """Each is the bit of its position."""
        extras = [test.field.name for test in self.tests if _is_of_extra(test)]
        self._kinds, self._users, self._groups, self._agents, self._namespaces, self._peers, self._posing = (
            _Known(self.tests, readers) for readers in (KINDS, USER, GROUPS, AGENT, NAMESPACE, PEER, IMPERSONATED)
        )
        self._extras = _Known(self.tests, {name: _key(name) for name in extras})
        self._nobody = self._posing["", ()]

    def of(self, event: Event) -> int:
        """Return the bits of all tests that the event passes."""
        ref, status = event.object_ref, event.response_status
        code = 0 if status is None else status.code
        if ref is None:
            found = self._kinds[code, event.stage, event.verb, "", "", ""] | self._namespaces[""]
        else:
            found = self._kinds[code, event.stage, event.verb, ref.resource, ref.subresource, ref.api_group]
            found |= self._namespaces[ref.namespace]
        user, posing, addresses = event.user, event.impersonated_user, event.source_ips
        found |= self._users[user.username] | self._groups[user.groups or ()] | self._extras[tuple(user.extra or ())]
        found |= self._nobody if posing is None else self._posing[posing.username, posing.groups or ()]
        return found | self._agents[event.user_agent] | self._peers[addresses[-1] if addresses else ""]


def _is_remembered(test: Test) -> bool:
    plain = test.field.name in FIELDS and not any(isinstance(pattern, SameAs) for pattern in test.patterns)
    return plain or _is_of_extra(test)


def _is_of_extra(test: Test) -> bool:
    """Whether it asks only for the keys of `user.extra`, which are the same for all tokens of a kind."""
    return test.field.name.startswith(EXTRA) and all(isinstance(pattern, Exists) for pattern in test.patterns)


def _key(name: str) -> Callable[[Any], Values]:
    key = name.removeprefix(EXTRA)
    return lambda keys: (key,) if key in keys else ()
