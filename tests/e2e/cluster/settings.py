"""Names, addresses and folders of the local cluster: every other module asks here.

The address ranges are private ones that are rarely used. Nothing of them is ever routed beyond this machine
(see `network.py`), and `network.py` refuses to start when something else already uses one of them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
CONFIG = PACKAGE / "config"
AUDIT_POLICY = PACKAGE.parents[2] / "manifests" / "audit" / "policy.yaml"

NODE = "node1"
NODE_IP = "10.243.0.1"
MACHINE_IP = "10.243.0.254"
LINK_PREFIX = 24
LINK_CIDR = "10.243.0.0/24"
POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE_IP = "10.96.0.1"

API_PORT = 6443
S3_PORT = 7070
S3_REGION = "us-east-1"

MACHINE_LINK = "firebreak0"  # the veth end on the machine; Linux allows 15 characters
NODE_LINK = "node0"  # its other end, inside
CGROUP = "firebreak"

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # inside the cluster's own /run

PAUSE_IMAGE = "localhost/firebreak-pause:1"
BUSYBOX_IMAGE = "busybox:1.35"
BASE_IMAGE = "localhost/firebreak-base:bookworm"


@dataclass(frozen=True)
class Paths:
    """Where one local cluster keeps what it needs and writes.

    `home` holds all state of the cluster and goes with `down --purge`; `cache` holds what is costly to make
    (binaries, base images) and stays.
    """

    home: Path
    cache: Path

    @classmethod
    def from_environment(cls) -> "Paths":
        """FIREBREAK_CLUSTER_HOME and XDG_CACHE_HOME, or the user's ~/.cache."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firebreak"
        home = os.environ.get("FIREBREAK_CLUSTER_HOME")
        return cls(home=Path(home).absolute() if home else cache / "cluster", cache=cache)

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.home / "pki"

    @property
    def conf(self) -> Path:
        """Rendered configuration files."""
        return self.home / "conf"

    @property
    def state(self) -> Path:
        """What the components store: etcd, containers, buckets."""
        return self.home / "state"

    @property
    def run(self) -> Path:
        """Process records and markers of the running cluster."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """One log per component, and the audit log."""
        return self.home / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event per line."""
        return self.logs / "audit.log"
