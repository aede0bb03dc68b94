"""Allow-lists of the administrator's own: accounts in whose calls a rule finds nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import yaml

from firebreak.detect.condition import Condition, Not, Test
from firebreak.detect.fields import find
from firebreak.detect.patterns import glob
from firebreak.detect.rules import EVERY, Allowance, RuleErrors
from firebreak.model.documents import document_of


def read_allowances(path: Path) -> tuple[Allowance, ...]:
    """Read a file that has a list of `{rule: NAME or '*', users: [GLOB, ...]}`. Raises RuleErrors, OSError."""
    try:
        found = document_of(path.read_bytes())
        return msgspec.convert(found or [], tuple[Allowance, ...])
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as problem:
        hint = "write a list of {rule: NAME, users: [NAME, ...]}"
        raise RuleErrors([f"{path}: this is no allow-list: {' '.join(str(problem).split())}; {hint}"]) from None


def allowed_nobody_unknown(allowed: Iterable[Allowance], names: Iterable[str]) -> list[str]:
    """Return a problem for each allowance of a rule that is not there."""
    known = {EVERY, *names}
    return [
        f"allow-list: there is no rule {each.rule!r}; `firebreak rules check` lists all names"
        for each in allowed
        if each.rule not in known
    ]


def not_allowed(allowed: Sequence[Allowance], names: Sequence[str]) -> list[Condition]:
    """Return what has to hold besides the condition of rules with these names."""
    users = [glob(user) for each in allowed if each.rule in names for user in each.users]
    return [Not(Test(find("user.username"), tuple(users)))] if users else []
