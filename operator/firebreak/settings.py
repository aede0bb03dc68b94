"""Every knob, typed, from the environment (prefix FIREBREAK_). The store is named here only, never in an Incident."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from firebreak.model.notice import DEFAULT_TEMPLATE, Format, checked

STDOUT = "-"
HEADER = re.compile(r"[A-Za-z0-9-]+: *[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def _options(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _http(value: SecretStr) -> SecretStr:
    try:
        url = URL(value.get_secret_value())
    except ValueError:
        url = URL()  # the error would quote it
    if url.scheme not in {"http", "https"} or not url.host:
        message = "want https://HOST/PATH, or http:// inside the cluster"
        raise ValueError(message)
    return value


def _header(value: SecretStr) -> SecretStr:
    if not HEADER.fullmatch(value.get_secret_value()):
        message = "want one header as NAME: VALUE, e.g. Authorization: Bearer TOKEN"
        raise ValueError(message)
    return value


def _lines(value: str) -> str:
    if value not in {"", STDOUT} and not Path(value).is_absolute():
        message = f"want the path of a file from / on, or `{STDOUT}` for stdout"
        raise ValueError(message)
    return value


def as_headers(header: SecretStr | None) -> Mapping[str, str]:
    """Return the header of a setting as an HTTP client takes it; empty without one."""
    name, _, value = (header.get_secret_value() if header else "").partition(":")
    return {name.strip(): value.strip()} if name else {}


HttpUrl = Annotated[SecretStr, AfterValidator(_http)]
"""A URL that may be a secret in itself, as Slack's are."""
Header = Annotated[SecretStr, AfterValidator(_header)]
"""One header of a request, most often with a password in it."""
EcsFile = Annotated[
    str,
    AfterValidator(_lines),
    Field(description="Where what a SIEM is told goes as lines of ECS: a file, or `-` for stdout; see siem.md."),
]
CloudEventsUrl = Annotated[
    HttpUrl | None, Field(description="Where the same is posted as CloudEvents; keep it in a Secret.")
]
CloudEventsHeader = Annotated[
    Header | None, Field(description="A header of these posts as `NAME: VALUE`, for servers that want one.")
]
StoreOptions = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_options)]


def _names(value: Any) -> Any:
    return tuple(filter(None, (name.strip() for name in value.split(",")))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]


class Settings(BaseSettings):
    """Settings of a running Firebreak."""

    model_config = SettingsConfigDict(env_prefix="FIREBREAK_", frozen=True, extra="forbid")

    store: str = Field(default="", description="URL of the evidence store: s3://, gs://, az://, or file:// to try out.")
    store_options: StoreOptions = Field(default={}, description="Options of the store as a JSON object, e.g. endpoint.")
    namespace: str = Field(default="firebreak", description="Firebreak's own namespace: Lease and enforcement record.")
    pod: str = Field(default="laptop", description="This replica's name, for the Lease and the custody record.")
    cluster: str = Field(default="", description="The cluster's name, part of the evidence's path and of notices.")
    image: str = Field(default="", description="Image of the enforcement probe's pods: Firebreak's own.")
    kubectl: str = Field(default="kubectl", description="The kubectl that writes `describe` into the evidence.")
    kubeconfig: str | None = Field(default=None, description="Kubeconfig; default as kubectl's, in a pod its account.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    captures: int = Field(
        default=4,
        ge=1,
        le=64,
        description="How many copies of files, and as many logs, are read at once; three times as many are open.",
    )
    resync_seconds: float = Field(default=30.0, gt=0, description="Seconds between looks at every open incident.")
    look_again_seconds: float = Field(
        default=300.0, gt=0, description="Seconds between looks at whether a step's outcome still holds, or was mended."
    )
    follower_seconds: float = Field(default=0.25, ge=0, description="Seconds a follower leaves the leader to contain.")
    lease_seconds: int = Field(default=15, ge=3, le=300, description="Seconds after which a silent leader is replaced.")
    probe: bool = Field(default=True, description="Whether to prove enforcement at start when no fresh proof is there.")
    protected_namespaces: Names = Field(
        default=(), description="Namespaces whose pods are never cut by themselves, beside kube-system; with commas."
    )
    breaker_window_seconds: float = Field(
        default=600.0,
        gt=0,
        description="Seconds over which the breaker counts automatic incidents: spec.source is set.",
    )
    breaker_namespace: int = Field(
        default=10, ge=0, description="Automatic incidents of one namespace that may cut within the window."
    )
    breaker_total: int = Field(
        default=30, ge=0, description="Automatic incidents in all that may cut within the window."
    )
    breaker_reserve: int = Field(default=5, ge=0, description="Beyond these two, kept for severity Critical.")
    breaker_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of a workload's pods, of 3 or more, that these may cut."
    )
    proof_hours: float = Field(default=24.0, gt=0, description="Hours after which enforcement has to be proven anew.")
    log_format: str = Field(default="json", pattern="^(json|console)$", description="json, or console for people.")
    cloud_hook_url: HttpUrl | None = Field(
        default=None, description="What is asked to end live cloud identities; see cloud.md."
    )
    cloud_hook_key: SecretStr | None = Field(
        default=None, min_length=16, description="The key that signs these calls; keep it in a Secret."
    )
    notify_url: HttpUrl | None = Field(default=None, description="Where notifications are posted; keep it in a Secret.")
    notify_header: Header | None = Field(
        default=None, description="A header of these posts as `NAME: VALUE`, for servers that want one."
    )
    notify_format: Format = Field(default=Format.SLACK, description="`slack` (`text` without markup), or `json`.")
    notify_template: Annotated[str, AfterValidator(checked)] = Field(
        default=DEFAULT_TEMPLATE, max_length=2000, description="A notification in words, see notifications.md."
    )
    ecs_file: EcsFile = ""
    cloudevents_url: CloudEventsUrl = None
    cloudevents_header: CloudEventsHeader = None

    @model_validator(mode="after")
    def _no_unsigned_call(self) -> Self:
        if (self.cloud_hook_url is None) != (self.cloud_hook_key is None):
            message = "FIREBREAK_CLOUD_HOOK_URL and FIREBREAK_CLOUD_HOOK_KEY go together: no call is made unsigned"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _no_nameless_source(self) -> Self:
        named(self.cluster, self.cloudevents_url, "FIREBREAK_")
        return self


def named(cluster: str, cloudevents_url: SecretStr | None, prefix: str) -> None:
    """Refuse CloudEvents of a cluster without a name. Raises ValueError."""
    if cloudevents_url and not cluster:
        message = f"{prefix}CLOUDEVENTS_URL needs {prefix}CLUSTER: each event says which cluster it comes from"
        raise ValueError(message)
