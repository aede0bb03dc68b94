"""The size of things, as CONTRIBUTING promises it: modules below 300 lines, functions below 40."""

import ast
from collections.abc import Iterator
from pathlib import Path

import firebreak

ROOT = Path(firebreak.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


def functions(module: Path) -> Iterator[tuple[str, int]]:
    """Where each begins, with its name, and how many lines it has."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            yield f"{module.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_the_modules_are_found() -> None:
    assert ROOT / "engine" / "controller.py" in MODULES


def test_every_module_is_below_300_lines() -> None:
    lengths = {str(module.relative_to(ROOT)): len(module.read_text().splitlines()) for module in MODULES}
    assert {module: lines for module, lines in lengths.items() if lines >= 300} == {}


def test_every_function_is_below_40_lines() -> None:
    assert [found for module in MODULES for found in functions(module) if found[1] >= 40] == []
