"""Fixtures of the unit tests."""

import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - pytest's plugin would import it late, where CPython 3.11.7 fails to parse it
import pytest

from cli_harness import own_logs
from fake_api import FakeApi, running_fake
from firebreak.cli import logs
from firebreak.evidence.store import EvidenceStore
from intake_harness import EXEC_RULE


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of Firebreak, or of the test cluster, in the environment."""
    for name in [name for name in os.environ if name.startswith("FIREBREAK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def fake() -> AsyncIterator[FakeApi]:
    async with running_fake() as running:
        yield running


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the logs go meanwhile."""
    stream = io.StringIO()
    with own_logs():
        logs.configure("json", stream)
        yield stream


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with one rule: somebody enters a pod."""
    (tmp_path / "exec.yaml").write_text(EXEC_RULE.replace("LEVEL", "high"))
    return tmp_path


@pytest.fixture
def store() -> EvidenceStore:
    """A store of this test's own, in memory."""
    return EvidenceStore.open("memory://")
