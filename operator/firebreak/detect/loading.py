"""Rule files to rules: reading, and what only all rules together can show to be wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from sigma.rule.base import SigmaYAMLLoader, check_alias_expansion

from firebreak.detect.allowing import allowed_nobody_unknown
from firebreak.detect.rules import Allowance, Correlation, Rule, RuleErrors, Ruleset
from firebreak.detect.sigmarules import BadRule, correlation_of, rule_of
from firebreak.model.documents import check_depth

LARGEST: Final = 1 << 20  # bytes of one file
MOST: Final = 2_000  # files
SUFFIXES: Final = (".yaml", ".yml")
Loaded = Rule | Correlation


def load(paths: Sequence[Path], allowed: Sequence[Allowance]) -> Ruleset:
    """Load rules. Raises RuleErrors, OSError."""
    problems: list[str] = []
    found: list[Loaded] = []
    for file in _files(paths, problems):
        for position, document in enumerate(_documents(file, problems), 1):
            try:
                found.append(_loaded(file, document))
            except BadRule as bad:
                name = document.get("name") if isinstance(document, dict) else None
                called = f"rule {name}" if isinstance(name, str) else f"document {position}"
                problems += [f"{file}: {called}: {problem}" for problem in bad.problems]
    problems = problems or _together(found) or allowed_nobody_unknown(allowed, [each.name for each in found])
    if not found and not problems:
        problems.append(f"no rules in {', '.join(map(str, paths))}; name a file, or a folder with *.yaml files")
    if problems:
        raise RuleErrors(problems)
    correlations = tuple(each for each in found if isinstance(each, Correlation))
    rules = (replace(each, fires=_fires(each, correlations)) for each in found if isinstance(each, Rule))
    return Ruleset(tuple(rules), correlations, tuple(allowed))


def _loaded(file: Path, document: Any) -> Loaded:
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise BadRule(["this is no rule; a rule is a map with title, name, logsource, detection"])
    return correlation_of(file, document) if "correlation" in document else rule_of(file, document)


def _files(paths: Iterable[Path], problems: list[str]) -> Iterator[Path]:
    files = [file for path in paths for file in (_below(path) if path.is_dir() else [path])]
    if len(files) > MOST:
        problems.append(f"{len(files)} files of rules are more than {MOST}; leave some out")
    yield from files[:MOST]


def _below(folder: Path) -> list[Path]:
    """All rule files; not what is hidden: a mounted ConfigMap has everything twice, once below `..data`."""
    found = (file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _documents(file: Path, problems: list[str]) -> list[Any]:
    with file.open("rb") as opened:
        data = opened.read(LARGEST + 1)
    if len(data) > LARGEST:
        problems.append(f"{file}: larger than {LARGEST} bytes; split it")
        return []
    try:
        check_depth(data)
        documents = [each for each in yaml.load_all(data, SigmaYAMLLoader) if each is not None]
        check_alias_expansion(documents)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as problem:
        problems.append(f"{file}: this is no YAML that can be read: {' '.join(str(problem).split())}")
        return []
    return documents


def _together(found: Sequence[Loaded]) -> list[str]:
    """What is wrong between rules."""
    times = Counter(each.name for each in found)
    problems = [
        f"{each.file}: rule {each.name}: another rule has this name; choose another one"
        for each in found
        if times[each.name] > 1
    ]
    rules = {each.name: each for each in found if isinstance(each, Rule)}
    for each in found:
        for name in each.rules if isinstance(each, Correlation) else ():
            if name not in rules:
                why = "is itself a correlation, and these cannot be chained" if name in times else "is not there"
                problems.append(f"{each.file}: rule {each.name}: the rule {name!r} that it refers to {why}")
            elif rules[name].unanswered:
                why = "waits for an answer, and what it finds cannot be counted"
                problems.append(f"{each.file}: rule {each.name}: the rule {name!r} that it refers to {why}")
    return problems


def _fires(rule: Rule, correlations: Iterable[Correlation]) -> bool:
    referring = [each for each in correlations if rule.name in each.rules]
    return not referring or any(each.generate for each in referring)
