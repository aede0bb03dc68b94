"""What can go wrong between Firebreak and its object store.

    StoreError
    ├── StoreUnavailable   passing: the network, an overloaded or restarting store; try again
    │   └── StoreFull      passing, once a person has made room: a full disk, a quota
    ├── StoreRefused       permanent: address, bucket, credentials, rights; a person has to change something
    ├── AlreadyExists      a create-only object is there already
    ├── NotFound           the object is not there
    ├── CorruptEvidence    the object is there and is not what Firebreak wrote
    └── SealError          evidence could not be sealed: nothing there, or it does not read back

The client library's own texts are never passed on: they quote the request and the server's answer, which hold access
key ids, signatures and, for Azure, the whole token. Only the HTTP status, the S3 error code and the operating system's
error number are taken from them.
"""

import os
import re
from dataclasses import dataclass

from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)


class StoreError(Exception):
    """The object store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or is not able to answer now. Worth trying again."""


class StoreFull(StoreUnavailable):
    """The store has no room left, or none that these credentials may use. Trying again at once is in vain."""


class StoreRefused(StoreError):
    """The store will keep refusing until a person changes settings, rights or the bucket."""


class AlreadyExists(StoreError):
    """A create-only write found an object under its key."""


class NotFound(StoreError):
    """There is no object under this key (or version)."""


class CorruptEvidence(StoreError):
    """An object is too large, unreadable or not in the form that Firebreak writes."""


class SealError(StoreError):
    """Evidence is not sealed, so it does not count as preserved."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was being tried: a verb for the reader, the object's key and the store's address (without credentials)."""

    verb: str
    key: str
    where: str
    writing: bool = False

    def __str__(self) -> str:
        return f"cannot {self.verb} {self.key!r} in {self.where}"


_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z][A-Za-z0-9.]{0,63})</Code>")
_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")

_REFUSED_STATUS = frozenset({301, 307, 400, 401, 403, 404, 405, 411, 412, 413, 501})
_REFUSED_CODES = frozenset({"NoSuchBucket", "XAdminUserNotFound", "InvalidAccessKeyId"})
_PASSING_CODES = frozenset({"NoSuchUpload", "RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "InternalError"})
_FULL_STATUS = "507"  # Insufficient Storage: versitygw, MinIO
_FULL_CODES = frozenset({"InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
_FULL_OS_ERRORS = frozenset({28, 122})  # ENOSPC, EDQUOT
# EPERM, EACCES, ENOTDIR, EISDIR, EINVAL, EROFS, ENAMETOOLONG: a person has to change something
_REFUSED_OS_ERRORS = frozenset({1, 13, 20, 21, 22, 30, 36})

_REFUSED_ADVICE = (
    "check the bucket's name, the region, the credentials and their rights in the operator's store settings "
    "(it needs to list, read, create and to abort multipart uploads)"
)


def translate(error: Exception, attempt: Attempt) -> StoreError:
    """Turn an error of the client library into one of ours, without its text."""
    # The library repeats the whole request and answer behind this marker; the head says it all.
    head = str(error).partition("Debug source")[0]
    status, code, number = _first(_STATUS, head), _first(_CODE, head), _first(_OS_ERROR, head)
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return AlreadyExists(f"{attempt}: an object with this key exists already; it was left as it is")
    if _is_absent(error, attempt, code):
        return NotFound(f"{attempt}: there is no such object; it was never written or has been removed")
    said = " ".join(filter(None, (status, code))) or _os_words(number)
    if any(host in head for host in _METADATA_HOSTS):
        return _without_credentials(attempt, status)
    if status == _FULL_STATUS or code in _FULL_CODES or (number and int(number) in _FULL_OS_ERRORS):
        return StoreFull(f"{attempt}: the store is full ({said}); make room there or raise its quota")
    if _is_refused(error, status, code, number):
        return StoreRefused(f"{attempt}: the store refused ({said or type(error).__name__}); {_REFUSED_ADVICE}")
    return StoreUnavailable(
        f"{attempt}: the store did not answer as it should ({said or 'no answer'}); try again later"
    )


def _is_absent(error: Exception, attempt: Attempt, code: str) -> bool:
    """A write never fails for want of the object: there "not found" means the bucket or the user."""
    return isinstance(error, FileNotFoundError) and not attempt.writing and code not in _REFUSED_CODES


def _is_refused(error: Exception, status: str, code: str, number: str) -> bool:
    if code in _PASSING_CODES:
        return False
    permanent = (
        PermissionDeniedError
        | UnauthenticatedError
        | UnknownConfigurationKeyError
        | InvalidPathError
        | NotSupportedError
        | FileNotFoundError
        | PermissionError
        | ValueError
    )
    if isinstance(error, permanent):
        return True
    return (bool(status) and int(status) in _REFUSED_STATUS) or (bool(number) and int(number) in _REFUSED_OS_ERRORS)


def _without_credentials(attempt: Attempt, status: str) -> StoreError:
    """The library asks the cloud's metadata service only when no credentials are configured."""
    text = (
        f"{attempt}: no credentials are configured, and the cloud's metadata service gave none; "
        "give the operator credentials for its evidence store"
    )
    return StoreRefused(text) if status else StoreUnavailable(text)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _os_words(number: str) -> str:
    return os.strerror(int(number)) if number else ""
