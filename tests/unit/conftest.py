"""Fixtures of the unit tests."""

from collections.abc import AsyncIterator

import hypothesis  # noqa: F401 - pytest's plugin would import it late, where CPython 3.11.7 fails to parse it
import pytest

from fake_api import FakeApi, running_fake
from firebreak.evidence.store import EvidenceStore


@pytest.fixture
async def fake() -> AsyncIterator[FakeApi]:
    async with running_fake() as running:
        yield running


@pytest.fixture
def store() -> EvidenceStore:
    """A store of this test's own, in memory."""
    return EvidenceStore.open("memory://")
