"""Saving one incident's evidence: what counts, what is kept when something breaks, what a restart finds."""

import asyncio

import pytest

from evidence_samples import INCIDENT, NOON, PREFIX, Pieces, a_request, bundle_in, exists, missing
from faulty_store import faulty_store
from firebreak.evidence.artifact import ArtifactRequest, Origin
from firebreak.evidence.errors import CorruptEvidence, StoreRefused, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.store import EvidenceStore
from firebreak.model.outcome import Completeness, Outcome

MIB = 1024 * 1024
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


async def test_a_saved_artifact_says_what_where_and_when() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), Pieces(b"he", b"llo"))
    assert artifact.sha256 == HELLO
    assert (artifact.bytes, artifact.completeness, artifact.reason) == (5, Completeness.COMPLETE, "Captured")
    assert artifact.captured_at == NOON
    assert (artifact.finished_at - NOON).total_seconds() == 1
    assert artifact.object_key is not None
    assert artifact.object_key.startswith("objects/pods/web-1/logs/app.current.log.20260301T120000000000Z-")
    assert await bundle.store.read(Key(f"{PREFIX}/{artifact.object_key}")) == b"hello"
    assert await exists(bundle.store, Key(f"{PREFIX}/receipts/pods/web-1/logs/app.current.log.json"))


async def test_a_bundle_has_an_address_to_show() -> None:
    assert bundle_in(EvidenceStore.open("memory://")).url == f"memory://{PREFIX}"
    assert bundle_in(EvidenceStore.open("s3://evidence/cases")).url == f"s3://evidence/cases/{PREFIX}"


async def test_a_restart_finds_what_was_saved() -> None:
    store = EvidenceStore.open("memory://")
    before = bundle_in(store)
    saved = await before.save(a_request("pods", "web-1", "pod.yaml"), Pieces(b"kind: Pod\n"))
    missed = await missing(before, a_request("pods", "web-1", "fs.tar"), "NoTar", "the image has no tar")
    assert await bundle_in(store).receipts() == {"pods/web-1/pod.yaml": saved, "pods/web-1/fs.tar": missed}
    other = INCIDENT.model_copy(update={"uid": "another"})
    assert await bundle_in(store, other).receipts() == {}


async def test_a_source_that_breaks_leaves_what_it_gave() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    source = Pieces(b"hel", b"lo", breaks=ConnectionResetError("peer\x1b[2J gone"))
    artifact = await bundle.save(a_request(), source)
    assert (artifact.completeness, artifact.reason) == (Completeness.PARTIAL, "SourceBroke")
    assert artifact.message == "the source broke after 5 bytes: ConnectionResetError: peer\ufffd[2J gone"
    assert (artifact.bytes, artifact.sha256) == (5, HELLO)
    assert source.closed


async def test_a_long_source_that_breaks_leaves_what_it_gave() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), Pieces(*[b"x" * MIB] * 11, breaks=ValueError("torn")))
    assert (artifact.completeness, artifact.bytes) == (Completeness.PARTIAL, 11 * MIB)


@pytest.mark.parametrize(
    "source",
    [
        Pieces(breaks=ConnectionResetError("gone")),
        Pieces(b"", b"", breaks=ConnectionResetError("gone")),
    ],
)
async def test_a_source_that_gives_nothing_and_breaks_is_missing(source: Pieces) -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), source)
    assert (artifact.completeness, artifact.reason) == (Completeness.MISSING, "SourceBroke")
    assert (artifact.bytes, artifact.sha256, artifact.object_key) == (0, None, None)
    assert await bundle.store.list(f"{PREFIX}/objects") == ()


async def test_an_empty_log_is_complete() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), Pieces())
    assert (artifact.completeness, artifact.bytes) == (Completeness.COMPLETE, 0)
    assert artifact.object_key is not None


@pytest.mark.parametrize(
    ("pieces", "said", "recorded"),
    [
        ((b"x",), Completeness.PARTIAL, Completeness.PARTIAL),
        ((b"x",), Completeness.MISSING, Completeness.PARTIAL),
        ((), Completeness.PARTIAL, Completeness.MISSING),
        ((), Completeness.MISSING, Completeness.MISSING),
    ],
)
async def test_a_sources_verdict_is_kept_where_it_agrees_with_the_bytes(
    pieces: tuple[bytes, ...],
    said: Completeness,
    recorded: Completeness,
) -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    source = Pieces(*pieces, outcome=Outcome(said, "ContainerRestarted", "another container answered"))
    artifact = await bundle.save(a_request(), source)
    assert (artifact.completeness, artifact.reason) == (recorded, "ContainerRestarted")
    assert artifact.message == "another container answered"


async def test_a_message_of_any_length_is_cut_and_not_refused() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    outcome = Outcome(Completeness.PARTIAL, "TarFailed", "\x1b" + "tar: no such file\n" * 1000)
    artifact = await bundle.save(a_request(), Pieces(b"hello", outcome=outcome))
    assert len(artifact.message) == 1024
    assert artifact.message.startswith("\ufffdtar: no such file\ufffdtar: ")


async def test_a_source_without_end_is_cut() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    source = Pieces(b"hell", b"o and more", b"and more")
    artifact = await bundle.save(a_request(), source, limit=5)
    assert (artifact.completeness, artifact.reason) == (Completeness.PARTIAL, "TooLarge")
    assert (artifact.bytes, artifact.sha256) == (5, HELLO)
    assert source.closed


async def test_a_source_that_fits_exactly_is_complete() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), Pieces(b"hello"), limit=5)
    assert artifact.completeness is Completeness.COMPLETE


async def test_a_store_that_breaks_leaves_no_receipt_and_a_later_attempt_succeeds() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    backend.fail("upload")
    source = Pieces(*[b"x" * MIB] * 11)
    with pytest.raises(StoreUnavailable):
        await bundle.save(a_request(), source)
    assert source.closed
    assert await bundle.receipts() == {}
    artifact = await bundle.save(a_request(), Pieces(*[b"x" * MIB] * 11))
    assert await bundle.receipts() == {a_request().name: artifact}


async def test_a_crash_before_the_receipt_is_captured_again_under_another_key() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    backend.fail("create", call=2, error=StoreRefused("killed here"))
    with pytest.raises(StoreRefused, match="killed here"):
        await bundle.save(a_request(), Pieces(b"hello"))
    artifact = await bundle.save(a_request(), Pieces(b"hello"))
    objects = [info.key for info in await store.list(f"{PREFIX}/objects")]
    assert len(objects) == 2
    assert f"{PREFIX}/{artifact.object_key}" in objects


async def test_a_receipt_whose_answer_was_lost_counts() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    backend.fail("create", call=2, after=True)
    artifact = await bundle.save(a_request(), Pieces(b"hello"))
    assert await bundle.receipts() == {a_request().name: artifact}


async def test_who_comes_second_gets_the_first_ones_record() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    first = await bundle.save(a_request(), Pieces(b"hello"))
    assert await bundle.save(a_request(), Pieces(b"another")) == first
    assert await missing(bundle, a_request(), "PodGone", "deleted") == first


async def test_cancelling_a_save_closes_the_source_and_leaves_nothing() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    source = Pieces(*[b"x" * MIB] * 11, endless=True)
    saving = asyncio.create_task(bundle.save(a_request(), source))
    await source.waiting.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert source.closed
    assert await bundle.store.list(PREFIX) == ()


@pytest.mark.parametrize("planted", [b"{}", b"not json"])
async def test_a_planted_receipt_is_an_error_and_no_evidence(planted: bytes) -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    await bundle.store.create(Key(f"{PREFIX}/receipts/x.json"), planted)
    with pytest.raises(CorruptEvidence, match=r"receipts/x.json' is not a Artifact as Firebreak writes it"):
        await bundle.receipts()


async def test_a_receipt_under_another_name_is_an_error() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    artifact = await bundle.save(a_request(), Pieces(b"hello"))
    await bundle.store.create(Key(f"{PREFIX}/receipts/other.json"), artifact.canonical())
    with pytest.raises(CorruptEvidence, match="speaks of another artifact"):
        await bundle.receipts()


def test_a_name_that_was_not_built_safely_is_refused() -> None:
    with pytest.raises(ValueError, match=r"build it with keys.key"):
        ArtifactRequest(name="pods/../../x", origin=Origin(name="web-1"), media_type="text/plain", method="pods/log")
