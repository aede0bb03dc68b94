"""What a pod's spec says about its node, and what an account says about the cloud."""

from typing import Any

import pytest

from builders import pod
from firebreak.model.verdict import Verdict
from firebreak.steps.suspicion import cloud, escapes, node

ARN = "arn:aws:iam::123456789012:role/shop-web"
EMAIL = "web@shop.iam.gserviceaccount.com"
CLIENT = "00000000-1111-2222-3333-444444444444"
REVOKE = "'Revoke sessions' (policy AWSRevokeOlderSessions with aws:TokenIssueTime)"


def account(**annotations: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "annotations": annotations}}


def aws(value: Any) -> dict[str, Any]:
    return account(**{"eks.amazonaws.com/role-arn": value})


@pytest.mark.parametrize(
    ("spec", "ways"),
    [
        ({}, []),
        ({"hostPID": True, "hostNetwork": True, "hostIPC": True}, ["hostPID", "hostNetwork", "hostIPC"]),
        ({"hostPID": False}, []),
        (
            {"containers": [{"name": "web", "securityContext": {"privileged": True}}]},
            ["container web is privileged"],
        ),
        (
            {"initContainers": [{"name": "setup", "securityContext": {"privileged": True}}]},
            ["container setup is privileged"],
        ),
        (
            {"ephemeralContainers": [{"name": "debug", "securityContext": {"privileged": True}}]},
            ["container debug is privileged"],
        ),
        ({"containers": [{"name": "web", "securityContext": {"privileged": False}}]}, []),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, ["hostPath /"]),
        (
            {"volumes": [{"name": "run", "hostPath": {"path": "/run/containerd/containerd.sock"}}]},
            ["runtime socket /run/containerd/containerd.sock"],
        ),
        ({"volumes": [{"name": "data", "emptyDir": {}}]}, []),
    ],
)
def test_the_ways_to_the_node_are_those_that_the_spec_opens(spec: dict[str, Any], ways: list[str]) -> None:
    assert list(escapes(pod(**spec))) == ways


def test_pods_without_a_way_to_their_node_are_confined() -> None:
    assert node((pod(),), {}) == Verdict(
        "NodeSuspect", "False", "Confined", "no pod of the incident has a way to its node by its spec"
    )


def test_a_way_to_the_node_makes_it_suspect_and_names_who_else_is_there() -> None:
    pods = (pod("web-1"), pod("agent-1", hostPID=True))
    assert node(pods, {"node-1": ["shop/web-1", "shop/agent-1", "bank/ledger-0"]}) == Verdict(
        "NodeSuspect",
        "True",
        "WayToNode",
        "agent-1 on node-1: hostPID. Pods on it: node-1: shop/web-1, shop/agent-1, bank/ledger-0",
    )


def test_of_a_crowded_node_twenty_pods_are_named() -> None:
    crowd = [f"bank/ledger-{n}" for n in range(100)]
    words = node((pod(hostPID=True),), {"node-1": crowd}).message
    assert words.count("bank/") == 20


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (
            "eks.amazonaws.com/role-arn",
            ARN,
            f"AWS role {ARN} is live; in IAM: role {ARN}, {REVOKE}",
        ),
        (
            "iam.gke.io/gcp-service-account",
            EMAIL,
            f"Google service account {EMAIL} is live; gcloud iam service-accounts disable {EMAIL}",
        ),
        (
            "azure.workload.identity/client-id",
            CLIENT,
            f"Azure identity {CLIENT} is live; az ad sp update --id {CLIENT} --set accountEnabled=false",
        ),
    ],
)
def test_cloud_credentials_are_named_with_the_command_that_ends_them(annotation: str, value: str, words: str) -> None:
    assert list(cloud(account(**{annotation: value, "team": "shop"}))) == [words]


@pytest.mark.parametrize(
    "hostile",
    [
        "arn; rm -rf /",
        "$(reboot)",
        "`reboot`",
        "arn\nroot is fine",
        f"{ARN}\n",
        "--impersonate-service-account=evil@example.com",
        "\x1b[2J",
        "{value}",
        "\u0430rn:cyrillic",
        "",
        "x" * 513,
        7,
        None,
        ["a"],
        {"a": "b"},
    ],
)
def test_what_people_would_paste_into_a_shell_is_withheld_when_it_is_not_plain(hostile: Any) -> None:
    (words,) = cloud(aws(hostile))
    shown = "(name withheld: unusual characters; read the annotation)"
    assert words == f"AWS role {shown} is live; in IAM: role {shown}, {REVOKE}"


@pytest.mark.parametrize(
    "odd", [{}, {"metadata": None}, {"metadata": {"annotations": None}}, {"metadata": {"annotations": ["a"]}}]
)
def test_an_account_of_odd_shape_carries_nothing(odd: dict[str, Any]) -> None:
    assert list(cloud(odd)) == []
