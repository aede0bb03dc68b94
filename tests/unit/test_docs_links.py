"""The pages that people read: what a link or a path in them names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """How GitHub names a page's headings: https://docs.github.com/en/get-started/writing-on-github, section links."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def named(page: Path) -> Iterator[str]:
    """Paths of the repository that a page names, but those with a placeholder in them."""
    found = re.findall(r"`((?:docs|manifests|operator|tests|crds|benchmarks|demo)/[\w./-]+)`", page.read_text())
    yield from (each for each in found if not (ROOT / each).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_path_of_a_page_leads_to_what_is_there(page: Path) -> None:
    assert [*broken(page), *named(page)] == []
