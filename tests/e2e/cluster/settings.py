"""Names, addresses and folders of the local cluster: every other module asks here.

The address ranges are private ones that are rarely used. Nothing of them is ever routed beyond this machine
(see `machine.py`), and `machine.py` refuses to start when something else already uses one of them. Clusters with homes
of their own run beside each other: each has a number, and with it its own link, ranges and cgroup.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
CONFIG = PACKAGE / "config"
AUDIT_POLICY = PACKAGE.parents[2] / "manifests" / "audit" / "policy.yaml"


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
    def number(self) -> Path:
        """Which of the machine's clusters this is; see `number`."""
        return self.home / "number"

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


MOST_CLUSTERS = 8  # beside each other on one machine
LINKS = "firebreak{}"


def number(paths: Paths) -> int:
    """Return the number noted in a cluster's home, else the lowest that none on this machine has."""
    if paths.number.exists():
        return int(paths.number.read_text())
    taken = [Path("/sys/class/net", LINKS.format(each)).exists() for each in range(MOST_CLUSTERS)]
    return taken.index(False) if False in taken else 0


NUMBER = number(Paths.from_environment())

NODE = "node1"
NODE_IP = f"10.243.{NUMBER}.1"
MACHINE_IP = f"10.243.{NUMBER}.254"
LINK_PREFIX = 24
LINK_CIDR = f"10.243.{NUMBER}.0/24"
POD_CIDR = f"10.{244 + NUMBER}.0.0/16"
NODE_POD_CIDR = f"10.{244 + NUMBER}.0.0/24"
SERVICE_CIDR = f"10.{96 + NUMBER}.0.0/16"
KUBERNETES_SERVICE_IP = f"10.{96 + NUMBER}.0.1"
INTAKE_IP = f"10.{96 + NUMBER}.0.43"  # of the band from which no Service is given an address unless it asks

API_PORT = 6443
S3_PORT = 7070
S3_REGION = "us-east-1"

MACHINE_LINK = LINKS.format(NUMBER)  # the veth end on the machine; Linux allows 15 characters
NODE_LINK = "node0"  # its other end, inside
CGROUP = f"firebreak{NUMBER or ''}"

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # inside the cluster's own /run

PAUSE_IMAGE = "localhost/firebreak-pause:1"
BUSYBOX_IMAGE = "busybox:1.35"
BASE_IMAGE = "localhost/firebreak-base:bookworm"
