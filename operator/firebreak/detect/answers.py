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
SINGLE: Final = ("user.username", "userAgent", "objectRef.namespace", "impersonatedUser.username", "sourceIPs.last")

EXTRA: Final = "user.extra."


class _Known(dict[Any, int]):
    """By value, or by the values of several fields, the bits of the tests that it passes."""

    def __init__(self, tests: Sequence[Test], readers: Mapping[str, Callable[[Any], Values]]) -> None:
        super().__init__()
        # What a test reads its field from is here the remembered value, instead of an event.
        self._bits = [
            (1 << position, compiled(replace(test, field=replace(test.field, read=readers[test.field.name]))))
            for position, test in enumerate(tests)
            if test.field.name in readers
        ]

    def __missing__(self, value: Any) -> int:
        found = sum(bit for bit, passes in self._bits if passes(value))
        if len(self) >= MOST:
            self.clear()
        if sum(len(part) for part in value if isinstance(part, str)) <= LONGEST:  # of a text: its characters
            self[value] = found
        return found


class Answers:
    """The tests that are remembered, of all that a ruleset has."""

    def __init__(self, tests: Iterable[Test]) -> None:
        self.tests = tuple(test for test in dict.fromkeys(tests) if _is_remembered(test))
        """Each is the bit of its position."""
        self._kinds = _Known(self.tests, {name: _part(position) for position, name in enumerate(KIND)})
        self._users, self._agents, self._namespaces, self._impersonated, self._peers = (
            _Known(self.tests, {name: _itself}) for name in SINGLE
        )
        self._nobody = self._impersonated[""]
        self._extras = _Known(
            self.tests, {test.field.name: _key(test.field.name) for test in self.tests if _is_of_extra(test)}
        )

    def of(self, event: Event) -> int:
        """Return the bits of all tests that the event passes."""
        ref, status = event.object_ref, event.response_status
        code = 0 if status is None else status.code
        if ref is None:
            found = self._kinds[code, event.stage, event.verb, "", "", ""] | self._namespaces[""]
        else:
            found = self._kinds[code, event.stage, event.verb, ref.resource, ref.subresource, ref.api_group]
            found |= self._namespaces[ref.namespace]
        user = event.user
        found |= self._users[user.username] | self._agents[event.user_agent] | self._extras[tuple(user.extra or ())]
        impersonated, addresses = event.impersonated_user, event.source_ips
        found |= self._nobody if impersonated is None else self._impersonated[impersonated.username]
        return found | self._peers[addresses[-1] if addresses else ""]


def _is_remembered(test: Test) -> bool:
    known = test.field.name in KIND or test.field.name in SINGLE
    return (known and not any(isinstance(pattern, SameAs) for pattern in test.patterns)) or _is_of_extra(test)


def _is_of_extra(test: Test) -> bool:
    """Whether it asks only for the keys of `user.extra`, which are the same for all tokens of a kind."""
    return test.field.name.startswith(EXTRA) and all(isinstance(pattern, Exists) for pattern in test.patterns)


def _key(name: str) -> Callable[[Any], Values]:
    key = name.removeprefix(EXTRA)
    return lambda keys: (key,) if key in keys else ()


def _itself(value: Any) -> Values:
    return (value,) if value else ()


def _part(position: int) -> Callable[[Any], Values]:
    return lambda values: _itself(values[position])
