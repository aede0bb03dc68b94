"""The rules that are loaded: what each looks for, and what it says when it finds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from firebreak.detect.condition import Condition
from firebreak.detect.fields import Field
from firebreak.detect.finding import Aim, Level

SHIPPED: Final = Path(__file__).parent / "shipped"
EVERY: Final = "*"  # rule, in an allowance


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events of which a rule says what it makes of them."""

    name: str
    events: tuple[dict[str, Any], ...]
    """Partial audit events, in the order in which they come."""


class Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule finds, and what it leaves alone."""

    match: tuple[Case, ...] = ()
    miss: tuple[Case, ...] = ()


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts in whose own calls a rule finds nothing."""

    rule: str
    """A rule's name, or `*`."""
    users: tuple[str, ...]
    """Names as in `user.username`, with `*` and `?`; case counts."""


class Kind(StrEnum):
    """What a correlation counts within its timespan."""

    EVENT_COUNT = "event_count"
    """Requests."""
    VALUE_COUNT = "value_count"
    """Distinct values of a field."""
    TEMPORAL = "temporal"
    """Distinct rules that matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What every rule has."""

    name: str
    title: str
    level: Level
    aim: Aim
    tags: tuple[str, ...]
    file: Path
    cases: Cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Named):
    """A rule about one event."""

    condition: Condition
    fires: bool = True
    """False when correlations refer to it and none says `generate: true`."""
    unanswered: bool = False
    """Whether it fires only when the log has no answer to the patch that it matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation(Named):
    """A rule about several events that other rules match."""

    kind: Kind
    rules: tuple[str, ...]
    needed: int
    """So many have to come together."""
    timespan: float
    """Seconds from the first of them to the last, at most."""
    generate: bool
    """Whether the rules that it refers to fire as well."""
    group_by: tuple[str, ...] = ()
    """Fields or aliases; events whose values differ have nothing to do with each other."""
    groups: Mapping[str, tuple[Field, ...]] = field(default_factory=dict)
    """By rule: where its events have the values of `group_by`."""
    counted: Mapping[str, Field] = field(default_factory=dict)
    """By rule: where its events have the value that is counted."""


class RuleErrors(Exception):
    """Rules that cannot be loaded. Every problem names its file, its rule and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Rules that were loaded and checked together. Names are unique, references resolved."""

    rules: tuple[Rule, ...]
    correlations: tuple[Correlation, ...] = ()
    allowed: tuple[Allowance, ...] = ()

    @classmethod
    def load(cls, paths: Sequence[Path] = (SHIPPED,), allowed: Sequence[Allowance] = ()) -> "Ruleset":
        """Load all rules from files, and from folders with all that is below them (`*.yaml`, `*.yml`).

        Raises RuleErrors with all that is wrong, OSError when a file cannot be read.
        """
        from firebreak.detect.loading import load  # noqa: PLC0415 - pySigma takes a third of a second to import

        return load(paths, allowed)

    @property
    def named(self) -> dict[str, Rule | Correlation]:
        """All rules by name, in the order of their files."""
        every: tuple[Rule | Correlation, ...] = (*self.rules, *self.correlations)
        return {each.name: each for each in every}

    def only(self, name: str) -> "Ruleset":
        """Return a rule with those that it refers to, and nobody allowed anything: what its own cases are about."""
        chosen = self.named[name]
        if isinstance(chosen, Rule):
            return Ruleset((replace(chosen, fires=True),))
        return Ruleset(tuple(each for each in self.rules if each.name in chosen.rules), (chosen,))
