"""The library's errors, translated: what is passing, what is permanent, and no word of theirs."""

import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from firebreak.evidence.errors import (
    AlreadyExists,
    Attempt,
    NotFound,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    translate,
)

READING = Attempt("read", "a/b", "s3://evidence/x")
WRITING = Attempt("create", "a/b", "s3://evidence/x", writing=True)


def http(status: str, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIABAIT</AWSAccessKeyId></Error>" if code else ""
    return (
        "Generic S3 error: Error performing PUT http://s3.example/evidence/x/a/b?sig=BAIT in 1ms - "
        f"Server returned non-2xx status code: {status}: {body}\n\nDebug source:\n status code: 403 BAIT"
    )


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (AlreadyExistsError(http("412 Precondition Failed", "PreconditionFailed")), WRITING, AlreadyExists),
        (FileNotFoundError(http("404 Not Found", "NoSuchKey")), READING, NotFound),
        (FileNotFoundError(http("404 Not Found")), READING, NotFound),
        (FileNotFoundError(http("404 Not Found", "NoSuchBucket")), READING, StoreRefused),
        (FileNotFoundError(http("404 Not Found")), WRITING, StoreRefused),
        (FileNotFoundError(http("404 Not Found", "NoSuchUpload")), WRITING, StoreUnavailable),
        (PermissionDeniedError(http("403 Forbidden", "SignatureDoesNotMatch")), WRITING, StoreRefused),
        (UnauthenticatedError(http("401 Unauthorized")), READING, StoreRefused),
        (PermissionDeniedError(http("403 Forbidden", "RequestTimeTooSkewed")), WRITING, StoreUnavailable),
        (GenericError(http("400 Bad Request", "AuthorizationHeaderMalformed")), WRITING, StoreRefused),
        (GenericError(http("301 Moved Permanently", "PermanentRedirect")), WRITING, StoreRefused),
        (GenericError(http("500 Internal Server Error", "InternalError")), WRITING, StoreUnavailable),
        (GenericError(http("503 Slow Down", "SlowDown")), WRITING, StoreUnavailable),
        (GenericError(http("409 Conflict", "ConditionalRequestConflict")), WRITING, StoreUnavailable),
        (GenericError(http("429 Too Many Requests")), READING, StoreUnavailable),
        (GenericError("Generic S3 error: HTTP error: error sending request"), READING, StoreUnavailable),
        (GenericError("Unable to open file x: Permission denied (os error 13)"), WRITING, StoreRefused),
        (GenericError("Unable to open file x: Read-only file system (os error 30)"), WRITING, StoreRefused),
        (GenericError("Unable to copy data: No space left on device (os error 28)"), WRITING, StoreFull),
        (GenericError("Unable to copy data: Disk quota exceeded (os error 122)"), WRITING, StoreFull),
        (GenericError(http("507 Insufficient Storage", "InsufficientStorage")), WRITING, StoreFull),
        (GenericError(http("507 Insufficient Storage", "XMinioStorageFull")), WRITING, StoreFull),
        (PermissionDeniedError(http("403 Forbidden", "QuotaExceeded")), WRITING, StoreFull),
        (GenericError(http("400 Bad Request", "XMinioAdminBucketQuotaExceeded")), WRITING, StoreFull),
        (ValueError("bad"), READING, StoreRefused),
    ],
    ids=lambda value: "" if isinstance(value, Attempt) else str(value).partition("status code: ")[2][:40],
)
def test_each_error_becomes_one_of_ours(error: Exception, attempt: Attempt, expected: type[StoreError]) -> None:
    ours = translate(error, attempt)
    assert type(ours) is expected
    assert "cannot" in str(ours)
    assert "'a/b' in s3://evidence/x" in str(ours)
    assert "BAIT" not in str(ours)
    assert "http://" not in str(ours)


def test_a_refusal_names_status_and_code_and_what_to_check() -> None:
    error = PermissionDeniedError(http("403 Forbidden", "AccessDenied"))
    assert str(translate(error, WRITING)) == (
        "cannot create 'a/b' in s3://evidence/x: the store refused (403 AccessDenied); check the bucket's name, "
        "the region, the credentials and their rights in the operator's store settings "
        "(it needs to list, read, create and to abort multipart uploads)"
    )


def test_missing_credentials_are_called_by_their_name() -> None:
    error = GenericError(
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1ms - "
        "Server returned non-2xx status code: 403 Forbidden: no",
    )
    ours = translate(error, WRITING)
    assert type(ours) is StoreRefused
    assert "no credentials are configured" in str(ours)


def test_a_full_disk_is_called_by_its_name() -> None:
    error = GenericError("Generic LocalFileSystem error: Unable to copy data to file: (os error 28)")
    assert str(translate(error, WRITING)) == (
        "cannot create 'a/b' in s3://evidence/x: the store is full (No space left on device); "
        "make room there or raise its quota"
    )
