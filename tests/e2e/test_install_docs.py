"""The page for administrators tells the truth: the commands of its section on verifying are answered as it says."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.provider import ClusterInfo
from conftest import Kubectl

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "install.md"
SECTION = "## 5. Verify it yourself"
PLACE = "firebreak-check"


@dataclass(frozen=True)
class Trial:
    """A command of the page, and the answer that stands behind it; without one it has to succeed."""

    command: str
    answer: str = ""

    @property
    def pattern(self) -> str:
        return ".*".join(re.escape(part.strip()) for part in self.answer.split("..."))


def trials(section: str) -> Iterator[Trial]:
    """The commands in the order of the page. A line that begins with `# ` answers the command above it."""
    for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        # A command goes on in lines that are indented.
        for entry in re.split(r"\n(?!\s|#)", block.strip()):
            command, _, answer = entry.partition("\n# ")
            yield Trial(command, answer.replace("\n# ", " "))


def section() -> str:
    text = PAGE.read_text()
    begin = text.index(SECTION)
    return text[begin : text.index("\n## ", begin + 1)]


@pytest.fixture
def place(kubectl: Kubectl, firebreak: str) -> Iterator[None]:
    """Nothing is left of an earlier trial, nor of this one."""
    gone = ("delete", "namespace", PLACE, "--ignore-not-found")
    kubectl(*gone)
    yield
    kubectl(*gone)


def test_the_page_has_trials_for_every_tier_and_for_the_quarantine_lock() -> None:
    answers = " ".join(trial.answer for trial in trials(section()))
    for policy in ("contain", "preserve", "eradicate", "quarantine"):
        assert f"'firebreak-{policy}-" in answers


def test_every_command_of_the_page_is_answered_as_it_says(place: None, cluster: ClusterInfo) -> None:
    path = f"{cluster.bin}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    found = list(trials(section()))
    for trial in found:
        if set_variable := re.fullmatch(r"export (\w+)=(\S+)", trial.command):
            env[set_variable[1]] = set_variable[2]
            continue
        done = subprocess.run(
            ["bash", "-c", trial.command], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        said = " ".join((done.stdout + done.stderr).split())
        if trial.answer:
            assert re.search(rf"(^| ){trial.pattern}$", said), (
                f"{trial.command}\nis to answer {trial.answer}\nand said {said}"
            )
            assert done.returncode != 0, f"{trial.command}\nis to be refused"
        else:
            assert done.returncode == 0, f"{trial.command}\n{said}"
    assert len([trial for trial in found if trial.answer]) >= 15
