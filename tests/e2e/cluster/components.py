"""The programs that make up the cluster: how each is called, and when it is ready."""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster import auditing, netpol, process, s3, settings
from cluster.api import Api
from cluster.namespaces import Namespaces
from cluster.provider import ClusterError
from cluster.settings import Paths
from cluster.waiting import wait_until

READY_SECONDS = 60


@dataclass(frozen=True)
class Component:
    """One program; `files` are those whose change calls for a new start."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    files: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Changes when the program has to be started anew to be what it should be."""
        digest = hashlib.sha256("\0".join(self.argv).encode())
        for file in self.files:
            digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Supervisor:
    """Starts and ends components inside the namespaces, by their records in `Paths.run`."""

    paths: Paths
    namespaces: Namespaces

    def running(self, component: Component) -> process.Record | None:
        """The component's process, if it runs."""
        record = process.Record.load(self._file(component))
        return record if record and record.alive() else None

    def ensure(self, component: Component) -> None:
        """Start the component unless it runs as it should; does not wait until it is ready."""
        record = self.running(component)
        wanted = component.fingerprint()
        if record and record.fingerprint == wanted:
            return
        if record:
            process.stop(record)
        argv = self.namespaces.inside(*component.argv)
        log = self.log(component)
        process.spawn(argv, log=log, env=component.env, fingerprint=wanted).save(self._file(component))

    def wait_ready(self, component: Component) -> None:
        """Return when the component does its work; raises ClusterError with the end of its log."""
        log = self.log(component)
        wait_until(
            lambda: component.ready() or not self.running(component),
            timeout=READY_SECONDS,
            otherwise=lambda: f"{component.name} is not ready; {log} ends:\n{process.tail(log)}",
        )
        if not self.running(component):
            raise ClusterError(f"{component.name} ended; {log} ends:\n{process.tail(log)}")

    def stop(self, component: Component) -> None:
        """End the component, gently if it lets us."""
        record = self.running(component)
        if record:
            process.stop(record)
        self._file(component).unlink(missing_ok=True)

    def kill(self, component: Component) -> None:
        """End the component as a crash would."""
        record = self.running(component)
        if record:
            process.kill(record)

    def log(self, component: Component) -> Path:
        """Where the component's output goes."""
        return self.paths.logs / f"{component.name}.log"

    def _file(self, component: Component) -> Path:
        return self.paths.run / f"{component.name}.json"


def admin_api(paths: Paths) -> Api:
    """The API server, as its administrator."""
    pki = paths.pki
    return Api(settings.NODE_IP, settings.API_PORT, pki / "ca.crt", pki / "admin.crt", pki / "admin.key")


def all_components(paths: Paths, programs: Path, namespaces: Namespaces) -> tuple[Component, ...]:
    """Every component, in the order in which they start."""
    return (
        _containerd(paths, namespaces),
        _etcd(paths, programs, namespaces),
        _versitygw(paths, programs, namespaces),
        _api_server(paths, programs),
        _controller_manager(paths, programs, namespaces),
        _scheduler(paths, programs, namespaces),
        _kubelet(paths, programs, namespaces),
        _kube_proxy(paths, programs, namespaces),
        _enforcer(paths, namespaces),
    )


def _containerd(paths: Paths, namespaces: Namespaces) -> Component:
    config = paths.conf / "containerd.toml"
    return Component(
        name="containerd",
        argv=("containerd", "--config", str(config)),
        files=(config,),
        ready=lambda: namespaces.succeeds("ctr", "--address", settings.CONTAINERD_SOCKET, "version"),
    )


def _etcd(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return Component(
        name="etcd",
        argv=(
            str(programs / "etcd"),
            "--name=local",
            f"--data-dir={paths.state / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=local={peers}",
            "--unsafe-no-fsync",  # a test cluster may lose its state with the machine's power
            "--log-level=warn",
        ),
        ready=lambda: namespaces.listens(2379),
    )


def _versitygw(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    credentials = s3.credentials(paths)
    return Component(
        name="versitygw",
        argv=(
            str(programs / "versitygw"),
            f"--port={settings.NODE_IP}:{settings.S3_PORT}",
            f"--region={settings.S3_REGION}",
            "--quiet",
            "posix",
            f"--versioning-dir={s3.folder(paths, 'versions')}",
            str(s3.folder(paths, "buckets")),
        ),
        env={"ROOT_ACCESS_KEY": credentials.access_key, "ROOT_SECRET_KEY": credentials.secret_key},
        ready=lambda: namespaces.listens(settings.S3_PORT),
    )


def _api_server(paths: Paths, programs: Path) -> Component:
    pki = paths.pki
    api = admin_api(paths)
    return Component(
        name="kube-apiserver",
        argv=(
            str(programs / "kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            f"--secure-port={settings.API_PORT}",
            f"--advertise-address={settings.NODE_IP}",
            f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            *auditing.flags(paths),
        ),
        files=auditing.files(paths),
        ready=lambda: api.answers("/readyz"),
    )


def _kubeconfigs(file: Path) -> tuple[str, ...]:
    kinds = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{kind}={file}" for kind in kinds)


def _controller_manager(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    pki = paths.pki
    return Component(
        name="kube-controller-manager",
        argv=(
            str(programs / "kube-controller-manager"),
            *_kubeconfigs(paths.conf / "controller-manager.kubeconfig"),
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={settings.POD_CIDR}",
            "--node-cidr-mask-size=24",
            f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
            # With the default limits a new cluster has no default ServiceAccount for its first five seconds.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ),
        ready=lambda: namespaces.listens(10257),
    )


def _scheduler(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    return Component(
        name="kube-scheduler",
        argv=(
            str(programs / "kube-scheduler"),
            *_kubeconfigs(paths.conf / "scheduler.kubeconfig"),
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ),
        ready=lambda: namespaces.listens(10259),
    )


def _kubelet(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    config = paths.conf / "kubelet.yaml"
    return Component(
        name="kubelet",
        argv=(
            str(programs / "kubelet"),
            f"--config={config}",
            f"--kubeconfig={paths.conf / 'kubelet.kubeconfig'}",
            "--root-dir=/var/lib/kubelet",
            f"--hostname-override={settings.NODE}",
            f"--node-ip={settings.NODE_IP}",
            # With the default of 1, `logs --previous` fails while a container waits to be restarted.
            "--maximum-dead-containers-per-container=2",
        ),
        files=(config, paths.conf / "resolv.conf"),
        ready=lambda: namespaces.listens(10250),
    )


def _kube_proxy(paths: Paths, programs: Path, namespaces: Namespaces) -> Component:
    config = paths.conf / "kube-proxy.yaml"
    return Component(
        name="kube-proxy",
        argv=(str(programs / "kube-proxy"), f"--config={config}"),
        files=(config,),
        ready=lambda: namespaces.listens(10249),
    )


def _enforcer(paths: Paths, namespaces: Namespaces) -> Component:
    pki = paths.pki
    address = (settings.NODE_IP, str(settings.API_PORT))
    return Component(
        name="enforcer",
        argv=(
            sys.executable,
            "-m",
            "cluster.enforcer",
            *address,
            f"{pki}/ca.crt",
            f"{pki}/admin.crt",
            f"{pki}/admin.key",
        ),
        env={"PYTHONPATH": str(settings.PACKAGE.parent), "PATH": os.environ["PATH"]},
        files=tuple(settings.PACKAGE / name for name in ("api.py", "enforcer.py", "netpol.py")),
        ready=lambda: namespaces.succeeds("nft", "list", "table", *netpol.TABLE.split()),
    )
