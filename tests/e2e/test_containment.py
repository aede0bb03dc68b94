"""Containment on a real cluster by the deployed operator, judged by packets and by what the API server says."""

import json
import time
from typing import Any

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from customer import Customer, watched_endpoints
from shop import Shop
from shop_objects import ALLOW_ALL, CUT, idle

pytestmark = pytest.mark.usefixtures("cut_playbook")

PROXY_SYNC = 2.0  # seconds in which kube-proxy follows the endpoints: at most once a second by default, and its work


def container_id(pod: dict[str, Any]) -> str:
    found: str = pod["status"]["containerStatuses"][0]["containerID"]
    return found


def test_the_attacked_pod_talks_to_its_command_and_control_before_and_not_after(shop: Shop) -> None:
    shop.open()
    victim, sibling = shop.pods()
    at = {pod: shop.get("pod", pod)["status"]["podIP"] for pod in (victim, sibling)}
    assert shop.reaches(sibling, at[victim])
    assert shop.reaches(victim, at[sibling])

    shop.raise_incident("web-shell", {"pod": victim}, playbook=CUT)
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    shop.silent(victim, control=sibling)
    before = shop.talk(victim)
    shop.talks(sibling, lines=40)
    assert shop.talk(victim) == before
    assert not shop.reaches(sibling, at[victim])
    assert not shop.reaches(victim, at[sibling])


def test_the_service_loses_requests_only_until_the_cut_pod_has_left_it(cluster: ClusterInfo, shop: Shop) -> None:
    shop.open()
    victim, sibling = shop.pods()
    was = shop.get("pod", victim)
    customer = Customer(shop)
    customer.come()
    steady = time.time()  # what was asked before the node's proxy knew the new Service says nothing of the cut
    customer.sees({victim, sibling}, after=steady)

    with watched_endpoints(cluster, shop) as endpoints:
        cut = time.time()
        shop.raise_incident("web-shell", {"pod": victim}, playbook=CUT)
        ip = was["status"]["podIP"]
        wait_until(lambda: endpoints.left(ip), timeout=20, otherwise="the cut pod is still behind the Service")
        left = endpoints.left(ip) or 0
    shop.run("rollout", "status", "deployment/web", "--timeout=60s")
    (fresh,) = set(shop.pods()) - {sibling}
    assert fresh != victim
    customer.sees({sibling, fresh}, after=left + PROXY_SYNC, number=100)

    requests = [request for request in customer.requests() if request.at > steady]
    lost = [request.at for request in requests if not request.by]
    assert [at - cut for at in lost if not cut <= at <= left + PROXY_SYNC] == []
    assert victim not in {request.by for request in requests if request.at > left + PROXY_SYNC}

    now = shop.get("pod", victim)
    assert now["status"]["phase"] == "Running"
    assert "ownerReferences" not in now["metadata"]
    assert container_id(now) == container_id(was)


def test_a_policy_that_still_allows_traffic_is_named_until_it_is_gone(shop: Shop) -> None:
    shop.open()
    victim, sibling = shop.pods()
    shop.apply(ALLOW_ALL)
    shop.raise_incident("web-shell", {"pod": victim}, playbook=CUT)

    contained = shop.await_reason("web-shell", "Contained", "AllowedByOtherPolicies")
    assert (contained["status"], contained["message"]) == (
        "False",
        "policies are additive and these still allow traffic: allow-all (written by kubectl-client-side-apply)",
    )
    shop.talks(victim)

    shop.run("delete", "networkpolicy", "allow-all")
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    shop.silent(victim, control=sibling)


def test_a_pod_on_the_nodes_network_is_not_called_contained(shop: Shop) -> None:
    shop.apply(idle("agent", hostNetwork=True))
    shop.raise_incident("agent", {"pod": "agent"}, playbook=CUT)
    contained = shop.await_reason("agent", "Contained", "HostNetwork")
    assert contained["status"] == "False"
    assert contained["message"].startswith("agent uses the node's network: no NetworkPolicy applies")
    assert "cut the node off" in shop.await_condition("agent", "ActionRequired")["message"]


def pods_on(kubectl: Kubectl, node: str) -> set[str]:
    """NAMESPACE/NAME of each pod on a node."""
    chosen = ("--all-namespaces", "--field-selector", f"spec.nodeName={node}")
    found = json.loads(kubectl("get", "pods", *chosen, "-o", "json"))["items"]
    return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in found}


@pytest.mark.parametrize(
    ("way", "spec"),
    [
        ("container app is privileged", {"container": {"securityContext": {"privileged": True}}}),
        ("hostPath /var/log", {"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]}),
    ],
)
def test_a_pod_with_a_way_to_its_node_makes_the_node_suspect(
    shop: Shop, kubectl: Kubectl, way: str, spec: dict[str, Any]
) -> None:
    shop.apply(idle("tool", **spec))
    shop.run("wait", "--for=condition=Ready", "pod/tool", "--timeout=60s")
    node = shop.get("pod", "tool")["spec"]["nodeName"]
    before = pods_on(kubectl, node)
    shop.raise_incident("tool", {"pod": "tool"}, playbook=CUT)

    suspect = shop.await_condition("tool", "NodeSuspect")
    assert suspect["message"].startswith(f"tool on {node}: {way}. Pods on it: {node}: ")
    words = suspect["message"].partition(f"Pods on it: {node}: ")[2].partition(" and ")[0]  # and so many more
    named = set(words.split(", "))
    after = pods_on(kubectl, node)
    assert named <= before | after  # pods of earlier tests are still going
    assert len(named) >= min(len(before & after), 20)
    assert shop.await_condition("tool", "Contained")["reason"] == "Enforced"


def test_cloud_credentials_of_the_account_are_called_live_with_their_role(shop: Shop) -> None:
    role = "arn:aws:iam::123456789012:role/shop"
    annotations = {"eks.amazonaws.com/role-arn": role}
    metadata = {"name": "cloudy", "annotations": annotations}
    shop.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    shop.apply(idle("worker", account="cloudy"))
    shop.raise_incident("keys", {"pod": "worker"})
    identity = shop.await_reason("keys", "IdentityContained", "CloudCredentialsLive")
    assert identity["status"] == "False"
    assert f"AWS role {role} of account {shop.namespace}/cloudy is live; aws iam put-role-policy" in identity["message"]


@pytest.mark.parametrize(
    "target",
    [
        {"selector": {"matchLabels": {"app": "web"}}},
        {"workload": {"kind": "Deployment", "name": "web"}},
        {"serviceAccount": "web"},
    ],
    ids=["selector", "workload", "serviceAccount"],
)
def test_every_pod_of_the_target_is_cut_also_one_that_comes_later(shop: Shop, target: dict[str, Any]) -> None:
    shop.open()
    bystander = shop.bystander()
    first = shop.pods()
    shop.raise_incident("backdoor", target, playbook=CUT)
    assert shop.await_condition("backdoor", "Contained")["reason"] == "Enforced"
    assert sorted(shop.status("backdoor")["held"]) == first
    for pod in first:
        shop.silent(pod, control=bystander)

    key = f"quarantine.firebreak.dev/{shop.uid('backdoor')}"
    shop.run("scale", "deployment/web", "--replicas=3")
    wait_until(lambda: len(shop.pods()) == 3, timeout=20, otherwise="no third pod was made")
    (later,) = set(shop.pods()) - set(first)
    wait_until(lambda: key in shop.labels(later), timeout=2, otherwise=f"pod {later} was not cut")
    shop.run("wait", "--for=condition=Ready", f"pod/{later}", "--timeout=60s")
    assert not shop.reaches(bystander, shop.get("pod", later)["status"]["podIP"])
    assert not shop.reaches(later, shop.get("pod", bystander)["status"]["podIP"])


def test_a_pod_deleted_under_way_leaves_honest_words(firebreak: str, shop: Shop, kubectl: Kubectl) -> None:
    """The copy of its files takes seconds: it is under way when the pod goes."""
    fill = "dd if=/dev/zero of=/tmp/loot bs=1M count=300 && touch /filled && exec sleep 3600"
    shop.apply(idle("victim", container={"command": ["sh", "-c", fill]}))
    shop.run("wait", "--for=condition=Ready", "pod/victim", "--timeout=60s")
    wait_until(lambda: "filled" in shop.exec("victim", "ls", "/"), timeout=60, otherwise="the pod did not fill")
    crashes = restarts(kubectl, firebreak)
    shop.raise_incident("web-shell", {"pod": "victim"})
    wait_until(lambda: "quarantine" in shop.labels("victim"), timeout=20, otherwise="the pod was not cut")
    shop.run("delete", "pod", "victim", "--grace-period=0", "--force", "--wait=false")

    contained = shop.await_reason("web-shell", "Contained", "TargetGone")
    assert (contained["status"], contained["message"]) == (
        "Unknown",
        "victim left the API; a forced deletion leaves processes running: look at the node",
    )
    preserved = shop.await_reason("web-shell", "EvidencePreserved", "Incomplete")
    assert preserved["status"] == "False"
    gaps = shop.status("web-shell")["evidence"]["gaps"]
    assert [gap for gap in gaps if "files" in gap] != []
    now = restarts(kubectl, firebreak)
    assert {pod: number for pod, number in now.items() if number > crashes.get(pod, 0)} == {}


def restarts(kubectl: Kubectl, namespace: str) -> dict[str, int]:
    """How often the containers of each of the operator's pods restarted."""
    pods = json.loads(kubectl("get", "pods", "--namespace", namespace, "--output", "json"))["items"]
    statuses = {pod["metadata"]["name"]: pod["status"].get("containerStatuses", []) for pod in pods}
    return {name: sum(each["restartCount"] for each in found) for name, found in statuses.items()}


def test_a_pod_that_is_not_there_is_said_to_be_missing_and_cut_when_it_comes(shop: Shop) -> None:
    shop.raise_incident("web-shell", {"pod": "victim"}, playbook=CUT)
    contained = shop.await_reason("web-shell", "Contained", "TargetNotFound")
    assert (contained["status"], contained["message"]) == ("False", "no pod of the target is there")
    assert shop.await_reason("web-shell", "EvidencePreserved", "TargetNotFound")["status"] == "False"
    shop.apply(idle("victim"))
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    assert shop.await_condition("web-shell", "EvidencePreserved")["reason"] == "Sealed"
