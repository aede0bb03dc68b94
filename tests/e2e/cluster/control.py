"""Breaking components of the local cluster on purpose, and mending them: for tests of what then happens.

Names: containerd, etcd, versitygw (the S3 server), kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
kube-proxy, enforcer. Only the provider `local` has them; with another, these raise ClusterError: look at
`ClusterInfo.provider` first. Stopping the enforcer takes its rules away: the cluster then enforces no policy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.choose import choose
from cluster.components import Component, Supervisor
from cluster.local import LocalCluster
from cluster.provider import ClusterError


def stop(name: str) -> None:
    """End a component as an administrator would; returns when its process is gone."""
    supervisor, component = _find(name)
    supervisor.stop(component)


def kill(name: str) -> None:
    """End a component by SIGKILL, as a crash would; nothing starts it again but `start` and `up`."""
    supervisor, component = _find(name)
    supervisor.kill(component)


def start(name: str) -> None:
    """Start a component that is not running; returns when it is ready."""
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


def _find(name: str) -> tuple[Supervisor, Component]:
    return _local().component(name)


def _local() -> LocalCluster:
    provider = choose()
    if not isinstance(provider, LocalCluster):
        raise ClusterError("only the local cluster's components can be stopped and started, and this is another.")
    return provider
