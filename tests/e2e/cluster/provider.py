"""The one interface that tests, the Makefile and the demo see, whatever cluster stands behind it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class ClusterError(Exception):
    """Something about the cluster failed; the text says what, and what to do next."""


@dataclass(frozen=True)
class S3:
    """An S3 server. `endpoint` is reachable from this machine and from pods alike."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str


@dataclass(frozen=True)
class AuditReceiver:
    """Who gets the API server's audit events: a Service with this cluster IP and a certificate of this authority.

    The API server shows the token, as `sender`.
    """

    address: str
    authority: Path
    authority_key: Path
    sender: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class ClusterInfo:
    """What a user of the cluster needs to know.

    `bin` is a folder with `kubectl` of the cluster's version; `audit_log`, `s3` and `audit_receiver` are None where the
    provider has none (an existing cluster that does not name them).
    """

    provider: str
    kubeconfig: Path
    bin: Path
    audit_log: Path | None
    s3: S3 | None
    audit_receiver: AuditReceiver | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that `python -m cluster info` prints."""
        s3 = self.s3 and {
            "endpoint": self.s3.endpoint,
            "accessKey": self.s3.access_key,
            "secretKey": self.s3.secret_key,
            "region": self.s3.region,
        }
        return {
            "provider": self.provider,
            "kubeconfig": str(self.kubeconfig),
            "bin": str(self.bin),
            "auditLog": self.audit_log and str(self.audit_log),
            "s3": s3,
        }


class Provider(Protocol):
    """One way to have a Kubernetes. Every method raises ClusterError when it cannot do what it says."""

    def up(self) -> ClusterInfo:
        """Bring the cluster up, or what is missing of it; return when pods can be created."""

    def down(self, *, purge: bool) -> None:
        """End the cluster. With `purge` its state goes too; built binaries and images stay cached."""

    def status(self) -> dict[str, str]:
        """Each part of the cluster with one word on how it is."""

    def info(self) -> ClusterInfo:
        """What `up` returned, without changing anything; raises when the cluster is not there."""

    def load_image(self, tar: Path) -> None:
        """Make the images of a docker-archive usable by pods with imagePullPolicy IfNotPresent or Never."""
