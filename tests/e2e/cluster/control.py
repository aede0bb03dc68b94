"""Breaking the local cluster on purpose, and mending it: for tests of what then happens.

Names: containerd, etcd, versitygw (the S3 server), kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
kube-proxy, enforcer. Only the provider `local` has them; with another, these raise ClusterError: look at
`ClusterInfo.provider` first. Stopping the enforcer takes its rules away: the cluster then enforces no policy.

Besides: pods without network, a store that trickles, a store without room. All of it inside the cluster's namespaces.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster import auditing
from cluster.choose import choose
from cluster.components import Component, Supervisor
from cluster.local import LocalCluster
from cluster.namespaces import Namespaces
from cluster.provider import ClusterError
from cluster.settings import S3_PORT, Paths


def stop(name: str) -> None:
    """End a component as an administrator would; returns when its process is gone."""
    supervisor, component = _find(name)
    supervisor.stop(component)


def kill(name: str) -> None:
    """End a component by SIGKILL, as a crash would; nothing starts it again but `start` and `up`."""
    supervisor, component = _find(name)
    supervisor.kill(component)


def start(name: str) -> None:
    """Start a component that is not running, or not as it should; returns when it is ready."""
    supervisor, component = _find(name)
    supervisor.ensure(component)
    supervisor.wait_ready(component)


def running(name: str) -> bool:
    """Whether the component's process is there."""
    supervisor, component = _find(name)
    return supervisor.running(component) is not None


def process_ids() -> dict[str, int]:
    """The process of every component that runs."""
    return _local().process_ids()


@contextmanager
def stopped(name: str) -> Iterator[None]:
    """The component is stopped inside the block and ready again after it."""
    stop(name)
    try:
        yield
    finally:
        start(name)


@contextmanager
def sending_audit_events() -> Iterator[None]:
    """The API server, started anew, sends audit events to `ClusterInfo.audit_receiver` inside the block."""
    paths = Paths.from_environment()
    auditing.send(paths)
    start("kube-apiserver")
    try:
        yield
    finally:
        auditing.hold_back(paths)
        start("kube-apiserver")


@contextmanager
def cut_off(address: str, *, but_port: int) -> Iterator[None]:
    """Packets from and to a pod vanish inside the block, except those of its own port for the kubelet's probes."""
    with _packets(
        f"chain lost {{ type filter hook prerouting priority -300; "
        f"ip saddr {address} tcp sport != {but_port} drop; ip daddr {address} tcp dport != {but_port} drop; }}"
    ):
        yield


@contextmanager
def trickling_store(rate: str) -> Iterator[None]:
    """The S3 server takes no more than a rate inside the block, such as `512 kbytes/second`; the rest is lost."""
    with _packets(
        f"chain lost {{ type filter hook input priority -300; tcp dport {S3_PORT} limit rate over {rate} drop; }}"
    ):
        yield


@contextmanager
def small_bucket(name: str, size: str) -> Iterator[Callable[[str], None]]:
    """A bucket is an empty disk of its own inside the block, of a size such as `1m`; yields what gives it another."""
    namespaces, folder = _namespaces(), str(Paths.from_environment().state / "s3" / "buckets" / name)

    def resize(another: str) -> None:
        namespaces.run("mount", "-o", f"remount,size={another}", folder)

    namespaces.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield resize
    finally:
        namespaces.run("umount", "--lazy", folder)  # the server may still have a file of it open


@contextmanager
def _packets(chain: str) -> Iterator[None]:
    namespaces = _namespaces()
    namespaces.run("nft", "-f", "-", stdin=f"table inet disturbed {{\n{chain}\n}}\n")
    try:
        yield
    finally:
        namespaces.run("nft", "delete", "table", "inet", "disturbed")


def _namespaces() -> Namespaces:
    supervisor, _ = _find("kubelet")
    return supervisor.namespaces


def _find(name: str) -> tuple[Supervisor, Component]:
    return _local().component(name)


def _local() -> LocalCluster:
    provider = choose()
    if not isinstance(provider, LocalCluster):
        raise ClusterError("only the local cluster's components can be stopped and started, and this is another.")
    return provider
