"""Every knob of `firebreak intake`, typed, from the environment (prefix FIREBREAK_INTAKE_)."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from firebreak.settings import CloudEventsHeader, CloudEventsUrl, EcsFile, Names, named

MIB = 2**20


class IntakeSettings(BaseSettings):
    """Settings of a running intake. Files that change are read again; what is set here is not."""

    model_config = SettingsConfigDict(env_prefix="FIREBREAK_INTAKE_", frozen=True, extra="forbid")

    port: int = Field(default=8443, ge=0, le=65535, description="Port for alerts: TLS, unless told --insecure.")
    probe_port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    tls: Path | None = Field(default=None, description="Directory with tls.crt and tls.key; read again on change.")
    tokens: Path | None = Field(
        default=None,
        description="Directory of bearer tokens, one a file, which names the sender; SENDER.PATH sends to PATH only.",
    )
    client_ca: Path | None = Field(default=None, description="File of authorities whose client certificates count.")
    client_names: Names = Field(
        default=(), description="Names a client certificate may have: DNS or URI, or CN if it has neither; with commas."
    )
    routes: Path | None = Field(default=None, description="Settings file from alert to playbook, mode and severity.")
    rules: Path | None = Field(default=None, description="Directory of Sigma rules beside those that are shipped.")
    allow: Path | None = Field(default=None, description="File of accounts that the rules leave alone.")
    audit_log: Path | None = Field(default=None, description="The API server's audit log, to be followed.")
    audit_checkpoint: Path | None = Field(
        default=None, description="File that keeps how far the audit log was read, on a disk that outlives the process."
    )
    namespace: str = Field(default="firebreak", description="Firebreak's own namespace.")
    cluster: str = Field(default="", description="The cluster's name, for what a SIEM is told.")
    kubeconfig: str | None = Field(default=None, description="Kubeconfig; default as kubectl's, in a pod its account.")
    connections: int = Field(
        default=512, ge=4, le=65536, description="Connections at once; of one address a quarter of them."
    )
    head_seconds: float = Field(
        default=10.0, gt=0, description="Seconds for handshake and headers, and of silence between two requests."
    )
    body_seconds: float = Field(default=10.0, gt=0, description="Seconds until a body has to be there.")
    alert_bytes: int = Field(default=MIB, ge=1024, description="Longest body of alerts.")
    audit_bytes: int = Field(default=32 * MIB, ge=1024, description="Longest body of audit events.")
    buffer_bytes: int = Field(
        default=128 * MIB,
        ge=MIB,
        description="Bytes held at most: half for bodies, half for alerts that wait; of one sender half of each.",
    )
    rate: float = Field(
        default=500.0, gt=0, description="Requests a second of one sender and address that are taken, on average."
    )
    burst: int = Field(default=5000, ge=1, description="Requests of one sender and address that are taken at once.")
    log_format: str = Field(default="json", pattern="^(json|console)$", description="json, or console for people.")
    ecs_file: EcsFile = ""
    cloudevents_url: CloudEventsUrl = None
    cloudevents_header: CloudEventsHeader = None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.client_names and not self.client_ca:
            message = "FIREBREAK_INTAKE_CLIENT_NAMES needs FIREBREAK_INTAKE_CLIENT_CA: who vouches for these names"
            raise ValueError(message)
        if max(self.audit_bytes, self.alert_bytes) > self.buffer_bytes // 4:
            message = "FIREBREAK_INTAKE_BUFFER_BYTES has to be four times the longest body: it would find no room"
            raise ValueError(message)
        if self.client_ca and not self.client_names:
            message = "FIREBREAK_INTAKE_CLIENT_CA needs FIREBREAK_INTAKE_CLIENT_NAMES: an authority vouches for many"
            raise ValueError(message)
        if (self.audit_log is None) != (self.audit_checkpoint is None):
            message = "FIREBREAK_INTAKE_AUDIT_LOG and FIREBREAK_INTAKE_AUDIT_CHECKPOINT go together"
            raise ValueError(message)
        named(self.cluster, self.cloudevents_url, "FIREBREAK_INTAKE_")
        return self
