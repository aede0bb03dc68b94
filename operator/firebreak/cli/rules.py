"""What the commands about detection rules do: load, list, run the cases."""

from collections.abc import Sequence
from pathlib import Path

from firebreak.cli.failure import Exit, Failure, unread
from firebreak.cli.terminal import Terminal, table, words
from firebreak.detect.allowing import read_allowances
from firebreak.detect.cases import failures
from firebreak.detect.rules import SHIPPED, Correlation, Rule, RuleErrors, Ruleset


def load(terminal: Terminal, paths: Sequence[Path] | None, allow: Path | None, code: Exit = Exit.REFUSED) -> Ruleset:
    """Load rules, and an allow-list. Raises Failure with this code when something is wrong, after telling all of it."""
    try:
        return Ruleset.load(paths or (SHIPPED,), read_allowances(allow) if allow else ())
    except RuleErrors as errors:
        found = f"{len(errors.problems)} problem{'s' if len(errors.problems) > 1 else ''}"
        raise _told(terminal, errors.problems, f"these rules cannot be used: {found}", code) from None
    except OSError as error:
        hint = "name a file of rules or a folder of them; --allow takes a file"
        raise unread(error.filename, error, hint, code) from None


def show(terminal: Terminal, ruleset: Ruleset) -> None:
    """List the rules."""
    every = list(ruleset.named.values())
    found = [
        {
            "name": rule.name,
            "level": rule.level.value,
            "target": rule.aim.value,
            "kind": _kind(rule),
            "tags": list(rule.tags),
            "cases": _cases(rule),
            "file": str(rule.file),
        }
        for rule in every
    ]
    headers = ("NAME", "LEVEL", "TARGET", "KIND", "CASES", "TAGS")
    rows = [(r.name, r.level.value, r.aim.value, _kind(r), _cases(r), ", ".join(r.tags)) for r in every]
    terminal.emit(found, lambda: table(headers, rows))


def run_cases(terminal: Terminal, ruleset: Ruleset) -> None:
    """Run all cases and say how it went; Failure when one fails or there is none."""
    rules = ruleset.named.values()
    count = sum(map(_cases, rules))
    if not count:
        raise Failure("no rule has a case", "add firebreak.cases.match and firebreak.cases.miss to the rules")
    failed = [each for rule in rules for each in failures(ruleset, rule)]
    if failed:
        problems = [f"rule {each.rule}: case {each.case!r}: {each.problem}" for each in failed]
        raise _told(terminal, problems, f"{len(failed)} of {count} cases went otherwise than their rule says")
    done = {"rules": len(rules), "cases": count}
    terminal.emit(done, lambda: words(f"{count} cases of {len(rules)} rules went as they should"))


def _kind(rule: Rule | Correlation) -> str:
    return rule.kind.value if isinstance(rule, Correlation) else "event"


def _cases(rule: Rule | Correlation) -> int:
    return len(rule.cases.match) + len(rule.cases.miss)


def _told(terminal: Terminal, problems: Sequence[str], about: str, code: Exit = Exit.REFUSED) -> Failure:
    for problem in problems:
        terminal.note(problem)
    return Failure(about, "correct what is named above; docs/rules.md says what a rule may have", code)
