"""The S3 server of the cluster (versitygw): its credentials, and the few calls that obstore does not have.

Requests are signed by hand (AWS Signature Version 4, path style) because creating a bucket is all that is needed.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cluster import settings
from cluster.provider import S3, ClusterError
from cluster.settings import Paths

ERROR_BODY = 500  # bytes


def credentials(paths: Paths) -> S3:
    """The server's address and keys; keys are made at random the first time and kept with the cluster's state."""
    file = paths.home / "s3-credentials.json"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps({"access_key": "firebreak-test", "secret_key": secrets.token_hex(20)}))
    endpoint = f"http://{settings.NODE_IP}:{settings.S3_PORT}"
    return S3(endpoint=endpoint, region=settings.S3_REGION, **json.loads(file.read_text()))


def folder(paths: Paths, name: str) -> Path:
    """A folder of the server's storage, made if need be; its file system must support extended attributes."""
    path = paths.state / "s3" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def create_bucket(s3: S3, name: str, *, object_lock: bool = False) -> None:
    """Create a bucket (3 to 63 characters); with `object_lock` it has versions too, and takes retention rules.

    Raises ClusterError with the server's answer when the name is taken or not allowed.
    """
    headers = {"x-amz-bucket-object-lock-enabled": "true"} if object_lock else {}
    _put(s3, f"/{name}", headers)


def _put(s3: S3, path: str, headers: dict[str, str]) -> None:
    url = s3.endpoint + path
    signed = sign(s3, path, {**headers, "host": urlsplit(s3.endpoint).netloc}, datetime.now(UTC))
    request = urllib.request.Request(url, method="PUT", headers=signed)  # noqa: S310 - the cluster's own endpoint
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - the same
            return
    except urllib.error.HTTPError as refused:
        with refused:
            answer = refused.read(ERROR_BODY).decode(errors="replace")
        raise ClusterError(f"the S3 server refused PUT {url}: {refused.code} {answer}") from refused
    except OSError as failed:
        raise ClusterError(f"no S3 server answers at {s3.endpoint}: {failed}. Try `python -m cluster up`.") from failed


def sign(s3: S3, path: str, headers: dict[str, str], now: datetime) -> dict[str, str]:
    """The headers of a PUT without query and body, with date, payload digest and signature added."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    payload = hashlib.sha256(b"").hexdigest()
    headers = {**headers, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"PUT\n{path}\n\n{lines}\n{names}\n{payload}"
    scope = f"{stamp[:8]}/{s3.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + s3.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={s3.access_key}/{scope}"
    return {**headers, "Authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}
