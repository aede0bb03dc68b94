"""The enforcer of network policies, by packets: who really reaches whom, on the real cluster.

A test applies policies and then says, for each source, exactly what it reaches: what is not in the set is tried as
well, and must fail.
"""

import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from arena import (
    ADMIN,
    API_SERVER,
    CLIENT_HTTP,
    EVERYTHING,
    HTTP,
    MACHINE,
    SERVICE,
    SETTLE_SECONDS,
    STRANGER_HTTP,
    STREAM,
    WEB_ADMIN,
    WEB_HTTP,
    Arena,
    Rule,
    set_up,
)
from cluster import control
from cluster.provider import ClusterInfo
from cluster.settings import MACHINE_IP, POD_CIDR
from cluster.waiting import wait_until
from conftest import Kubectl

WEB: Rule = {"matchLabels": {"app": "web"}}
CLIENT: Rule = {"matchLabels": {"app": "client"}}
FROM_WEB = EVERYTHING - {WEB_HTTP, WEB_ADMIN, SERVICE}
TO_WEB = {WEB_HTTP, WEB_ADMIN, SERVICE}


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
    yield set_up(kubectl, shop, bank, outside)
    kubectl("delete", "namespace", shop, bank, "--wait=false")


@pytest.fixture
def arena(shared: Arena) -> Iterator[Arena]:
    """Every test starts with all ways open, so that what it finds closed was closed by its own policies."""
    shared.reaches(client=EVERYTHING - {CLIENT_HTTP}, web=FROM_WEB)
    yield shared
    shared.kubectl("delete", "networkpolicy", "--all", "--namespace", shared.shop)


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
    arena.in_client(f"timeout 1 nslookup {name} {MACHINE_IP}:{server.getsockname()[1]} || true")
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
    block = {"cidr": POD_CIDR, "except": [f"{stranger}/32"]}
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
        return int(arena.in_client(f"stat -c %s {stream}"))

    connect = f"echo $$ >{stream}.pid; exec nc {host} {STREAM}"
    arena.in_client(f"(sleep 1d | sh -c '{connect}') >{stream} 2>&1 &")
    wait_until(lambda: size() > 0, timeout=SETTLE_SECONDS, otherwise="the connection was never established")
    arena.policy({"matchLabels": {"app": selected}}, policyTypes=["Ingress" if selected == "web" else "Egress"])
    wait_until(lambda: idle_seconds(arena, stream) >= 2, timeout=SETTLE_SECONDS, otherwise="the stream goes on")
    cut_at = size()
    arena.kubectl("delete", "networkpolicy", "policy", "--namespace", arena.shop)
    wait_until(lambda: size() > cut_at, timeout=SETTLE_SECONDS, otherwise="the connection did not come back")
    arena.in_client(f"kill $(cat {stream}.pid)")


def idle_seconds(arena: Arena, file: str) -> int:
    return int(arena.in_client(f"echo $(( $(date +%s) - $(stat -c %Y {file}) ))"))


def test_a_cluster_whose_enforcer_is_stopped_enforces_nothing(arena: Arena) -> None:
    arena.policy(WEB, policyTypes=["Ingress", "Egress"])
    arena.reaches(web=set())
    with control.stopped("enforcer"):
        arena.reaches(web=FROM_WEB)
    arena.reaches(web=set())
