"""Verification: what somebody with access to the store did to sealed evidence is found and named."""

from pathlib import Path

import pytest

from evidence_samples import COLLECTOR, INCIDENT, PREFIX, Pieces, a_request, bundle_in, missing
from faulty_store import faulty_store
from firebreak.evidence import custody
from firebreak.evidence.bundle import Bundle
from firebreak.evidence.errors import StoreRefused, StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.seal import Seal, seal
from firebreak.evidence.store import EvidenceStore, Patience
from firebreak.evidence.verify import Verification, verify


class Files:
    """A sealed bundle on files, and the hands of somebody who may change them."""

    def __init__(self, root: Path) -> None:
        self.store = EvidenceStore.open(f"file://{root}")
        self.bundle: Bundle = bundle_in(self.store)
        self.root = root / PREFIX

    async def fill(self) -> Seal:
        await custody.record(self.bundle, COLLECTOR, "began to capture")
        await custody.record(self.bundle, COLLECTOR, "captured")
        await self.bundle.save(a_request("app.log"), Pieces(b"hello"))
        await missing(self.bundle, a_request("fs.tar"), "PodGone", "")
        return await seal(self.bundle, COLLECTOR)

    async def verify(self, expected_digest: str | None = None) -> Verification:
        return await verify(self.store, INCIDENT.prefix, expected_digest=expected_digest)

    def one(self, pattern: str) -> Path:
        return next(iter(sorted(self.root.glob(pattern))))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "evidence")


def kinds(verification: Verification) -> list[str]:
    return [finding.kind.value for finding in verification.problems]


def remarks(verification: Verification) -> list[tuple[str, str]]:
    return [(finding.kind.value, finding.key) for finding in verification.remarks]


async def test_untouched_evidence_verifies(files: Files) -> None:
    sealed = await files.fill()
    found = await files.verify(sealed.digest)
    assert found.ok
    assert (found.digest, found.manifests, found.artifacts, found.bytes) == (sealed.digest, 1, 2, 5)
    assert found.remarks == ()


async def test_changed_bytes_of_the_same_size_are_found(files: Files) -> None:
    await files.fill()
    files.one("objects/app.log.*").write_bytes(b"jello")
    found = await files.verify()
    assert kinds(found) == ["HashDiffers"]
    assert found.problems[0].key.startswith("objects/app.log.")
    assert not found.ok


async def test_a_shortened_object_is_found(files: Files) -> None:
    await files.fill()
    files.one("objects/app.log.*").write_bytes(b"hell")
    found = await files.verify()
    assert kinds(found) == ["SizeDiffers"]
    assert found.problems[0].message == "4 bytes are there, 5 were sealed"


async def test_a_removed_object_is_found(files: Files) -> None:
    await files.fill()
    files.one("objects/app.log.*").unlink()
    assert kinds(await files.verify()) == ["ObjectMissing"]


async def test_a_changed_manifest_is_found_by_the_digest_kept_elsewhere(files: Files) -> None:
    sealed = await files.fill()
    manifest = files.one("manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"PodGone"', b'"PodBusy"'))
    assert "DigestDiffers" in kinds(await files.verify(sealed.digest))
    assert kinds(await files.verify()) == ["ReceiptDiffers"]


async def test_an_unreadable_manifest_is_found(files: Files) -> None:
    await files.fill()
    files.one("manifest.json").write_bytes(b"{}")
    assert kinds(await files.verify()) == ["ManifestUnreadable", "NotSealed"]


async def test_a_bundle_without_a_manifest_is_not_sealed(files: Files) -> None:
    await files.bundle.save(a_request("app.log"), Pieces(b"hello"))
    found = await files.verify()
    assert kinds(found) == ["NotSealed"]
    assert remarks(found) == [("NotYetSealed", "receipts/app.log.json")]
    assert found.digest is None


async def test_a_place_with_nothing_in_it_is_not_sealed(files: Files) -> None:
    assert kinds(await files.verify()) == ["NotSealed"]


async def test_a_chain_of_seals_verifies_and_shows_what_was_cut_out_of_it(files: Files) -> None:
    await files.fill()
    for name in ("late.log", "later.log"):
        await files.bundle.save(a_request(name), Pieces(b"more"))
        await seal(files.bundle, COLLECTOR)
    found = await files.verify()
    assert (found.ok, found.manifests, found.artifacts, found.bytes) == (True, 3, 4, 13)
    files.one("manifest-0002.json").unlink()
    found = await files.verify()
    assert kinds(found) == ["ManifestMissing", "ChainBroken"]
    assert remarks(found)[0] == ("NotYetSealed", "receipts/late.log.json")


async def test_a_removed_last_manifest_is_found_by_the_digest_kept_elsewhere(files: Files) -> None:
    await files.fill()
    await files.bundle.save(a_request("late.log"), Pieces(b"more"))
    second = await seal(files.bundle, COLLECTOR)
    files.one("manifest-0002.json").unlink()
    assert kinds(await files.verify(second.digest)) == ["DigestDiffers"]


async def test_a_changed_or_removed_receipt_is_found(files: Files) -> None:
    await files.fill()
    receipt = files.one("receipts/fs.tar.json")
    receipt.write_bytes(receipt.read_bytes().replace(b"PodGone", b"PodBusy"))
    assert kinds(await files.verify()) == ["ReceiptDiffers"]
    receipt.unlink()
    found = await files.verify()
    assert [(finding.key, finding.message) for finding in found.problems] == [
        ("receipts/fs.tar.json", "a sealed artifact's receipt is gone"),
    ]


async def test_leftovers_and_strangers_are_mentioned_and_are_no_problem(files: Files) -> None:
    await files.fill()
    (files.root / "objects" / "app.log.earlier-attempt").write_bytes(b"hel")
    (files.root / "receipts" / "planted.json").write_bytes(b"{}")
    (files.root / "readme.html").write_bytes(b"<script>")
    found = await files.verify()
    assert found.ok
    assert sorted(remarks(found)) == [
        ("Foreign", "readme.html"),
        ("Foreign", "receipts/planted.json"),
        ("Leftover", "objects/app.log.earlier-attempt"),
        ("NotYetSealed", "receipts/planted.json"),
    ]


async def test_a_changed_custody_entry_breaks_manifest_and_chain(files: Files) -> None:
    await files.fill()
    entry = files.one("custody/*.json")
    entry.write_bytes(entry.read_bytes().replace(b"began", b"ended"))
    found = await files.verify()
    assert kinds(found) == ["CustodyChanged", "CustodyBroken"]
    assert found.problems[1].message == "the entry before it is gone or has been changed"


async def test_a_fork_of_custody_is_mentioned(files: Files) -> None:
    await files.fill()
    entry = files.one("custody/*.json")
    (files.root / "custody" / "99991231T000000000000Z-00000000.json").write_bytes(
        entry.read_bytes().replace(b"began", b"still"),
    )
    found = await files.verify()
    assert found.ok
    assert remarks(found) == [("CustodyFork", "custody/99991231T000000000000Z-00000000.json")]


async def test_entries_after_the_seal_extend_custody_without_harm(files: Files) -> None:
    sealed = await files.fill()
    await custody.record(files.bundle, COLLECTOR, "was downloaded by an auditor")
    assert (await files.verify(sealed.digest)).ok


async def test_a_copied_bundle_verifies_at_its_new_place(files: Files, tmp_path: Path) -> None:
    sealed = await files.fill()
    (tmp_path / "elsewhere").mkdir()
    files.root.rename(tmp_path / "elsewhere" / "case-17")
    elsewhere = EvidenceStore.open(f"file://{tmp_path}/elsewhere")
    assert (await verify(elsewhere, Key("case-17"), expected_digest=sealed.digest)).ok


@pytest.mark.parametrize("operation", ["list", "get", "stream", "head"])
@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreRefused("no right to read")])
async def test_a_store_that_cannot_be_read_gives_no_verdict(
    operation: str,
    error: StoreUnavailable | StoreRefused,
) -> None:
    store, backend = faulty_store(patience=Patience(budget=0.0))
    bundle = bundle_in(store)
    await bundle.save(a_request("app.log"), Pieces(b"hello"))
    await seal(bundle, COLLECTOR)
    backend.fail(operation, error=error)
    with pytest.raises(type(error)):
        await verify(store, INCIDENT.prefix)
