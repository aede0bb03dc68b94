"""The store's own rules: trying again, telling our own write from another's, back-pressure."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence_samples import Pieces, exists
from faulty_store import faulty_store
from firebreak.evidence.backend import ObstoreBackend
from firebreak.evidence.errors import AlreadyExists, StoreRefused, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.store import EvidenceStore, Patience

MIB = 1024 * 1024
ONE = Key("one")


async def test_passing_trouble_is_tried_again() -> None:
    store, backend = faulty_store()
    for operation in ("create", "get", "head", "list"):
        backend.fail(operation, times=3)
    await store.create(ONE, b"x")
    assert await store.read(ONE) == b"x"
    assert (await store.head(ONE)).bytes == 1
    assert [info.key for info in await store.list("")] == ["one"]
    assert backend.calls == {"create": 4, "get": 4, "head": 4, "list": 4}


async def test_a_refusal_is_not_tried_again() -> None:
    store, backend = faulty_store()
    backend.fail("create", times=9, error=StoreRefused("no right to write"))
    with pytest.raises(StoreRefused, match="no right to write"):
        await store.create(ONE, b"x")
    assert backend.calls == {"create": 1}


async def test_trying_again_ends_with_the_budget() -> None:
    store, backend = faulty_store(patience=Patience(budget=0.0))
    backend.fail("get", times=9)
    with pytest.raises(StoreUnavailable, match="the store is down"):
        await store.read(ONE)
    assert backend.calls == {"get": 1}


async def test_our_own_write_whose_answer_was_lost_is_ours() -> None:
    store, backend = faulty_store()
    backend.fail("create", after=True)
    stored = await store.create(ONE, b"receipt")
    assert (stored.key, stored.bytes) == ("one", 7)
    assert backend.calls["create"] == 2


async def test_another_write_found_after_trouble_is_not_ours() -> None:
    store, backend = faulty_store()
    await store.create(ONE, b"theirs")
    backend.fail("create")
    with pytest.raises(AlreadyExists):
        await store.create(ONE, b"ours")
    assert await store.read(ONE) == b"theirs"


async def test_the_same_bytes_at_the_first_try_are_not_ours() -> None:
    store, _ = faulty_store()
    await store.create(ONE, b"same")
    with pytest.raises(AlreadyExists):
        await store.create(ONE, b"same")


async def test_a_short_stream_is_tried_again_and_a_long_one_is_not() -> None:
    store, backend = faulty_store()
    backend.fail("create", times=2)
    assert (await store.put_stream(ONE, aiter(Pieces(b"short")))).bytes == 5
    backend.fail("upload", times=9)
    with pytest.raises(StoreUnavailable):
        await store.put_stream(Key("two"), aiter(Pieces(*[b"x" * MIB] * 9)))
    assert backend.calls["upload"] == 1
    assert not await exists(store, Key("two"))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3 * MIB), min_size=1, max_size=8))
async def test_the_hash_does_not_depend_on_where_chunks_end(cuts: list[int]) -> None:
    data = bytes(range(256)) * (9 * MIB // 256)
    places = [0, *sorted({sum(cuts[: n + 1]) % len(data) for n in range(len(cuts))}), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    store = EvidenceStore.open("memory://")
    stored = await store.put_stream(ONE, aiter(Pieces(*pieces)))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert await store.read(ONE, limit=len(data)) == data


class SlowBackend(ObstoreBackend):
    """Takes the first block of an upload and the others only when it is told to."""

    taken = asyncio.Event()
    go_on = asyncio.Event()

    async def upload(self, key: Key, blocks: AsyncIterator[bytes]) -> str | None:
        await anext(blocks)
        self.taken.set()
        await self.go_on.wait()
        return await super().upload(key, blocks)


class Counted:
    """A stream of 64 blocks that knows how many were asked for."""

    def __init__(self) -> None:
        self.given = 0
        self.settled = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(64):
            self.given += 1
            yield b"x" * MIB


async def test_a_slow_store_holds_the_source_back() -> None:
    backend = SlowBackend(connect("memory://", {}))
    store, source = EvidenceStore(backend), Counted()
    sending = asyncio.create_task(store.put_stream(ONE, aiter(source)))
    await backend.taken.wait()
    before = -1
    while source.given != before:  # until it stands still
        before = source.given
        for _ in range(20):
            await asyncio.sleep(0)
    assert source.given <= 12
    backend.go_on.set()
    assert (await sending).bytes == 64 * MIB
