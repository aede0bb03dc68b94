"""Pods that try to reach each other: the ground on which network policies are tested by packets.

Three pods, each listening on two ports and on one that streams; one more in the node's own network; and this machine,
which stands for everything outside the cluster.
"""

import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cluster.provider import ClusterError
from cluster.settings import API_PORT, NODE_IP
from cluster.waiting import wait_until
from conftest import Kubectl

SETTLE_SECONDS = 15
HTTP, ADMIN, STREAM = 8080, 9090, 7000

# Says on each line the target that it reached. A connection within the node takes well under a millisecond; a
# dropped packet is not sent again within the second.
TRY_ALL = 'for t in "$@"; do (timeout 2 nc -w 1 ${t%:*} ${t#*:} </dev/null >/dev/null 2>&1 && echo $t) & done; wait'
SERVE = f"nc -ll -p {HTTP} -e hostname & nc -ll -p {ADMIN} -e hostname & nc -ll -p {STREAM} -e /bin/ticks & wait"
TICKS = "#!/bin/sh\nwhile echo tick; do usleep 20000; done\n"

WEB_HTTP, WEB_ADMIN, CLIENT_HTTP, STRANGER_HTTP = "web:http", "web:admin", "client:http", "stranger:http"
SERVICE, MACHINE, API_SERVER = "service", "machine", "api-server"
PODS_HTTP = {WEB_HTTP, WEB_ADMIN, CLIENT_HTTP, STRANGER_HTTP}
EVERYTHING = PODS_HTTP | {SERVICE, MACHINE, API_SERVER}

Rule = dict[str, Any]  # part of a Kubernetes object


@dataclass(frozen=True)
class Arena:
    """The pods, and the address of every target by its name."""

    kubectl: Kubectl
    shop: str
    bank: str
    targets: Mapping[str, str]

    def policy(self, selected: Rule, *, name: str = "policy", **spec: Any) -> None:
        """Apply a NetworkPolicy in the namespace `shop`."""
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": self.shop, "name": name},
            "spec": {"podSelector": selected, **spec},
        }
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(body))

    def reaches(self, **expected: set[str]) -> None:
        """Wait until each source reaches exactly these targets, of all that there are."""
        seen: dict[str, set[str]] = {}

        def as_expected() -> bool:
            with ThreadPoolExecutor() as pool:
                seen.update(zip(expected, pool.map(self.reached_by, expected), strict=True))
            return seen == expected

        wait_until(as_expected, timeout=SETTLE_SECONDS, otherwise=lambda: f"expected {expected}, saw {seen}")

    def reached_by(self, source: str) -> set[str]:
        """The names of the targets that this source reaches now, itself left out."""
        itself = {SERVICE} if source == "web" else set()
        itself |= {name for name in self.targets if name.startswith(f"{source}:")}
        wanted = {name: where for name, where in self.targets.items() if name not in itself}
        if source == "machine":
            return connected({name: where for name, where in wanted.items() if name != MACHINE})
        namespace = self.bank if source == "stranger" else self.shop
        shell = ("exec", "--namespace", namespace, source, "--", "sh", "-c", TRY_ALL, "sh")
        answered = self.kubectl(*shell, *wanted.values()).split()
        return {name for name, where in wanted.items() if where in answered}

    def in_client(self, script: str) -> str:
        """Run a shell script in the pod `client`."""
        return self.kubectl("exec", "--namespace", self.shop, "client", "--", "sh", "-c", script)


def connected(targets: Mapping[str, str]) -> set[str]:
    """The names of the targets that this machine reaches."""
    with ThreadPoolExecutor() as pool:
        return {name for name, yes in zip(targets, pool.map(connects, targets.values()), strict=True) if yes}


def connects(where: str) -> bool:
    host, _, port = where.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def pod(namespace: str, name: str, **spec: Any) -> Rule:
    ports = [{"name": "http", "containerPort": HTTP}, {"name": "admin", "containerPort": ADMIN}]
    container = {
        "name": "main",
        "image": "busybox:1.35",
        "command": ["sh", "-c", f"printf '{TICKS}' >/bin/ticks; chmod +x /bin/ticks; {SERVE}"],
        "ports": [] if spec else ports,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def manifest(shop: str, bank: str) -> str:
    """Everything that the tests share."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": shop, "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    host = pod(shop, "node", hostNetwork=True)
    host["spec"]["containers"][0]["command"] = ["sleep", "1d"]
    pods = [pod(shop, "web"), pod(shop, "client"), pod(bank, "stranger"), host]
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}
        for name in (shop, bank)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [*namespaces, *pods, service]})


def set_up(kubectl: Kubectl, shop: str, bank: str, outside: str) -> Arena:
    """Make it all, and wait until every pod listens; `outside` is the address of a server on this machine."""
    text = manifest(shop, bank)
    wait_until(lambda: applied(kubectl, text), timeout=20, otherwise="the pods could not be created")
    for namespace in (shop, bank):
        kubectl("wait", "--namespace", namespace, "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    return Arena(kubectl, shop, bank, addresses(kubectl, shop, bank) | {MACHINE: outside})


def applied(kubectl: Kubectl, manifest: str) -> bool:
    """Pods are refused for a moment, until their new namespace has its ServiceAccount."""
    try:
        kubectl("apply", "--filename", "-", stdin=manifest)
    except ClusterError as refused:
        if "serviceaccount" not in str(refused):
            raise
        return False
    return True


def addresses(kubectl: Kubectl, shop: str, bank: str) -> dict[str, str]:
    def field(namespace: str, what: str, path: str) -> str:
        return kubectl("get", "--namespace", namespace, what, "--output", f"jsonpath={{{path}}}")

    web = field(shop, "pod/web", ".status.podIP")
    return {
        WEB_HTTP: f"{web}:{HTTP}",
        WEB_ADMIN: f"{web}:{ADMIN}",
        CLIENT_HTTP: f"{field(shop, 'pod/client', '.status.podIP')}:{HTTP}",
        STRANGER_HTTP: f"{field(bank, 'pod/stranger', '.status.podIP')}:{HTTP}",
        SERVICE: f"{field(shop, 'service/web', '.spec.clusterIP')}:80",
        API_SERVER: f"{NODE_IP}:{API_PORT}",
    }
