"""Fixtures of the unit tests."""

import os
from collections.abc import AsyncIterator

import hypothesis  # noqa: F401 - pytest's plugin would import it late, where CPython 3.11.7 fails to parse it
import pytest

from fake_api import FakeApi, running_fake
from firebreak.evidence.store import EvidenceStore


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
def store() -> EvidenceStore:
    """A store of this test's own, in memory."""
    return EvidenceStore.open("memory://")
