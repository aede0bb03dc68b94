"""An API server and its etcd alone on loopback, without nodes or controllers: for what only start-up flags decide."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPSConnection
from pathlib import Path

from cluster import binaries, process
from cluster.commands import run
from cluster.settings import Paths
from cluster.waiting import wait_until
from conftest import KUBECTL_SECONDS

READY_SECONDS = 60
TOKEN = "administrator-of-the-tests"


@dataclass(frozen=True)
class BareApi:
    """A running API server, whose administrator may impersonate anybody."""

    kubectl_path: Path
    kubeconfig: Path
    port: int
    log: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator. Raises ClusterError with what it says."""
        command = [str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig)]
        return run([*command, *arguments], stdin=stdin, timeout=KUBECTL_SECONDS)

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> int:
        """Ask without a kubectl of its own, and return the answer's code; text goes as it is. Raises OSError."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        unverified = ssl._create_unverified_context()  # noqa: S323, SLF001 - it signs its own, on loopback
        with closing(HTTPSConnection("127.0.0.1", self.port, context=unverified, timeout=KUBECTL_SECONDS)) as line:
            line.request(method, path, body if isinstance(body, str) else json.dumps(body), headers)
            answer = line.getresponse()
            answer.read()
            return answer.status

    def ready(self) -> bool:
        """Whether it answers that it is."""
        try:
            return self.ask("GET", "/readyz") == HTTPStatus.OK
        except OSError:
            return False


@contextmanager
def bare_api(folder: Path, flags: Sequence[str]) -> Iterator[BareApi]:
    """Run an API server with these further flags until the block ends; all its state lies in `folder`."""
    programs = binaries.build(binaries.LOCAL_PROGRAMS, Paths.from_environment().cache)
    port, clients, peers = free_ports(3)
    _keys(folder)
    api = BareApi(programs / "kubectl", folder / "kubeconfig", port, folder / "apiserver.log")
    api.kubeconfig.write_text(json.dumps(_kubeconfig(port)))
    with ExitStack() as running:
        running.enter_context(program(_etcd(programs, folder, clients, peers), folder / "etcd.log"))
        server = running.enter_context(program(_api_server(programs, folder, port, clients, flags), api.log))
        wait_until(
            lambda: server.poll() is not None or api.ready(),
            timeout=READY_SECONDS,
            otherwise=lambda: f"the API server is not ready; its log ends:\n{process.tail(api.log)}",
        )
        assert server.poll() is None, f"the API server ended; its log ends:\n{process.tail(api.log)}"
        yield api


@contextmanager
def program(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, its output into a file; nothing that it holds is wanted then."""
    with log.open("ab") as output, subprocess.Popen(argv, stdout=output, stderr=output, env=env) as running:
        try:
            yield running
        finally:
            running.kill()  # an API server that is told to end waits 86 s for a receiver that has gone (seen on 1.35)


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


def _keys(folder: Path) -> None:
    private, public = folder / "sa.key", folder / "sa.pub"
    run(["openssl", "genrsa", "-out", str(private), "2048"])
    run(["openssl", "rsa", "-in", str(private), "-pubout", "-out", str(public)])
    (folder / "tokens.csv").write_text(f"{TOKEN},administrator,administrator,system:masters\n")


def _kubeconfig(port: int) -> dict[str, object]:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bare", "cluster": cluster}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bare", "context": {"cluster": "bare", "user": "administrator"}}],
        "current-context": "bare",
    }


def _etcd(programs: Path, folder: Path, clients: int, peers: int) -> list[str]:
    return [
        str(programs / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{clients}",
        f"--advertise-client-urls=http://127.0.0.1:{clients}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
        f"--initial-cluster=default=http://127.0.0.1:{peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server(programs: Path, folder: Path, port: int, etcd: int, flags: Sequence[str]) -> list[str]:
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=198.51.100.0/24",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--allow-privileged=true",
        "--disable-admission-plugins=ServiceAccount",  # nobody makes the accounts that pods would get
        *flags,
    ]
