"""Where evidence goes: a URL and options from the operator's settings, made into clients of the store.

The URL never comes from an Incident: whoever may open an incident could else send evidence wherever they like.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from firebreak.evidence.errors import Attempt, StoreRefused, translate
from firebreak.evidence.keys import is_key

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Client = S3Store | GCSStore | AzureStore | LocalStore | MemoryStore

_CLOUDS: dict[str, tuple[type[S3Store | GCSStore | AzureStore], str]] = {
    "s3": (S3Store, "aws"),
    "gs": (GCSStore, "google"),
    "az": (AzureStore, "azure"),
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_FORMS = "use file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory:// (tests)"

# Options of the HTTP client. obstore 0.12 takes them apart from the store's own and panics where they are mixed.
_CLIENT_OPTIONS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "default_content_type",
        "http1_only",
        "http2_keep_alive_interval",
        "http2_keep_alive_timeout",
        "http2_keep_alive_while_idle",
        "http2_max_frame_size",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "read_timeout",
        "root_certificate",
        "timeout",
        "user_agent",
    },
)

# Whole objects are small and are retried by us, who can tell our own earlier write from somebody else's. The parts of
# a stream can be retried by the library alone, and a slow consumer may take hours over one download.
_WHOLE_TIMES = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "60s"}
_STREAM_TIMES = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "7d"}
_NO_RETRY: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(seconds=60)}
_PART_RETRY: "RetryConfig" = {
    "max_retries": 1000,  # time decides: the library's waits grow so slowly that 20 tries ended within 15 s (seen)
    "retry_timeout": timedelta(seconds=120),
    "backoff": {
        "init_backoff": timedelta(milliseconds=500),
        "max_backoff": timedelta(seconds=10),
        "base": 3,
    },
}


@dataclass(frozen=True, slots=True)
class Clients:
    """Two clients of one store: they differ in patience only."""

    url: str
    """The address as people may see it, without credentials."""
    local: bool
    """True when the evidence shares the fate of the operator's own machine."""
    whole: Client
    streaming: Client


def connect(url: str, options: Mapping[str, str]) -> Clients:
    """Check the address and make the clients; nothing is sent yet.

    `options` are named as the library and its environment variables name them (`AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`,
    `AZURE_STORAGE_ACCOUNT_NAME`, `GOOGLE_SERVICE_ACCOUNT`, ...) and win over the environment, which is read as well.
    Raises StoreRefused when the address or an option cannot be right.
    """
    parts = _split(url)
    if parts.scheme == "memory":
        _require_bare(parts)
        memory = MemoryStore()
        return Clients(url="memory://", local=True, whole=memory, streaming=memory)
    if parts.scheme == "file":
        return _connect_folder(parts)
    return _connect_cloud(parts, options)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StoreRefused(f"the evidence store's URL is not a URL; {_FORMS}") from None
    if parts.scheme not in {"file", "memory", *_CLOUDS}:
        raise StoreRefused(
            f"the evidence store's URL has the scheme {parts.scheme!r}, which is not supported; {_FORMS}"
        )
    if "@" in parts.netloc:
        raise StoreRefused("the evidence store's URL holds credentials; give them as options or environment instead")
    if parts.query or parts.fragment:
        raise StoreRefused(f"the evidence store's URL has a query or fragment, which has no meaning there; {_FORMS}")
    return parts


def _require_bare(parts: SplitResult) -> None:
    if parts.netloc or parts.path.strip("/"):
        raise StoreRefused("memory:// takes no name or folder: it begins empty each time; write memory:// alone")


def _connect_folder(parts: SplitResult) -> Clients:
    folder = Path(unquote(parts.path))
    if parts.netloc or not folder.is_absolute() or ".." in folder.parts or folder == Path("/"):
        raise StoreRefused("a file:// evidence store needs the absolute path of a folder: file:///var/lib/firebreak")
    where = f"file://{folder}"
    try:
        client = LocalStore(folder, mkdir=True)
    except (BaseError, OSError) as error:
        raise translate(error, Attempt("open", "", where, writing=True)) from None
    return Clients(url=where, local=True, whole=client, streaming=client)


def _connect_cloud(parts: SplitResult, options: Mapping[str, str]) -> Clients:
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise StoreRefused(f"the evidence store's URL names no valid bucket ({parts.netloc!r}); {_FORMS}")
    if prefix and not is_key(prefix):
        raise StoreRefused(
            f"the evidence store's prefix {prefix!r} may hold letters, digits and ._- between slashes only"
        )
    where = f"{parts.scheme}://{parts.netloc}" + (f"/{prefix}" if prefix else "")
    kind, family = _CLOUDS[parts.scheme]
    own, http = _sort_options(options, family)

    def client(times: dict[str, str], retry: "RetryConfig") -> Client:
        http_options: ClientConfig = {**times, **http}  # type: ignore[typeddict-item]  # checked by the library
        return kind.from_url(where, config=own, client_options=http_options, retry_config=retry)  # type: ignore[arg-type]

    try:
        return Clients(
            url=where,
            local=False,
            whole=client(_WHOLE_TIMES, _NO_RETRY),
            streaming=client(_STREAM_TIMES, _PART_RETRY),
        )
    except (BaseError, ValueError, TypeError) as error:
        raise StoreRefused(
            f"the evidence store {where} cannot be opened with these options "
            f"({', '.join(sorted(options)) or 'none'}; {type(error).__name__}); check their names and values",
        ) from None


def _sort_options(options: Mapping[str, str], family: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The store's own options and those of the HTTP client, the latter from the environment as well.

    Passing client options makes the library forget those that it read from the environment.
    """
    own: dict[str, Any] = {}
    http: dict[str, Any] = {}
    for name, value in os.environ.items():
        if (short := _client_option(name, family)) and name.lower() != short:
            http[short] = value
    for name, value in options.items():
        if short := _client_option(name, family):
            http[short] = value
        else:
            own[name] = value
    return own, http


def _client_option(name: str, family: str) -> str:
    """The HTTP client's name for an option, or nothing when it is not one."""
    short = name.lower().removeprefix(f"{family}_")
    return short if short in _CLIENT_OPTIONS else ""
