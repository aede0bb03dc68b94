"""The evidence store on a real S3 server, which checks signatures: the same contract as on memory and on files."""

import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import obstore
import pytest

from cluster.provider import ClusterInfo
from conftest import make_bucket
from firebreak.cli.checks import Outcome, evidence_store
from firebreak.evidence.errors import SealError, StoreRefused, StoreUnavailable
from firebreak.evidence.keys import Key, join
from firebreak.evidence.location import connect
from firebreak.evidence.seal import seal
from firebreak.evidence.store import EvidenceStore, Patience
from firebreak.evidence.verify import verify

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # the contract stands beside the unit tests

from evidence_samples import COLLECTOR, Pieces, a_request, bundle_in
from store_contract import CONTRACT, MIB

ONCE = Patience(budget=0.0)


class S3Bucket(Protocol):
    """What the fixture gives: `s3://bucket/prefix` and the options that open it."""

    url: str
    options: dict[str, str]


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_s3_keeps_the_contract(
    clause: Callable[[EvidenceStore], Awaitable[None]],
    s3_bucket: S3Bucket,
) -> None:
    await clause(EvidenceStore.open(f"{s3_bucket.url}/{secrets.token_hex(4)}", s3_bucket.options))


async def test_s3_is_not_a_local_store(s3_bucket: S3Bucket) -> None:
    assert not EvidenceStore.open(s3_bucket.url, s3_bucket.options).local


async def test_a_wrong_key_is_refused_at_once_and_never_printed(s3_bucket: S3Bucket) -> None:
    store = EvidenceStore.open(s3_bucket.url, {**s3_bucket.options, "AWS_SECRET_ACCESS_KEY": "bait-secret"})
    with pytest.raises(StoreRefused, match="the store refused \\(403 SignatureDoesNotMatch\\)") as refusal:
        await store.create(Key("wrong-key"), b"x")
    for text in ("bait-secret", s3_bucket.options["AWS_ACCESS_KEY_ID"], "Signature="):
        assert text not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_a_missing_bucket_is_refused_for_whole_objects_and_streams(s3_bucket: S3Bucket) -> None:
    store = EvidenceStore.open("s3://no-such-bucket-here/x", s3_bucket.options)
    with pytest.raises(StoreRefused, match=r"404 NoSuchBucket.*check the bucket's name"):
        await store.create(Key("one"), b"x")
    with pytest.raises(StoreRefused, match="404 NoSuchBucket"):
        await store.put_stream(Key("two"), aiter(Pieces(*[b"x" * MIB] * 12)))
    with pytest.raises(StoreRefused, match="404 NoSuchBucket"):
        await store.list(Key("three"))
    with pytest.raises(StoreRefused, match="404 NoSuchBucket"):
        await store.read(Key("four"))


async def test_a_server_that_is_not_there_is_a_passing_trouble(s3_bucket: S3Bucket) -> None:
    gone = {**s3_bucket.options, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    store = EvidenceStore.open(s3_bucket.url, gone, patience=ONCE)
    with pytest.raises(StoreUnavailable, match=r"cannot create 'one' in s3://.*: the store did not answer"):
        await store.create(Key("one"), b"x")


async def test_preflight_warns_of_credentials_that_can_delete_evidence(s3_bucket: S3Bucket) -> None:
    check = await evidence_store(EvidenceStore.open(s3_bucket.url, s3_bucket.options), "firebreak")
    assert check.outcome is Outcome.WARNING
    assert "written, read back, not overwritten; but these credentials can delete evidence" in check.detail


async def test_preflight_says_that_a_deletion_only_hides_where_versions_are_locked(cluster: ClusterInfo) -> None:
    bucket = make_bucket(cluster, object_lock=True)
    check = await evidence_store(EvidenceStore.open(bucket.url, bucket.options), "firebreak")
    assert check.outcome is Outcome.UNKNOWN
    assert "a deletion hid it and its version stays" in check.detail


async def test_an_object_written_again_is_found_and_its_sealed_version_still_verifies(s3_bucket: S3Bucket) -> None:
    url = f"{s3_bucket.url}/{secrets.token_hex(4)}"
    bundle = bundle_in(EvidenceStore.open(url, s3_bucket.options))
    artifact = await bundle.save(a_request("app.log"), Pieces(b"hello"))
    if artifact.object_version is None:
        pytest.skip("this bucket keeps no versions")
    sealed = await seal(bundle, COLLECTOR)
    place = join(bundle.layout.prefix, artifact.object_key or "")
    await obstore.put_async(connect(url, s3_bucket.options).whole, place, b"jello")
    found = await verify(bundle.store, bundle.layout.prefix, expected_digest=sealed.digest)
    assert [finding.kind for finding in found.problems] == ["Overwritten"]
    with pytest.raises(SealError, match=r"app.log: its object has been written again"):
        await seal(bundle, COLLECTOR)
