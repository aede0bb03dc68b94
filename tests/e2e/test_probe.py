"""The enforcement probe on a real cluster: real packets, dropped or not."""

import json
import os
from collections.abc import AsyncIterator

import pytest

from cluster import control
from cluster.provider import ClusterInfo
from conftest import Kubectl
from firebreak.kube.client import Api
from firebreak.kube.probe import load, prove_enforcement, save
from firebreak.model.enforcement import State

IMAGE = os.environ.get("FIREBREAK_TEST_IMAGE", "firebreak:dev")  # `make image` builds and loads it
PATHS = (
    "new connection out of the cut pod",
    "established connection out of the cut pod",
    "new connection into the cut pod",
    "established connection into the cut pod",
)


@pytest.fixture
def restricted(namespace: str, kubectl: Kubectl) -> str:
    """A namespace that admits only what restricted Pod Security allows, as Firebreak's own does."""
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


@pytest.fixture
async def api(cluster: ClusterInfo) -> AsyncIterator[Api]:
    async with await Api.connect(str(cluster.kubeconfig)) as connected:
        yield connected


def left(kubectl: Kubectl, namespace: str) -> list[str]:
    """What of the probe is still there and not on its way out."""
    listed = json.loads(kubectl("get", "pods,networkpolicies", "--namespace", namespace, "--output", "json"))
    every = [item["metadata"] for item in listed["items"]]
    return [metadata["name"] for metadata in every if "deletionTimestamp" not in metadata]


async def test_a_cluster_that_drops_packets_is_proven_to(restricted: str, api: Api, kubectl: Kubectl) -> None:
    found = await prove_enforcement(api, namespace=restricted, image=IMAGE)
    assert (found.state, found.detail) == (State.PROVEN, found.detail)
    assert {path: found.directions[path] for path in PATHS} == dict.fromkeys(PATHS, "cut, came back")
    assert left(kubectl, restricted) == []
    await save(api, restricted, found)
    assert await load(api, restricted) == found


async def test_a_cluster_that_drops_nothing_is_seen_to(
    cluster: ClusterInfo, restricted: str, api: Api, kubectl: Kubectl
) -> None:
    if cluster.provider != "local":
        pytest.skip("only the local cluster's enforcer can be stopped")
    with control.stopped("enforcer"):
        found = await prove_enforcement(api, namespace=restricted, image=IMAGE)
    assert (found.state, found.detail) == (
        State.NOT_ENFORCED,
        f"15 s after a deny-all policy was applied this still got through on node1: {', '.join(PATHS)}",
    )
    assert {path: found.directions[path] for path in PATHS} == dict.fromkeys(PATHS, "still flows")
    assert left(kubectl, restricted) == []


async def test_a_namespace_that_is_cut_already_proves_nothing(restricted: str, api: Api, kubectl: Kubectl) -> None:
    policy = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""
    kubectl("apply", "--namespace", restricted, "--filename", "-", stdin=policy)
    found = await prove_enforcement(api, namespace=restricted, image=IMAGE, timeout=6)
    assert found.state is State.UNPROVEN
    assert f"look for NetworkPolicies in {restricted}" in found.detail
    assert left(kubectl, restricted) == ["closed"]
