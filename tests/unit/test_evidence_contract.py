"""The contract of the evidence store, on memory, files and the tests' own. A real S3 runs the same in tests/e2e."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from firebreak.evidence.store import EvidenceStore
from memory_store import MemoryBackend
from store_contract import CONTRACT


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_memory_keeps_the_contract(clause: Callable[[EvidenceStore], Awaitable[None]]) -> None:
    await clause(EvidenceStore.open("memory://"))


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_files_keep_the_contract(
    clause: Callable[[EvidenceStore], Awaitable[None]],
    tmp_path: Path,
) -> None:
    await clause(EvidenceStore.open(f"file://{tmp_path}/evidence"))


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_the_tests_own_store_keeps_the_contract(clause: Callable[[EvidenceStore], Awaitable[None]]) -> None:
    await clause(EvidenceStore(MemoryBackend()))
