"""The enforcer of network policies, by packets: who really reaches whom, on the real cluster.

Three pods, shared by all tests, each listening on two ports; one more in the node's own network; and this machine,
which stands for everything outside the cluster. A test applies policies and then says, for each source, exactly
what it reaches: what is not in the set is tried as well, and must fail.
"""

import json
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from cluster import control
from cluster.provider import ClusterInfo
from cluster.settings import API_PORT, MACHINE_IP, NODE_IP
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

Rule = dict[str, Any]


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


def named_namespace(name: str) -> Rule:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """A server on this machine, at the address by which pods reach it."""

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"machine\n")

    with socketserver.ThreadingTCPServer((MACHINE_IP, 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"{MACHINE_IP}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shared(cluster: ClusterInfo, kubectl: Kubectl, outside: str) -> Iterator[Arena]:
    if cluster.provider != "local":
        pytest.skip("another cluster's enforcer is not ours to test")
    mark = secrets.token_hex(3)
    shop, bank = f"shop-{mark}", f"bank-{mark}"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": shop, "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    host = pod(shop, "node", hostNetwork=True)
    host["spec"]["containers"][0]["command"] = ["sleep", "1d"]
    objects: list[Rule] = [
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": {"team": n}}}
            for n in (shop, bank)
        ),
        *(pod(shop, "web"), pod(shop, "client"), pod(bank, "stranger"), host, service),
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    wait_until(lambda: applied(kubectl, manifest), timeout=20, otherwise="the pods could not be created")
    for namespace in (shop, bank):
        ready = ("--for=condition=Ready", "--timeout=60s")
        kubectl("wait", "--namespace", namespace, "pod", "--all", *ready)
    yield Arena(kubectl, shop, bank, addresses(kubectl, shop, bank) | {MACHINE: outside})
    kubectl("delete", "namespace", shop, bank, "--wait=false")


def applied(kubectl: Kubectl, manifest: str) -> bool:
    """Pods are refused for a moment, until their new namespace has its ServiceAccount."""
    try:
        kubectl("apply", "--filename", "-", stdin=manifest)
    except Exception as refused:
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


@pytest.fixture
def arena(shared: Arena) -> Iterator[Arena]:
    yield shared
    shared.kubectl("delete", "networkpolicy", "--all", "--namespace", shared.shop)


WEB: Rule = {"matchLabels": {"app": "web"}}
CLIENT: Rule = {"matchLabels": {"app": "client"}}
FROM_WEB = EVERYTHING - {WEB_HTTP, WEB_ADMIN, SERVICE}
TO_WEB = {WEB_HTTP, WEB_ADMIN, SERVICE}


def test_without_policies_everybody_reaches_everybody(arena: Arena) -> None:
    arena.reaches(
        web=FROM_WEB,
        client=EVERYTHING - {CLIENT_HTTP},
        stranger=EVERYTHING - {STRANGER_HTTP},
        node=EVERYTHING,
        machine=EVERYTHING - {MACHINE},
    )


def test_deny_all_cuts_one_pod_in_both_directions_and_no_other(arena: Arena) -> None:
    arena.policy(WEB, policyTypes=["Ingress", "Egress"])
    arena.reaches(
        web=set(),
        client={STRANGER_HTTP, MACHINE, API_SERVER},
        stranger={CLIENT_HTTP, MACHINE, API_SERVER},
        machine={CLIENT_HTTP, STRANGER_HTTP, API_SERVER},
        node=EVERYTHING,  # the node's way to its pods stays open, or probes would fail
    )


def test_deny_ingress_leaves_the_way_out_open_with_its_replies(arena: Arena) -> None:
    arena.policy(WEB, policyTypes=["Ingress"])
    arena.reaches(client=EVERYTHING - TO_WEB - {CLIENT_HTTP}, web=FROM_WEB)


def test_deny_egress_leaves_the_way_in_open_with_its_replies(arena: Arena) -> None:
    arena.policy(WEB, policyTypes=["Egress"])
    arena.reaches(web=set(), client=EVERYTHING - {CLIENT_HTTP}, machine=EVERYTHING - {MACHINE})


def test_ingress_is_allowed_by_pod_selector_and_port(arena: Arena) -> None:
    arena.policy(WEB, ingress=[{"from": [{"podSelector": CLIENT}], "ports": [{"port": HTTP}]}])
    arena.reaches(
        client=EVERYTHING - {CLIENT_HTTP, WEB_ADMIN},  # by the service too: judged after its translation
        stranger=EVERYTHING - {STRANGER_HTTP} - TO_WEB,
        machine={CLIENT_HTTP, STRANGER_HTTP, API_SERVER},
    )


def test_ingress_is_allowed_by_the_name_of_a_port(arena: Arena) -> None:
    arena.policy(WEB, ingress=[{"ports": [{"port": "admin"}]}])
    arena.reaches(client={WEB_ADMIN, STRANGER_HTTP, MACHINE, API_SERVER})


def test_ingress_is_allowed_by_a_range_of_ports(arena: Arena) -> None:
    arena.policy(WEB, ingress=[{"ports": [{"port": HTTP - 100, "endPort": HTTP}]}])
    arena.reaches(client=EVERYTHING - {CLIENT_HTTP, WEB_ADMIN})


def test_a_port_is_of_one_protocol(arena: Arena) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((MACHINE_IP, 0))
        server.settimeout(1)
        port = server.getsockname()[1]
        arena.policy(CLIENT, policyTypes=["Egress"], egress=[{"ports": [{"port": port, "protocol": "UDP"}]}])
        arena.reaches(client=set())
        assert datagram_arrives(arena, server)
        both = [{"port": port, "protocol": "TCP"}, {"port": HTTP, "protocol": "TCP"}]
        arena.policy(CLIENT, policyTypes=["Egress"], egress=[{"ports": both}])
        arena.reaches(client={WEB_HTTP, STRANGER_HTTP, SERVICE})
        assert not datagram_arrives(arena, server)


def datagram_arrives(arena: Arena, server: socket.socket) -> bool:
    """Whether a datagram from the pod `client` gets to this server: busybox sends one to look up a name."""
    name = secrets.token_hex(8)
    in_client(arena, f"timeout 1 nslookup {name} {MACHINE_IP}:{server.getsockname()[1]} || true")
    try:
        while name.encode() not in server.recv(512):
            pass  # of an earlier lookup, which was sent more than once
    except TimeoutError:
        return False
    return True


def test_ingress_is_allowed_by_namespace_selector(arena: Arena) -> None:
    arena.policy(WEB, ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": arena.bank}}}]}])
    arena.reaches(stranger=EVERYTHING - {STRANGER_HTTP}, client={STRANGER_HTTP, MACHINE, API_SERVER})


def test_selectors_in_one_peer_must_both_match(arena: Arena) -> None:
    elsewhere = {"namespaceSelector": {"matchLabels": {"team": arena.bank}}, "podSelector": CLIENT}
    arena.policy(WEB, ingress=[{"from": [elsewhere]}])
    arena.reaches(stranger=EVERYTHING - {STRANGER_HTTP} - TO_WEB, client={STRANGER_HTTP, MACHINE, API_SERVER})


def test_selectors_in_two_peers_are_alternatives(arena: Arena) -> None:
    bank = {"namespaceSelector": {"matchLabels": {"team": arena.bank}}}
    arena.policy(WEB, ingress=[{"from": [bank, {"podSelector": CLIENT}]}])
    arena.reaches(
        stranger=EVERYTHING - {STRANGER_HTTP},
        client=EVERYTHING - {CLIENT_HTTP},
        machine={CLIENT_HTTP, STRANGER_HTTP, API_SERVER},
    )


def test_ingress_is_allowed_by_ip_block_but_for_its_exceptions(arena: Arena) -> None:
    arena.policy(WEB, ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"{MACHINE_IP}/32"]}}]}])
    arena.reaches(machine={CLIENT_HTTP, STRANGER_HTTP, API_SERVER}, client=EVERYTHING - {CLIENT_HTTP})


def test_egress_is_allowed_by_ip_block_but_for_its_exceptions(arena: Arena) -> None:
    stranger = arena.targets[STRANGER_HTTP].partition(":")[0]
    block = {"cidr": "10.244.0.0/16", "except": [f"{stranger}/32"]}
    arena.policy(WEB, policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}])
    arena.reaches(web={CLIENT_HTTP})


def test_egress_is_allowed_by_peer_and_name_of_its_port(arena: Arena) -> None:
    arena.policy(CLIENT, policyTypes=["Egress"], egress=[{"to": [{"podSelector": WEB}], "ports": [{"port": "admin"}]}])
    arena.reaches(client={WEB_ADMIN})


def test_egress_to_a_pod_is_allowed_through_its_service(arena: Arena) -> None:
    arena.policy(CLIENT, policyTypes=["Egress"], egress=[{"to": [{"podSelector": WEB}], "ports": [{"port": HTTP}]}])
    arena.reaches(client={WEB_HTTP, SERVICE})


def test_policies_add_up_and_the_last_one_gone_opens_the_pod(arena: Arena) -> None:
    arena.policy(WEB, name="one", ingress=[{"from": [{"podSelector": CLIENT}]}])
    arena.policy({}, name="two", ingress=[{"ports": [{"port": ADMIN}]}])
    arena.reaches(
        client=EVERYTHING - {CLIENT_HTTP},
        stranger={WEB_ADMIN, MACHINE, API_SERVER},
    )
    arena.kubectl("delete", "networkpolicy", "one", "--namespace", arena.shop)
    arena.reaches(client={WEB_ADMIN, STRANGER_HTTP, MACHINE, API_SERVER}, stranger={WEB_ADMIN, MACHINE, API_SERVER})
    arena.kubectl("delete", "networkpolicy", "two", "--namespace", arena.shop)
    arena.reaches(client=EVERYTHING - {CLIENT_HTTP}, stranger=EVERYTHING - {STRANGER_HTTP})


def test_a_label_that_changes_is_followed(arena: Arena) -> None:
    arena.policy({"matchLabels": {"quarantine": "true"}}, policyTypes=["Ingress", "Egress"])
    label = ("label", "--namespace", arena.shop, "pod/web")
    arena.kubectl(*label, "quarantine=true")
    arena.reaches(web=set(), client={STRANGER_HTTP, MACHINE, API_SERVER})
    arena.kubectl(*label, "quarantine-")
    arena.reaches(web=FROM_WEB, client=EVERYTHING - {CLIENT_HTTP})


@pytest.mark.parametrize("selected", ["web", "client"])
def test_an_established_connection_is_cut_and_lives_again(arena: Arena, selected: str) -> None:
    """By the server's ingress or by the client's egress. nc does not reconnect: what lives again is the same."""
    host = arena.targets[WEB_HTTP].partition(":")[0]
    stream = f"/tmp/stream-{selected}"  # noqa: S108 - inside the pod

    def size() -> int:
        return int(in_client(arena, f"stat -c %s {stream}"))

    connect = f"echo $$ >{stream}.pid; exec nc {host} {STREAM}"
    in_client(arena, f"sleep 1d | sh -c '{connect}' >{stream} 2>&1 &")
    wait_until(lambda: size() > 0, timeout=SETTLE_SECONDS, otherwise="the connection was never established")
    arena.policy({"matchLabels": {"app": selected}}, policyTypes=["Ingress" if selected == "web" else "Egress"])
    wait_until(lambda: idle_seconds(arena, stream) >= 2, timeout=SETTLE_SECONDS, otherwise="the stream goes on")
    cut_at = size()
    arena.kubectl("delete", "networkpolicy", "policy", "--namespace", arena.shop)
    wait_until(lambda: size() > cut_at, timeout=SETTLE_SECONDS, otherwise="the connection did not come back")
    in_client(arena, f"kill $(cat {stream}.pid)")


def in_client(arena: Arena, script: str) -> str:
    return arena.kubectl("exec", "--namespace", arena.shop, "client", "--", "sh", "-c", script)


def idle_seconds(arena: Arena, file: str) -> int:
    return int(in_client(arena, f"echo $(( $(date +%s) - $(stat -c %Y {file}) ))"))


def test_a_cluster_whose_enforcer_is_stopped_enforces_nothing(arena: Arena) -> None:
    arena.policy(WEB, policyTypes=["Ingress", "Egress"])
    arena.reaches(web=set())
    with control.stopped("enforcer"):
        arena.reaches(web=FROM_WEB)
    arena.reaches(web=set())
