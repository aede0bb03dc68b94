"""Renders the component configuration files in `config/` into the cluster's folder."""

from pathlib import Path
from string import Template

from cluster import settings
from cluster.settings import CONFIG, Paths

# The template in `config/`, and where below `Paths.conf` it goes.
FILES = {
    "containerd.toml": "containerd.toml",
    "cni-bridge.conflist": "cni/10-bridge.conflist",
    "kubelet.yaml": "kubelet.yaml",
    "kube-proxy.yaml": "kube-proxy.yaml",
    "resolv.conf": "resolv.conf",
}


def write(paths: Paths) -> None:
    """Write every file whose content differs: kube-proxy ends itself when its file is so much as touched."""
    for template, target in FILES.items():
        text = Template((CONFIG / template).read_text()).substitute(_values(paths))
        file = paths.conf / target
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_if_changed(file, text)


def _values(paths: Paths) -> dict[str, str]:
    return {
        "conf": str(paths.conf),
        "pki": str(paths.pki),
        "state": str(paths.state),
        "node": settings.NODE,
        "node_ip": settings.NODE_IP,
        "pod_cidr": settings.POD_CIDR,
        "node_pod_cidr": settings.NODE_POD_CIDR,
        "cgroup": settings.CGROUP,
        "containerd_socket": settings.CONTAINERD_SOCKET,
        "pause_image": settings.PAUSE_IMAGE,
    }


def _write_if_changed(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
