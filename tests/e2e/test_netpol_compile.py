"""What the enforcer makes of policies, as text: the corners that packets alone would not show."""

from typing import Any

import pytest

from cluster.netpol import compile_table, selects

Object = dict[str, Any]


def pod(name: str, address: str, namespace: str = "shop", **more: Any) -> Object:
    metadata = {"namespace": namespace, "name": name, "labels": more.get("labels", {"app": name})}
    metadata |= {"creationTimestamp": more.get("created", "2026-01-01T00:00:00Z")}
    spec = {"containers": [{"name": "c", "ports": more.get("ports", [])}], **more.get("spec", {})}
    return {"metadata": metadata, "spec": spec, "status": {"podIP": address, "phase": more.get("phase", "Running")}}


def named(name: str) -> Object:
    return {"metadata": {"name": name, "labels": {"team": name}}}


def policy(**spec: Any) -> Object:
    return {"metadata": {"namespace": "shop", "name": "policy"}, "spec": {"podSelector": {}, **spec}}


WEB = pod("web", "10.244.0.5")


def chain(text: str, name: str) -> list[str]:
    """The rules of one chain."""
    lines = text.splitlines()
    start = lines.index(f"  chain {name} {{")
    return [line.strip() for line in lines[start + 1 : lines.index("  }", start)]]


def ingress(*rules: Object, pods: tuple[Object, ...] = (WEB,)) -> list[str]:
    """What isolates the pod `web` against everybody else, by these ingress rules."""
    text = compile_table(pods, [named("shop"), named("bank")], [policy(ingress=list(rules))])
    rendered = chain(text, "ingress_10_244_0_5")
    assert rendered[0] == "ct original ip saddr 10.244.0.5 return"
    assert rendered[-1] == "counter drop"
    return rendered[1:-1]


def test_a_cluster_without_policies_isolates_nobody() -> None:
    assert compile_table([WEB], [named("shop")], []) == (
        "table inet firebreak-netpol\n"
        "delete table inet firebreak-netpol\n"
        "table inet firebreak-netpol {\n"
        "  chain judge_ingress {\n"
        "  }\n"
        "  chain judge_egress {\n"
        "  }\n"
        "  chain forward {\n"
        "    type filter hook forward priority -5; policy accept;\n"
        "    meta nfproto ipv6 drop\n"
        "    jump judge_egress\n"
        "    jump judge_ingress\n"
        "  }\n"
        "  chain input {\n"
        "    type filter hook input priority -5; policy accept;\n"
        "    jump judge_egress\n"
        "  }\n"
        "}\n"
    )


def test_an_isolated_pod_is_judged_by_the_tuple_of_the_connection() -> None:
    text = compile_table([WEB], [], [policy(policyTypes=["Ingress", "Egress"])])
    assert chain(text, "judge_ingress")[-1] == "ct reply ip saddr vmap { 10.244.0.5 : jump ingress_10_244_0_5 }"
    assert chain(text, "judge_egress")[-1] == "ct original ip saddr vmap { 10.244.0.5 : jump egress_10_244_0_5 }"


@pytest.mark.parametrize(
    ("spec", "isolated"),
    [
        ({}, {"ingress"}),
        ({"egress": []}, {"ingress"}),
        ({"egress": [{}]}, {"ingress", "egress"}),
        ({"policyTypes": ["Egress"]}, {"egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"ingress"}),
        ({"policyTypes": ["Ingress", "Egress"]}, {"ingress", "egress"}),
    ],
)
def test_policy_types_default_to_ingress_and_to_egress_where_there_are_egress_rules(
    spec: Object, isolated: set[str]
) -> None:
    text = compile_table([WEB], [], [policy(**spec)])
    assert {direction for direction in ("ingress", "egress") if f"chain {direction}_10_244_0_5" in text} == isolated


def test_an_empty_rule_allows_everything() -> None:
    assert ingress({}) == ["return"]


def test_an_empty_list_of_peers_allows_everybody_and_of_ports_every_port() -> None:
    assert ingress({"from": [], "ports": []}) == ["return"]


def test_a_rule_whose_peers_select_nobody_allows_nothing() -> None:
    assert ingress({"from": [{"podSelector": {"matchLabels": {"app": "none"}}}]}) == []


def test_a_pod_selector_alone_means_the_policys_own_namespace() -> None:
    pods = (WEB, pod("client", "10.244.0.6"), pod("client", "10.244.0.7", namespace="bank"))
    peers = [{"podSelector": {"matchLabels": {"app": "client"}}}]
    assert ingress({"from": peers}, pods=pods) == ["ct original ip saddr { 10.244.0.6 } return"]


def test_a_namespace_selector_alone_means_all_pods_of_the_namespace() -> None:
    pods = (WEB, pod("client", "10.244.0.6"), pod("a", "10.244.0.8", "bank"), pod("b", "10.244.0.9", "bank"))
    peers = [{"namespaceSelector": {"matchLabels": {"team": "bank"}}}]
    assert ingress({"from": peers}, pods=pods) == ["ct original ip saddr { 10.244.0.8/31 } return"]


def test_both_selectors_in_one_peer_must_both_match() -> None:
    pods = (WEB, pod("client", "10.244.0.6"), pod("a", "10.244.0.8", "bank"), pod("client", "10.244.0.9", "bank"))
    both = {
        "namespaceSelector": {"matchLabels": {"team": "bank"}},
        "podSelector": {"matchLabels": {"app": "client"}},
    }
    assert ingress({"from": [both]}, pods=pods) == ["ct original ip saddr { 10.244.0.9 } return"]


def test_an_ip_block_leaves_out_its_exceptions_and_takes_in_pods() -> None:
    block = {"cidr": "10.244.0.0/29", "except": ["10.244.0.4/30", "192.0.2.0/24"]}
    assert ingress({"from": [{"ipBlock": block}]}) == ["ct original ip saddr { 10.244.0.0/30 } return"]


def test_an_exception_as_large_as_its_block_leaves_nothing() -> None:
    assert ingress({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}) == []


def test_overlapping_peers_are_merged_because_nftables_refuses_them() -> None:
    pods = (WEB, pod("client", "10.244.0.6"))
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {}}, {"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert ingress({"from": peers}, pods=pods) == ["ct original ip saddr { 10.0.0.0/8 } return"]


def test_an_ip_block_of_everything_is_everybody_and_one_of_version_6_nobody() -> None:
    assert ingress({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}) == ["return"]
    assert ingress({"from": [{"ipBlock": {"cidr": "::/0"}}]}) == []


def test_ports_are_matched_with_their_protocol() -> None:
    ports = [
        {"port": 80},
        {"port": 53, "protocol": "UDP"},
        {"port": 8000, "endPort": 8080},
        {"protocol": "SCTP"},
    ]
    assert ingress({"ports": ports}) == [
        "meta l4proto tcp ct reply proto-src 80 return",
        "meta l4proto udp ct reply proto-src 53 return",
        "meta l4proto tcp ct reply proto-src 8000-8080 return",
        "meta l4proto sctp return",
    ]


def test_a_named_port_of_ingress_is_looked_up_on_the_selected_pod_with_its_protocol() -> None:
    ports = [
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "http", "containerPort": 8080},
    ]
    rules = {"ports": [{"port": "http"}, {"port": "dns"}, {"port": "dns", "protocol": "UDP"}, {"port": "absent"}]}
    assert ingress(rules, pods=(pod("web", "10.244.0.5", ports=ports),)) == [
        "meta l4proto tcp ct reply proto-src 8080 return",
        "meta l4proto udp ct reply proto-src 53 return",
    ]


def test_a_named_port_of_egress_is_looked_up_on_each_peer() -> None:
    one = pod("one", "10.244.0.6", ports=[{"name": "http", "containerPort": 8080}])
    two = pod("two", "10.244.0.7", ports=[{"name": "http", "containerPort": 9090}])
    outside = pod("outside", "10.244.0.40", ports=[{"name": "http", "containerPort": 7070}])
    rule = {"to": [{"ipBlock": {"cidr": "10.244.0.0/28"}}], "ports": [{"port": "http"}]}
    text = compile_table([WEB, one, two, outside], [], [policy(policyTypes=["Egress"], egress=[rule])])
    assert chain(text, "egress_10_244_0_5")[1:-1] == [
        "ct reply ip saddr { 10.244.0.6 } meta l4proto tcp ct reply proto-src 8080 return",
        "ct reply ip saddr { 10.244.0.7 } meta l4proto tcp ct reply proto-src 9090 return",
    ]


def test_a_sidecar_has_ports_and_an_init_container_that_ends_has_none() -> None:
    init = [
        {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "proxy", "containerPort": 15001}]},
        {"name": "setup", "ports": [{"name": "setup", "containerPort": 1}]},
    ]
    web = pod("web", "10.244.0.5", spec={"initContainers": init})
    assert ingress({"ports": [{"port": "proxy"}, {"port": "setup"}]}, pods=(web,)) == [
        "meta l4proto tcp ct reply proto-src 15001 return"
    ]


def test_two_policies_on_one_pod_allow_what_either_allows() -> None:
    first, second = policy(ingress=[{"ports": [{"port": 80}]}]), policy(ingress=[{"ports": [{"port": 443}]}])
    second["metadata"] = {"namespace": "shop", "name": "second"}
    assert chain(compile_table([WEB], [], [second, first]), "ingress_10_244_0_5") == [
        "ct original ip saddr 10.244.0.5 return",
        "meta l4proto tcp ct reply proto-src 80 return",
        "meta l4proto tcp ct reply proto-src 443 return",
        "counter drop",
    ]


def test_a_policy_selects_pods_of_its_own_namespace_only() -> None:
    stranger = pod("web", "10.244.0.9", namespace="bank")
    assert "10_244_0_9" not in compile_table([WEB, stranger], [], [policy()])


@pytest.mark.parametrize(
    "uncovered",
    [
        pod("host", "10.243.0.1", spec={"hostNetwork": True}),
        pod("done", "10.244.0.9", phase="Succeeded"),
        pod("failed", "10.244.0.9", phase="Failed"),
        pod("new", ""),
    ],
)
def test_pods_without_a_network_of_their_own_are_neither_isolated_nor_peers(uncovered: Object) -> None:
    text = compile_table([WEB, uncovered], [], [policy(ingress=[{"from": [{"podSelector": {}}]}])])
    assert chain(text, "judge_ingress")[-1] == "ct reply ip saddr vmap { 10.244.0.5 : jump ingress_10_244_0_5 }"
    assert chain(text, "ingress_10_244_0_5")[1:-1] == ["ct original ip saddr { 10.244.0.5 } return"]


def test_of_two_pods_with_one_address_the_younger_has_it() -> None:
    young = pod("young", "10.244.0.5", created="2026-01-02T00:00:00Z")
    assert "# shop/young" in compile_table([young, WEB], [], [policy()])
    assert "# shop/web" not in compile_table([young, WEB], [], [policy()])


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "front"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ],
)
def test_selectors_follow_the_documented_operators(selector: Object | None, selected: bool) -> None:  # noqa: FBT001 - a column of the table above
    assert selects(selector, {"app": "web"}) is selected


def test_an_operator_nobody_knows_is_an_error_and_not_a_silent_no() -> None:
    with pytest.raises(ValueError, match="unknown operator 'Gt'"):
        selects({"matchExpressions": [{"key": "app", "operator": "Gt"}]}, {"app": "web"})
