"""NetworkPolicies compiled to one nftables table: a pure function, text out.

Semantics: https://kubernetes.io/docs/concepts/services-networking/network-policies/. A pod that no policy selects for a
direction is open in it; else exactly what one of its policies allows is allowed.

How packets are judged: by the tuple of their connection, in both directions of the packet flow. The client is
`ct original ip saddr`; the server is `ct reply ip saddr` with `ct reply proto-src`, which is after the translation of a
service's address. So replies of allowed connections pass, and a new policy cuts connections that exist already.

Three things are stricter or looser here than a reader of the documentation may expect:
- A pod's way to its own node is judged by its egress policies (documented: always open). The API server and the S3
  server stand on this one node, in the place of other machines. The node's way to its pods is open, as documented.
- An ICMP error about an allowed connection passes only where a rule without ports allows the connection.
- A pod is not isolated before its address is in its status (up to 0.7 s after it starts).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any

TABLE = "inet firebreak-netpol"
EVERYWHERE = IPv4Network("0.0.0.0/0")

Object = Mapping[str, Any]  # a Kubernetes object as the API server sends it
Labels = Mapping[str, str]


class Direction(Enum):
    """Names the fields of a policy, and the connection's far end, per direction."""

    INGRESS = ("ingress", "from", "ct original ip saddr", "ct reply ip saddr")
    EGRESS = ("egress", "to", "ct reply ip saddr", "ct original ip saddr")

    def __init__(self, rules: str, peers: str, far_end: str, own_end: str) -> None:
        self.rules = rules
        self.peers = peers
        self.far_end = far_end
        self.own_end = own_end


@dataclass(frozen=True)
class Pod:
    """What matters of a pod: `ports` are its container ports by protocol and name."""

    namespace: str
    name: str
    address: IPv4Address
    labels: Labels
    ports: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class World:
    """All pods that policies can apply to, by address, and the labels of every namespace."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Labels]


def compile_table(pods: Iterable[Object], namespaces: Iterable[Object], policies: Iterable[Object]) -> str:
    """The input for `nft -f -` that replaces the whole table in one transaction."""
    world = World(_pods(pods), {item["metadata"]["name"]: _labels(item) for item in namespaces})
    by_name = sorted(policies, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))
    chains: list[str] = []
    isolated: dict[Direction, list[Pod]] = {direction: [] for direction in Direction}
    for pod in world.pods:
        for direction in Direction:
            acting = [policy for policy in by_name if _isolates(policy, pod, direction)]
            if acting:
                isolated[direction].append(pod)
                chains.append(_pod_chain(pod, direction, acting, world))
    judges = [_judge_chain(direction, isolated[direction]) for direction in Direction]
    return "\n".join([f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{", *chains, *judges, _HOOKS, "}\n"])


_HOOKS = """\
  chain forward {
    type filter hook forward priority -5; policy accept;
    meta nfproto ipv6 drop
    jump judge_egress
    jump judge_ingress
  }
  chain input {
    type filter hook input priority -5; policy accept;
    jump judge_egress
  }"""


def _pod_chain(pod: Pod, direction: Direction, policies: Iterable[Object], world: World) -> str:
    allowed = [f"    {direction.far_end} {pod.address} return"]  # a pod may always talk to itself
    for policy in policies:
        for rule in policy["spec"].get(direction.rules) or []:
            allowed += (f"    {match}return" for match in _matches(rule, policy, pod, direction, world))
    header = f"  # {pod.namespace}/{pod.name}\n  chain {_chain_name(direction, pod)} {{"
    return "\n".join([header, *allowed, "    counter drop", "  }"])


def _judge_chain(direction: Direction, pods: Sequence[Pod]) -> str:
    lines = [f"  chain judge_{direction.rules} {{"]
    if pods:
        addresses = ", ".join(str(pod.address) for pod in pods)
        jumps = ", ".join(f"{pod.address} : jump {_chain_name(direction, pod)}" for pod in pods)
        lines += [
            # Packets of no known connection have no tuple to judge by.
            f"    ct state invalid,untracked ip saddr {{ {addresses} }} drop",
            f"    ct state invalid,untracked ip daddr {{ {addresses} }} drop",
            f"    {direction.own_end} vmap {{ {jumps} }}",
        ]
    return "\n".join([*lines, "  }"])


def _chain_name(direction: Direction, pod: Pod) -> str:
    return f"{direction.rules}_{pod.address}".replace(".", "_")


def _isolates(policy: Object, pod: Pod, direction: Direction) -> bool:
    spec = policy["spec"]
    same_namespace = policy["metadata"]["namespace"] == pod.namespace
    return same_namespace and direction in _directions(spec) and selects(spec.get("podSelector", {}), pod.labels)


def _directions(spec: Object) -> set[Direction]:
    types = spec.get("policyTypes")
    if types:
        return {Direction[kind.upper()] for kind in types}
    return {Direction.INGRESS, Direction.EGRESS} if spec.get("egress") else {Direction.INGRESS}


def _matches(rule: Object, policy: Object, pod: Pod, direction: Direction, world: World) -> Iterator[str]:
    """The nftables matches of one rule; together they are what the rule allows."""
    peers = rule.get(direction.peers)
    networks = _networks(peers, policy["metadata"]["namespace"], world) if peers else [EVERYWHERE]
    if not networks:
        return
    far_end = _far_end(direction, networks)
    if not rule.get("ports"):
        yield far_end
    for port in rule.get("ports") or []:
        protocol = port.get("protocol", "TCP")
        number = port.get("port")
        transport = f"meta l4proto {protocol.lower()} "
        if number is None:
            yield far_end + transport
        elif isinstance(number, int):
            last = port.get("endPort") or number
            yield f"{far_end}{transport}ct reply proto-src {number if last == number else f'{number}-{last}'} "
        elif direction is Direction.INGRESS:
            if (protocol, number) in pod.ports:
                yield f"{far_end}{transport}ct reply proto-src {pod.ports[protocol, number]} "
        else:  # the name means what each server calls so
            for server in world.pods:
                if (protocol, number) in server.ports and any(server.address in network for network in networks):
                    only = _far_end(direction, [IPv4Network(server.address)])
                    yield f"{only}{transport}ct reply proto-src {server.ports[protocol, number]} "


def _far_end(direction: Direction, networks: Sequence[IPv4Network]) -> str:
    if EVERYWHERE in networks:
        return ""
    return f"{direction.far_end} {{ {', '.join(str(network).removesuffix('/32') for network in networks)} }} "


def _networks(peers: Iterable[Object], namespace: str, world: World) -> list[IPv4Network]:
    """The addresses of all peers together, without overlaps (which nftables refuses)."""
    networks: list[IPv4Network] = []
    for peer in peers:
        if "ipBlock" in peer:
            networks += _block(peer["ipBlock"])
        else:
            networks += (IPv4Network(pod.address) for pod in world.pods if _is_peer(peer, pod, namespace, world))
    return list(ipaddress.collapse_addresses(networks))


def _is_peer(peer: Object, pod: Pod, namespace: str, world: World) -> bool:
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], world.namespaces.get(pod.namespace, {}))
    else:
        in_namespace = pod.namespace == namespace
    return in_namespace and selects(peer.get("podSelector", {}), pod.labels)


def _block(block: Object) -> list[IPv4Network]:
    whole = ipaddress.ip_network(block["cidr"], strict=False)
    if not isinstance(whole, IPv4Network):  # pods have no IPv6 here
        return []
    parts = [whole]
    for excluded in block.get("except") or []:
        hole = ipaddress.ip_network(excluded, strict=False)
        if isinstance(hole, IPv4Network):
            parts = [rest for part in parts for rest in _without(part, hole)]
    return parts


def _without(part: IPv4Network, hole: IPv4Network) -> Iterable[IPv4Network]:
    if part.subnet_of(hole):
        return []
    return part.address_exclude(hole) if hole.subnet_of(part) else [part]


def selects(selector: Object | None, labels: Labels) -> bool:
    """Whether a label selector selects these labels; an empty one selects everything, None nothing."""
    if selector is None:
        return False
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_satisfies(expression, labels) for expression in selector.get("matchExpressions") or [])


def _satisfies(expression: Object, labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":  # a label that is absent is not in any set
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise ValueError(f"a label selector with the unknown operator {operator!r}")


def _pods(objects: Iterable[Object]) -> list[Pod]:
    """Running pods with a network of their own; of two with one address, the younger."""
    by_address: dict[IPv4Address, Pod] = {}
    for item in sorted(objects, key=lambda item: item["metadata"].get("creationTimestamp") or ""):
        status, spec, metadata = item.get("status", {}), item["spec"], item["metadata"]
        ended = status.get("phase") in ("Succeeded", "Failed")
        if status.get("podIP") and not spec.get("hostNetwork") and not ended:
            address = IPv4Address(status["podIP"])
            pod = Pod(metadata["namespace"], metadata["name"], address, _labels(item), _container_ports(spec))
            by_address[address] = pod
    return [by_address[address] for address in sorted(by_address)]


def _container_ports(spec: Object) -> dict[tuple[str, str], int]:
    sidecars = [item for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    return {
        (port.get("protocol", "TCP"), port["name"]): port["containerPort"]
        for container in [*sidecars, *spec["containers"]]
        for port in container.get("ports") or []
        if port.get("name")
    }


def _labels(item: Object) -> Labels:
    return item["metadata"].get("labels") or {}
