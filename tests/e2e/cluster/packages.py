"""Debian packages that the local cluster runs on, installed when missing."""

import os
import shutil
import subprocess
from collections.abc import Iterable

from cluster.commands import run
from cluster.provider import ClusterError
from cluster.saying import say

NODE_PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",  # bridge, host-local, portmap in /usr/lib/cni
    "iproute2",
    "nftables",
    "iptables",  # the portmap plugin calls it
    "conntrack",
    "socat",  # port-forward of containerd 1.6
    "busybox-static",
    "openssl",
)
IMAGE_PACKAGES = ("mmdebstrap", "buildah", "util-linux")


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that dpkg does not call installed."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${Status}\n", *packages]
    known = subprocess.run(query, text=True, capture_output=True, check=False).stdout
    installed = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def ensure(packages: Iterable[str]) -> None:
    """Install what is missing, with one `apt-get update`; raises ClusterError that names what could not be."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        raise ClusterError(
            "the local cluster installs Debian packages and this machine has no apt-get. "
            "Start Docker or Podman (kind is then used), or set FIREBREAK_KUBECONFIG to a cluster you have."
        )
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise ClusterError(f"missing Debian packages: {' '.join(wanted)}. Install them, or run this as root.")
    say(f"installing Debian packages: {' '.join(wanted)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "-q", "update"], env=env)
        run(["apt-get", "-q", "-y", "--no-install-recommends", "install", *wanted], env=env)
    except ClusterError as failed:
        raise ClusterError(
            f"could not install the Debian packages {' '.join(wanted)}. Check the machine's network and its "
            f"package sources, then try again.\n{failed}"
        ) from failed
