"""What every evidence store must do, whatever it is made of: run on memory, on files and on a real S3.

Each function takes a store and keeps to keys of its own name.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest

from evidence_samples import COLLECTOR, Pieces, a_request, bundle_in, exists, missing
from firebreak.evidence import custody
from firebreak.evidence.errors import AlreadyExists, CorruptEvidence, NotFound
from firebreak.evidence.keys import Key, key
from firebreak.evidence.layout import IncidentIdentity
from firebreak.evidence.seal import seal
from firebreak.evidence.store import EvidenceStore
from firebreak.evidence.verify import verify

MIB = 1024 * 1024


async def what_was_created_reads_back(store: EvidenceStore) -> None:
    stored = await store.create(Key("created/one"), b"first line\n")
    assert stored.bytes == 11
    assert stored.sha256 == "812702a1550d251abb2b813409daf5960269f1b9d62fa1c027c319e7baca3ae8"
    assert await store.read(Key("created/one")) == b"first line\n"


async def a_second_writer_is_refused_and_changes_nothing(store: EvidenceStore) -> None:
    await store.create(Key("twice/one"), b"first")
    with pytest.raises(AlreadyExists, match=r"cannot create 'twice/one' in .*: an object with this key exists already"):
        await store.create(Key("twice/one"), b"second")
    assert await store.read(Key("twice/one")) == b"first"


async def a_long_stream_arrives_byte_for_byte(store: EvidenceStore) -> None:
    pieces = [bytes([number]) * (MIB + number) for number in range(20)]
    stored = await store.put_stream(Key("long/one"), aiter(Pieces(*pieces)))
    expected = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert (stored.bytes, stored.sha256) == (20 * MIB + 190, expected)
    running = hashlib.sha256()
    async for piece in store.stream(Key("long/one")):
        running.update(piece)
    assert running.hexdigest() == expected


async def an_empty_stream_is_an_empty_object(store: EvidenceStore) -> None:
    stored = await store.put_stream(Key("empty/one"), aiter(Pieces()))
    assert stored.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert await store.read(Key("empty/one")) == b""


async def a_stream_that_raises_leaves_no_object(store: EvidenceStore) -> None:
    broken = Pieces(*[b"x" * MIB] * 12, breaks=RuntimeError("the pod is gone"))
    with pytest.raises(RuntimeError, match="the pod is gone"):
        await store.put_stream(Key("broken/one"), aiter(broken))
    assert not await exists(store, Key("broken/one"))


async def a_cancelled_stream_leaves_no_object(store: EvidenceStore) -> None:
    source = Pieces(*[b"x" * MIB] * 12, endless=True)
    sending = asyncio.create_task(store.put_stream(Key("cancelled/one"), aiter(source)))
    await source.waiting.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert source.closed
    assert not await exists(store, Key("cancelled/one"))


async def a_list_ends_at_the_segment(store: EvidenceStore) -> None:
    for name in ("listed/b", "listed/a/c", "listed-not/d"):
        await store.create(Key(name), b"12")
    found = await store.list(Key("listed"))
    assert [(info.key, info.bytes) for info in found] == [("listed/a/c", 2), ("listed/b", 2)]
    assert await store.list(Key("unheard/of")) == ()


async def what_is_not_there_is_named(store: EvidenceStore) -> None:
    with pytest.raises(NotFound, match=r"cannot read 'absent/one' in .*: there is no such object"):
        await store.read(Key("absent/one"))
    with pytest.raises(NotFound, match="cannot look at 'absent/one'"):
        await store.head(Key("absent/one"))
    with pytest.raises(NotFound, match="cannot read 'absent/one'"):
        await anext(aiter(store.stream(Key("absent/one"))))
    assert not await exists(store, Key("absent/one"))


async def a_document_that_is_too_large_is_not_taken_into_memory(store: EvidenceStore) -> None:
    await store.create(Key("large/one"), b"x" * 101)
    with pytest.raises(CorruptEvidence, match="it has 101 bytes and 100 are the most"):
        await store.read(Key("large/one"), limit=100)


async def names_of_an_attacker_stay_in_their_segment(store: EvidenceStore) -> None:
    odd = [
        "../../escape", "a/b", "..", "", "%2F", "über", "nul\0", "new\nline", "q?x=1#f", "sp ace+plus", "x" * 500,
    ]  # fmt: skip
    for name in odd:
        await store.create(key("odd", name), name.encode())
    for name in odd:
        assert await store.read(key("odd", name)) == name.encode()
    found = await store.list(Key("odd"))
    assert {info.key for info in found} == {key("odd", name) for name in odd}


async def a_bundle_is_sealed_once_and_verifies(store: EvidenceStore) -> None:
    incident = IncidentIdentity(namespace="shop", name="sealed", uid="1", cluster="c1")
    bundle = bundle_in(store, incident)
    await custody.record(bundle, COLLECTOR, "began to capture")
    await bundle.save(a_request("pods", "web-1", "fs.tar"), Pieces(*[b"y" * MIB] * 10))
    await bundle.save(a_request("pods", "web-1", "pod.yaml"), Pieces(b"kind: Pod\n"))
    await missing(bundle, a_request("pods", "web-1", "previous.log"), "NoPreviousContainer", "never restarted")
    first = await seal(bundle, COLLECTOR)
    again = await seal(bundle_in(store, incident), COLLECTOR)
    assert (first.digest, first.artifacts, first.bytes) == (again.digest, 3, 10 * MIB + 10)
    assert [gap.name for gap in first.gaps] == ["pods/web-1/previous.log"]
    verification = await verify(store, incident.prefix, expected_digest=first.digest)
    assert verification.problems == ()
    assert verification.remarks == ()
    assert (verification.artifacts, verification.bytes) == (3, 10 * MIB + 10)


async def two_processes_that_save_one_artifact_agree(store: EvidenceStore) -> None:
    incident = IncidentIdentity(namespace="shop", name="raced", uid="1")
    one, two = bundle_in(store, incident), bundle_in(store, incident)
    saved = await asyncio.gather(
        one.save(a_request("pods", "web-1", "pod.yaml"), Pieces(b"as one saw it")),
        two.save(a_request("pods", "web-1", "pod.yaml"), Pieces(b"as two saw it")),
    )
    assert saved[0] == saved[1]
    assert await one.receipts() == {"pods/web-1/pod.yaml": saved[0]}


async def two_processes_that_seal_agree(store: EvidenceStore) -> None:
    incident = IncidentIdentity(namespace="shop", name="sealed-twice", uid="1")
    one, two = bundle_in(store, incident), bundle_in(store, incident)
    await one.save(a_request(), Pieces(b"line\n"))
    seals = await asyncio.gather(seal(one, COLLECTOR), seal(two, COLLECTOR))
    assert seals[0] == seals[1]
    assert seals[0].manifests == 1


CONTRACT: list[Callable[[EvidenceStore], Awaitable[None]]] = [
    what_was_created_reads_back,
    a_second_writer_is_refused_and_changes_nothing,
    a_long_stream_arrives_byte_for_byte,
    an_empty_stream_is_an_empty_object,
    a_stream_that_raises_leaves_no_object,
    a_cancelled_stream_leaves_no_object,
    a_list_ends_at_the_segment,
    what_is_not_there_is_named,
    a_document_that_is_too_large_is_not_taken_into_memory,
    names_of_an_attacker_stay_in_their_segment,
    a_bundle_is_sealed_once_and_verifies,
    two_processes_that_save_one_artifact_agree,
    two_processes_that_seal_agree,
]
