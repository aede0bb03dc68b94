"""Every knob, typed, from the environment (prefix FIREBREAK_). The store is named here only, never in an Incident."""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _options(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


StoreOptions = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_options)]


class Settings(BaseSettings):
    """Settings of a running Firebreak."""

    model_config = SettingsConfigDict(env_prefix="FIREBREAK_", frozen=True, extra="forbid")

    store: str = Field(default="", description="URL of the evidence store: s3://, gs://, az://, or file:// to try out.")
    store_options: StoreOptions = Field(default={}, description="Options of the store as a JSON object, e.g. endpoint.")
    namespace: str = Field(default="firebreak", description="Firebreak's own namespace: Lease and enforcement record.")
    pod: str = Field(default="laptop", description="This replica's name, for the Lease and the custody record.")
    cluster: str = Field(default="", description="The cluster's name, part of the evidence's path.")
    image: str = Field(default="", description="Image of the enforcement probe's pods: Firebreak's own.")
    kubectl: str = Field(default="kubectl", description="The kubectl that writes `describe` into the evidence.")
    kubeconfig: str | None = Field(default=None, description="Kubeconfig; default as kubectl's, in a pod its account.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    captures: int = Field(default=4, ge=1, le=64, description="How many containers' files are copied at the same time.")
    resync_seconds: float = Field(default=30.0, gt=0, description="Seconds between looks at every open incident.")
    look_again_seconds: float = Field(
        default=300.0, gt=0, description="Seconds between looks at whether a step's outcome still holds, or was mended."
    )
    follower_seconds: float = Field(default=0.25, ge=0, description="Seconds a follower leaves the leader to contain.")
    lease_seconds: int = Field(default=15, ge=3, le=300, description="Seconds after which a silent leader is replaced.")
    probe: bool = Field(default=True, description="Whether to prove enforcement at start when no fresh proof is there.")
    proof_hours: float = Field(default=24.0, gt=0, description="Hours after which enforcement has to be proven anew.")
    log_format: str = Field(default="json", pattern="^(json|console)$", description="json, or console for people.")
