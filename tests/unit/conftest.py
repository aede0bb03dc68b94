"""Fixtures of the unit tests."""

from collections.abc import AsyncIterator

import pytest
from fake_api import FakeApi, running_fake


@pytest.fixture
async def fake() -> AsyncIterator[FakeApi]:
    async with running_fake() as running:
        yield running
