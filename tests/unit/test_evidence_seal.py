"""Sealing: once, read back, every object looked at; harmless to repeat; later evidence makes a chain."""

import json
from datetime import timedelta

import pytest

from evidence_samples import COLLECTOR, INCIDENT, NOON, PREFIX, Pieces, a_request, bundle_in, missing
from faulty_store import FaultyBackend, faulty_store
from firebreak.evidence import custody
from firebreak.evidence.backend import ObjectInfo, ObstoreBackend
from firebreak.evidence.canonical import digest
from firebreak.evidence.errors import CorruptEvidence, NotFound, SealError, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.seal import seal
from firebreak.evidence.store import EvidenceStore
from firebreak.model.outcome import Completeness

MANIFEST = Key(f"{PREFIX}/manifest.json")


async def test_a_seal_lists_everything() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    began = await custody.record(bundle, COLLECTOR, "began to capture")
    log = await bundle.save(a_request("b.log"), Pieces(b"hello"))
    gone = await missing(bundle, a_request("a.tar"), "PodGone", "deleted under way")
    sealed = await seal(bundle, COLLECTOR, notes=["known secret mounts were left out"])
    manifest = json.loads(stored := await bundle.store.read(MANIFEST))
    assert sealed.digest == digest(stored)
    assert manifest["schema"] == "firebreak.dev/manifest/v1"
    assert (manifest["sequence"], manifest["previous"]) == (1, None)
    assert manifest["artifacts"] == [json.loads(gone.canonical()), json.loads(log.canonical())]
    assert manifest["gaps"] == [
        {"name": "a.tar", "completeness": "Missing", "reason": "PodGone", "message": "deleted under way"},
    ]
    assert manifest["notes"] == ["known secret mounts were left out"]
    assert manifest["custody"] == [{"key": began.key, "sha256": began.sha256}]
    assert manifest["incident"] == json.loads(INCIDENT.model_dump_json())
    assert manifest["collector"] == {
        "account": "system:serviceaccount:firebreak:firebreak",
        "pod": "firebreak-7d9c6b5f4-x2x9k",
        "version": "0.1.0",
    }
    assert manifest["collectedFrom"] == "2026-03-01T12:00:01.000000Z"
    assert manifest["collectedUntil"] == "2026-03-01T12:00:04.000000Z"
    assert manifest["sealedAt"] == "2026-03-01T12:00:05.000000Z"


async def test_a_seal_sums_up_what_status_needs() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    await bundle.save(a_request("c.log"), Pieces(b"half", breaks=OSError("torn")))
    sealed = await seal(bundle, COLLECTOR)
    assert (sealed.manifest, sealed.manifests, sealed.artifacts, sealed.bytes) == ("manifest.json", 1, 2, 9)
    assert [(gap.name, gap.completeness, gap.reason) for gap in sealed.gaps] == [
        ("c.log", Completeness.PARTIAL, "SourceBroke"),
    ]
    assert sealed.sealed_at == NOON + timedelta(seconds=4)


async def test_sealing_again_changes_nothing() -> None:
    store = EvidenceStore.open("memory://")
    await bundle_in(store).save(a_request("b.log"), Pieces(b"hello"))
    first = await seal(bundle_in(store), COLLECTOR)
    before = await store.list(PREFIX)
    assert await seal(bundle_in(store), COLLECTOR) == first
    assert await store.list(PREFIX) == before


async def test_a_crash_after_the_manifest_was_written_uses_it() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    backend.fail("head", error=NotFound("killed here"))
    with pytest.raises(SealError):
        await seal(bundle, COLLECTOR)
    written = await store.read(MANIFEST)
    assert (await seal(bundle_in(store), COLLECTOR)).digest == digest(written)


async def test_late_evidence_makes_a_further_manifest_that_names_the_first() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    first = await seal(bundle, COLLECTOR)
    late = await missing(bundle, a_request("late.log"), "PodGone", "")
    second = await seal(bundle, COLLECTOR)
    manifest = json.loads(await bundle.store.read(Key(f"{PREFIX}/manifest-0002.json")))
    assert manifest["previous"] == first.digest
    assert manifest["artifacts"] == [json.loads(late.canonical())]
    assert (second.manifest, second.manifests, second.artifacts, second.bytes) == ("manifest-0002.json", 2, 2, 5)
    assert [gap.name for gap in second.gaps] == ["late.log"]


async def test_nothing_is_no_evidence() -> None:
    with pytest.raises(SealError, match=r"there is nothing to seal in memory://incidents/shop/.*: no artifact has"):
        await seal(bundle_in(EvidenceStore.open("memory://")), COLLECTOR)


class Forgetful(ObstoreBackend):
    """A store that acknowledges a manifest and keeps another one."""

    async def create(self, key: Key, data: bytes) -> str | None:
        changed = data.replace(b'"notes":["', b'"notes":["not ') if "manifest" in key else data
        return await super().create(key, changed)


async def test_a_manifest_that_reads_back_otherwise_is_no_seal() -> None:
    bundle = bundle_in(EvidenceStore(Forgetful(connect("memory://", {}))))
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    with pytest.raises(SealError, match=r"'manifest.json' does not read back as it was written \(SHA-256"):
        await seal(bundle, COLLECTOR)


class Shrinking(FaultyBackend):
    """A store that lost the tail of every object."""

    async def head(self, key: Key) -> ObjectInfo:
        true = await super().head(key)
        return ObjectInfo(key=true.key, bytes=true.bytes - 1, version=true.version)


async def test_an_object_of_another_size_is_no_seal() -> None:
    bundle = bundle_in(EvidenceStore(Shrinking(ObstoreBackend(connect("memory://", {})))))
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    with pytest.raises(SealError, match=r"b.log: its object has 4 bytes instead of 5"):
        await seal(bundle, COLLECTOR)


async def test_objects_that_are_gone_are_named_and_counted() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    for number in range(12):
        await bundle.save(a_request(f"{number:02}.log"), Pieces(b"hello"))
    backend.fail("head", times=12, error=NotFound("gone"))
    with pytest.raises(SealError, match=r"00.log: its object is gone; .*09.log: its object is gone; and 2 more"):
        await seal(bundle, COLLECTOR)


async def test_a_store_that_is_down_is_not_a_broken_seal() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    backend.fail("list", times=1, error=CorruptEvidence("unreadable"))
    with pytest.raises(CorruptEvidence, match="unreadable"):
        await seal(bundle, COLLECTOR)
    backend.fail("create")
    assert (await seal(bundle, COLLECTOR)).artifacts == 1


async def test_a_manifest_that_does_not_continue_the_chain_is_refused() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    await seal(bundle, COLLECTOR)
    await bundle.store.create(Key(f"{PREFIX}/manifest-0002.json"), await bundle.store.read(MANIFEST))
    with pytest.raises(CorruptEvidence, match=r"'manifest-0002.json' does not continue the one before it"):
        await seal(bundle, COLLECTOR)


async def test_trouble_that_lasts_is_passed_on_as_passing() -> None:
    store, backend = faulty_store()
    bundle = bundle_in(store)
    await bundle.save(a_request("b.log"), Pieces(b"hello"))
    backend.fail("create", error=StoreUnavailable("down"), times=3)
    assert (await seal(bundle, COLLECTOR)).manifests == 1
