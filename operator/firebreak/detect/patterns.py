"""What a rule may want of a field's values, as data, and the functions that answer it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from operator import ge, gt, le, lt
from typing import Any, Final

import re2

from firebreak.detect.fields import Field

_ADDRESSES: Final = 4096  # that are remembered parsed


class Wild(Enum):
    """A wildcard in a text."""

    ANY = auto()
    """`*`: any number of characters."""
    ONE = auto()
    """`?`: one character."""


class Operator(Enum):
    """How a number is compared."""

    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"


@dataclass(frozen=True, slots=True)
class Text:
    """A text, the whole value: `kube-*` is ("kube-", Wild.ANY). Case counts only when `cased`."""

    parts: tuple[str | Wild, ...]
    cased: bool = False


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression in RE2's syntax, found anywhere in the value."""

    expression: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network in which the value, an address, lies."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Compared:
    """A number with which the value, a number, is compared."""

    operator: Operator
    number: float


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether the field has a value at all. `null` in a rule is `Exists(False)`."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class SameAs:
    """Another field, one of whose values is also this one's; case does not count."""

    field: Field


OfValue = Text | Regex | Network | Compared
Pattern = OfValue | Exists | SameAs
Holds = Callable[[Any], bool]


class BadExpression(ValueError):
    """A regular expression that RE2 does not take; the text is RE2's."""


def glob(text: str) -> Text:
    """Return a text with `*` and `?` as a pattern in which case counts."""
    wild = {"*": Wild.ANY, "?": Wild.ONE}
    parts = (part for part in re.split(r"([*?])", text) if part)
    return Text(tuple(wild.get(part, part) for part in parts), cased=True)


def text_of(value: Any) -> str | None:
    """Return a JSON value as the text that a rule would write; None for a map."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def holds_for(patterns: Sequence[OfValue]) -> Holds:
    """Return what tells whether a value is as one of the patterns wants it."""
    tests = [*_texts([p for p in patterns if isinstance(p, Text)])]
    expressions = [p.expression for p in patterns if isinstance(p, Regex)]
    if expressions:
        tests.append(_found(expressions, lowered=False))
    tests += (
        _compared(p) if isinstance(p, Compared) else _within(p) for p in patterns if not isinstance(p, Text | Regex)
    )
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def searcher(expressions: Sequence[str]) -> "re2.Set":
    """Return what finds any of the expressions, in time linear in the text. Raises BadExpression."""
    options = re2.Options()
    options.log_errors = False  # it would write to stderr itself
    found = re2.Set.SearchSet(options)
    for each in expressions:
        try:
            re2.compile(each, options)  # a Set does not say what is wrong
        except re2.error as problem:
            words = problem.args[0]
            raise BadExpression(words.decode() if isinstance(words, bytes) else str(words)) from None
        found.Add(each)
    try:
        found.Compile()
    except re2.error:
        raise BadExpression("too large for the memory that RE2 takes") from None
    return found


def _searchers(expressions: Sequence[str]) -> list["re2.Set"]:
    """Return what finds any of the expressions: several, where they are too large together. Raises BadExpression."""
    try:
        return [searcher(expressions)]
    except BadExpression:
        if len(expressions) == 1:
            raise
    half = len(expressions) // 2
    return _searchers(expressions[:half]) + _searchers(expressions[half:])


def _texts(patterns: Sequence[Text]) -> list[Holds]:
    found = []
    for cased in (False, True):
        mine = [p for p in patterns if p.cased is cased]
        plain = [p for p in mine if _is_plain(p)]
        if plain:
            found.append(_plain(plain, lowered=not cased))
        globs = [_expression(p) for p in mine if not _is_plain(p)]
        if globs:
            found.append(_found(globs, lowered=not cased))
    return found


def _is_plain(pattern: Text) -> bool:
    """Whether it has wildcards at its ends only, so that no regular expression is needed."""
    return Wild.ONE not in pattern.parts and sum(isinstance(part, str) for part in pattern.parts) <= 1


def _plain(patterns: Sequence[Text], *, lowered: bool) -> Holds:
    """Tell by comparing, from all texts at once."""
    exact: set[str] = set()
    begins: list[str] = []
    ends: list[str] = []
    within: list[str] = []
    for pattern in patterns:
        text = "".join(part for part in pattern.parts if isinstance(part, str))
        text = text.lower() if lowered else text
        open_left, open_right = pattern.parts[:1] == (Wild.ANY,), pattern.parts[-1:] == (Wild.ANY,)
        if open_left and open_right:
            within.append(text)
        elif open_right:
            begins.append(text)
        elif open_left:
            ends.append(text)
        else:
            exact.add(text)
    same, first, last = frozenset(exact), tuple(begins), tuple(ends)

    def holds(value: Any) -> bool:
        text = text_of(value)
        if text is None:
            return False
        if lowered:
            text = text.lower()
        return text in same or text.startswith(first) or text.endswith(last) or any(part in text for part in within)

    return holds


def _expression(pattern: Text) -> str:
    """Return a text with wildcards as a regular expression of the whole value."""
    wild = {Wild.ANY: ".*", Wild.ONE: "."}
    parts = (part if isinstance(part, Wild) else part if pattern.cased else part.lower() for part in pattern.parts)
    return r"(?s)\A" + "".join(re2.escape(p) if isinstance(p, str) else wild[p] for p in parts) + r"\z"


def _found(expressions: Sequence[str], *, lowered: bool) -> Holds:
    found = _searchers(expressions)

    def holds(value: Any) -> bool:
        text = text_of(value)
        if text is None:
            return False
        text = text.lower() if lowered else text
        data = text.encode("utf-8", "replace")
        for each in found:  # noqa: SIM110 - half the time of any() with a generator
            if each.Match(data) is not None:
                return True
        return False

    return holds


def _compared(pattern: Compared) -> Holds:
    compare = {Operator.LT: lt, Operator.LTE: le, Operator.GT: gt, Operator.GTE: ge}[pattern.operator]
    number = pattern.number
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and compare(value, number)


def _within(pattern: Network) -> Holds:
    network = pattern.network

    def holds(value: Any) -> bool:
        address = _address(value) if isinstance(value, str) else None
        return address is not None and address.version == network.version and address in network

    return holds


@lru_cache(_ADDRESSES)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address; one of IPv4 that came through a socket of IPv6 is what it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
