"""Records live for years: their form is pinned here, and they are read strictly."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firebreak.evidence.artifact import Artifact, Origin
from firebreak.evidence.canonical import canonical_json, rfc3339
from firebreak.evidence.errors import CorruptEvidence
from firebreak.evidence.source import clip
from firebreak.model.outcome import Completeness

HASH = "a" * 64
STORED_FORM = (
    b'{"bytes":12,"capturedAt":"2026-03-01T12:00:00.000000Z","completeness":"Partial",'
    b'"finishedAt":"2026-03-01T12:00:01.500000Z","mediaType":"text/plain","message":"restarted",'
    b'"method":"pods/log","name":"pods/web-1/logs/app.current.log",'
    b'"objectKey":"objects/pods/web-1/logs/app.current.log.1","objectVersion":"v1",'
    b'"origin":{"container":"app","containerID":"containerd://abc","kind":"Pod","name":"web-1",'
    b'"namespace":"shop","uid":"u1"},"reason":"ContainerRestarted",'
    b'"schema":"firebreak.dev/artifact/v1","sha256":"' + HASH.encode() + b'"}'
)


def an_artifact(**changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "name": "pods/web-1/logs/app.current.log",
        "origin": Origin(namespace="shop", name="web-1", uid="u1", container="app", container_id="containerd://abc"),
        "media_type": "text/plain",
        "method": "pods/log",
        "captured_at": datetime(2026, 3, 1, 13, 0, 0, tzinfo=timezone(timedelta(hours=1))),
        "finished_at": datetime(2026, 3, 1, 12, 0, 1, 500_000, tzinfo=UTC),
        "completeness": Completeness.PARTIAL,
        "reason": "ContainerRestarted",
        "message": "restarted",
        "bytes": 12,
        "sha256": HASH,
        "object_key": "objects/pods/web-1/logs/app.current.log.1",
        "object_version": "v1",
    }
    return Artifact(**(values | changes))


def test_an_artifact_is_stored_in_one_form() -> None:
    assert an_artifact().canonical() == STORED_FORM


def test_what_was_stored_reads_back_equal() -> None:
    assert Artifact.parse(STORED_FORM, "receipts/x.json") == an_artifact()


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("surprise", 1, "field 'surprise': extra_forbidden"),
        ("bytes", "12", "field 'bytes': int_type"),
        ("bytes", -1, "field 'bytes': greater_than_equal"),
        ("schema", "firebreak.dev/artifact/v2", "field 'schema': literal_error"),
        ("sha256", "A" * 64, "field 'sha256': string_pattern_mismatch"),
        ("completeness", "Mostly", "field 'completeness': enum"),
        ("reason", "two words", "field 'reason': string_pattern_mismatch"),
        ("name", "../up", "field 'name': value_error"),
        ("objectKey", "/etc/passwd", "field 'objectKey': value_error"),
        ("capturedAt", "2026-03-01T12:00:00", "field 'capturedAt': value_error"),
        ("capturedAt", 1772366400, "field 'capturedAt': datetime_type"),
    ],
)
def test_a_record_in_another_form_is_refused_with_the_field(field: str, value: Any, complaint: str) -> None:
    changed = json.dumps(json.loads(STORED_FORM) | {field: value}).encode()
    with pytest.raises(CorruptEvidence, match=complaint) as refusal:
        Artifact.parse(changed, "receipts/x.json")
    assert "'receipts/x.json' is not a Artifact as Firebreak writes it" in str(refusal.value)
    assert str(value) not in str(refusal.value) or str(value) in {"1", "12", "-1"}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_record_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptEvidence, match="keep it as it is"):
        Artifact.parse(data, "receipts/x.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"object_key": None},
        {"sha256": None},
        {"completeness": Completeness.MISSING},
        {"completeness": Completeness.MISSING, "object_key": None, "sha256": None, "object_version": None},
    ],
)
def test_a_record_never_claims_more_than_there_is(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        an_artifact(**changes)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        an_artifact().bytes = 13


def test_floats_are_refused_at_any_depth() -> None:
    with pytest.raises(TypeError, match="evidence documents hold no floats"):
        canonical_json({"a": [{"b": 1.5}]})


def test_keys_are_sorted_and_text_is_ascii() -> None:
    assert canonical_json({"b": "ü", "a": [1, True, None]}) == b'{"a":[1,true,null],"b":"\\u00fc"}'


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_times_sort_as_their_texts(one: datetime, two: datetime) -> None:
    assert (one < two) == (rfc3339(one) < rfc3339(two))


def test_a_message_is_cleaned_and_cut() -> None:
    said = clip("\x1b[31mred\x1b[0m \u202egnp.exe line\nbreak \udcff")
    assert said == "\ufffd[31mred\ufffd[0m \ufffdgnp.exe line\ufffdbreak \ufffd"
    assert len(clip("x" * 5000)) == 1024
