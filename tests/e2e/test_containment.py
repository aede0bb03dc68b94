"""Containment on a real cluster by the deployed operator, judged by packets and by what the API server says."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, own_namespace
from customer import Customer, watched_endpoints
from shop import Shop, incident

PROXY_SYNC = 2.0  # seconds in which kube-proxy follows the endpoints: at most once a second by default, and its work

CUT = "cut"
# Evidence beside the cut is kept small: other tests look at it.
CUT_PLAYBOOK = {
    "apiVersion": "firebreak.dev/v1alpha1",
    "kind": "Playbook",
    "metadata": {"name": CUT},
    "spec": {"steps": [{"quarantine": {}}, {"capture": {"paths": []}}]},
}
ALLOW_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "allow-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
}


@pytest.fixture(autouse=True, scope="module")
def playbook(firebreak: str, kubectl: Kubectl) -> Iterator[None]:
    kubectl("apply", "--filename", "-", stdin=json.dumps(CUT_PLAYBOOK))
    yield
    kubectl("delete", "playbook", CUT, "--ignore-not-found")


@pytest.fixture
def canary(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Shop]:
    """A cut pod in a namespace of its own, on which one sees that the operator has looked at every incident again."""
    with own_namespace(kubectl, "canary") as name:
        place = Shop(kubectl, name, "", cluster.kubeconfig)
        place.apply(idle("bird"))
        place.raise_incident("canary", {"pod": "bird"}, playbook=CUT)
        place.await_condition("canary", "Contained")
        yield place


def resynced(canary: Shop) -> None:
    """Return when every incident was looked at again twice: the operator wakes all of them together."""
    canary.apply(ALLOW_ALL)
    canary.await_reason("canary", "Contained", "AllowedByOtherPolicies")
    canary.run("delete", "networkpolicy", "allow-all")
    canary.await_reason("canary", "Contained", "Enforced")


def idle(name: str, account: str = "default", **spec: Any) -> dict[str, Any]:
    """A pod that does nothing; `spec` adds to its spec, `container` to its container."""
    sleep = {"name": "app", "image": "busybox:1.35", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    containers = [sleep | spec.pop("container", {})]
    whole = {"terminationGracePeriodSeconds": 0, "serviceAccountName": account, "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


def labels(shop: Shop, pod: str) -> dict[str, str]:
    found: dict[str, str] = shop.get("pod", pod)["metadata"].get("labels", {})
    return found


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

    requests = customer.requests()
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
        "policies are additive and these still allow traffic: allow-all",
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
    shop.raise_incident("tool", {"pod": "tool"}, playbook=CUT)

    suspect = shop.await_condition("tool", "NodeSuspect")
    assert suspect["message"].startswith(f"tool on {node}: {way}. Pods on it: {node}: ")
    pods = json.loads(
        kubectl("get", "pods", "--all-namespaces", "--field-selector", f"spec.nodeName={node}", "-o", "json")
    )
    there = sorted((p["metadata"]["namespace"], p["metadata"]["name"]) for p in pods["items"])
    named = suspect["message"].partition(f"Pods on it: {node}: ")[2].split(", ")
    assert "/".join(there[0]) in named
    assert len(named) == min(len(there), 20)
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
    assert f"AWS role {role} is live; in IAM: role {role}, 'Revoke sessions'" in identity["message"]


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
    wait_until(lambda: key in labels(shop, later), timeout=2, otherwise=f"pod {later} was not cut")
    shop.run("wait", "--for=condition=Ready", f"pod/{later}", "--timeout=60s")
    assert not shop.reaches(bystander, shop.get("pod", later)["status"]["podIP"])
    assert not shop.reaches(later, shop.get("pod", bystander)["status"]["podIP"])


def test_a_pod_of_two_incidents_is_free_only_when_both_are_released(shop: Shop) -> None:
    shop.open()
    victim, sibling = shop.pods()
    was = shop.get("pod", victim)
    shop.raise_incident("first", {"pod": victim}, playbook=CUT)
    shop.await_condition("first", "Contained")
    shop.raise_incident("second", {"pod": victim}, playbook=CUT)
    shop.await_condition("second", "Contained")
    shop.silent(victim, control=sibling)
    keys = {name: f"quarantine.firebreak.dev/{shop.uid(name)}" for name in ("first", "second")}
    assert labels(shop, victim) == {keys["first"]: "true", keys["second"]: "true", "quarantine": "true"}

    shop.firebreak("close", "first", "--verdict", "FalsePositive")
    shop.firebreak("release", "first", "--yes")
    assert labels(shop, victim) == {keys["second"]: "true", "quarantine": "true"}
    before = shop.talk(victim)
    shop.talks(sibling, lines=20)
    assert shop.talk(victim) == before

    # The ReplicaSet has one pod too many once it adopts this one: the annotation makes it delete another.
    shop.run("annotate", "pod", victim, "controller.kubernetes.io/pod-deletion-cost=1000")
    shop.firebreak("release", "second", "--verdict", "FalsePositive", "--yes")
    assert labels(shop, victim) == was["metadata"]["labels"]
    shop.reconnect(victim)
    shop.talks(victim)
    owner = was["metadata"]["ownerReferences"]
    wait_until(
        lambda: shop.get("pod", victim)["metadata"].get("ownerReferences") == owner,
        timeout=30,
        otherwise="its ReplicaSet did not adopt the released pod",
    )
    wait_until(lambda: len(shop.pods()) == 2, timeout=30, otherwise="the surplus pod was not deleted")
    assert victim in shop.pods()


def test_a_quarantine_outlives_its_incident_until_somebody_releases_it(shop: Shop) -> None:
    shop.open(replicas=3)
    by_name, by_uid, sibling = shop.pods()
    uids = {}
    for name, pod in (("forgotten", by_name), ("lost", by_uid)):
        shop.raise_incident(name, {"pod": pod}, playbook=CUT)
        shop.await_condition(name, "Contained")
        uids[name] = shop.uid(name)
        shop.run("delete", "incident", name, "--timeout=20s")
    for pod in (by_name, by_uid):
        shop.silent(pod, control=sibling)

    shown = json.loads(shop.firebreak("status", "--output", "json"))
    commands = {name: f"firebreak release {name} -n {shop.namespace} --uid {uid}" for name, uid in sorted(uids.items())}
    assert {each["incident"]: each["release"] for each in shown["orphans"]} == commands
    table = shop.firebreak("status")
    assert [command for command in commands.values() if command not in table] == []

    shop.firebreak("release", "forgotten", "--yes")
    shop.firebreak(*commands["lost"].split()[1:], "--yes")
    for pod in (by_name, by_uid):
        if pod in shop.pods():  # its ReplicaSet may delete it as surplus
            assert labels(shop, pod)["app"] == "web"
    assert json.loads(shop.firebreak("status", "--output", "json"))["orphans"] == []
    assert shop.get("networkpolicies")["items"] == []
    shop.run("rollout", "status", "deployment/web", "--timeout=60s")


def test_applying_the_same_incident_again_changes_nothing(shop: Shop, canary: Shop) -> None:
    shop.open()
    victim, _ = shop.pods()
    shop.raise_incident("web-shell", {"pod": victim})
    shop.run("wait", "--for=condition=Contained", "incident/web-shell", "--timeout=60s")
    shop.run("wait", "--for=condition=Ready", "incident/web-shell", "--timeout=60s")
    policy = f"networkpolicy/firebreak-{shop.uid('web-shell')}"

    def world() -> dict[str, Any]:
        live = shop.get("incident", "web-shell")
        versions = [shop.get(what)["metadata"]["resourceVersion"] for what in (f"pod/{victim}", policy)]
        return {"status": live["status"], "generation": live["metadata"]["generation"], "versions": versions}

    before = world()
    settled = {each["type"]: each["status"] for each in before["status"]["conditions"]}
    assert (settled["Ready"], settled["Reconciling"], settled["Stalled"]) == ("True", "False", "False")
    assert before["status"]["observedGeneration"] == before["generation"] == 1
    shop.raise_incident("web-shell", {"pod": victim})
    gitops = ["--server-side", "--field-manager=argocd-controller"]
    manifest = json.dumps(incident("web-shell", {"pod": victim}))
    shop.run("apply", *gitops, "--filename", "-", stdin=manifest)
    shop.run("apply", *gitops, "--filename", "-", stdin=manifest)
    resynced(canary)
    assert world() == before


def test_a_pod_deleted_under_way_leaves_honest_words(firebreak: str, shop: Shop, kubectl: Kubectl) -> None:
    """The copy of its files takes seconds: it is under way when the pod goes."""
    fill = "dd if=/dev/zero of=/tmp/loot bs=1M count=300 && touch /filled && exec sleep 3600"
    shop.apply(idle("victim", container={"command": ["sh", "-c", fill]}))
    shop.run("wait", "--for=condition=Ready", "pod/victim", "--timeout=60s")
    wait_until(lambda: "filled" in shop.exec("victim", "ls", "/"), timeout=60, otherwise="the pod did not fill")
    crashes = restarts(kubectl, firebreak)
    shop.raise_incident("web-shell", {"pod": "victim"})
    wait_until(lambda: "quarantine" in labels(shop, "victim"), timeout=20, otherwise="the pod was not cut")
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
    """How often each of the operator's containers restarted."""
    pods = json.loads(kubectl("get", "pods", "--namespace", namespace, "--output", "json"))["items"]
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def test_a_pod_that_is_not_there_is_said_to_be_missing_and_cut_when_it_comes(shop: Shop) -> None:
    shop.raise_incident("web-shell", {"pod": "victim"}, playbook=CUT)
    contained = shop.await_reason("web-shell", "Contained", "TargetNotFound")
    assert (contained["status"], contained["message"]) == ("False", "no pod of the target is there")
    assert shop.await_reason("web-shell", "EvidencePreserved", "TargetNotFound")["status"] == "False"
    shop.apply(idle("victim"))
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    assert shop.await_condition("web-shell", "EvidencePreserved")["reason"] == "Sealed"


def test_a_namespace_ends_in_spite_of_an_active_incident(
    firebreak: str, shop: Shop, canary: Shop, kubectl: Kubectl
) -> None:
    shop.open()
    victim, _ = shop.pods()
    shop.raise_incident("web-shell", {"pod": victim})
    shop.raise_incident("everywhere", {"serviceAccount": "web"})
    shop.await_condition("web-shell", "Contained")
    shop.await_condition("everywhere", "Contained")
    names = [shop.namespace, shop.uid("web-shell"), shop.uid("everywhere")]
    begun = datetime.now(UTC)
    kubectl("delete", "namespace", shop.namespace, "--timeout=60s")

    gone = datetime.now(UTC)
    resynced(canary)
    lines = log_lines(kubectl, firebreak, names, since=begun)
    assert "incident left the watch; its quarantine stays" in {line["event"] for line in lines}
    assert [line for line in lines if datetime.fromisoformat(line["timestamp"]) > gone] == []
    assert [line for line in lines if line["level"] == "error"] == []


def log_lines(kubectl: Kubectl, namespace: str, words: list[str], *, since: datetime) -> list[dict[str, Any]]:
    """What all replicas of the operator logged since a moment that has one of the words in it."""
    log = ["logs", "--namespace", namespace, "--selector", "app.kubernetes.io/name=firebreak", "--tail=-1"]
    text = kubectl(*log, f"--since-time={since.isoformat()}")
    return [json.loads(line) for line in text.splitlines() if any(word in line for word in words)]


def test_a_follower_contains_while_there_is_no_leader(firebreak: str, shop: Shop, kubectl: Kubectl) -> None:
    shop.open()
    victim, sibling = shop.pods()
    leader = kubectl(
        "get", "lease", "firebreak", "--namespace", firebreak, "--output", "jsonpath={.spec.holderIdentity}"
    )
    kubectl("delete", "pod", leader, "--namespace", firebreak, "--grace-period=0", "--force", "--wait=false")
    shop.raise_incident("web-shell", {"pod": victim}, playbook=CUT)

    uid = shop.uid("web-shell")

    def in_place() -> bool:
        try:
            shop.get("networkpolicy", f"firebreak-{uid}")
        except ClusterError:
            return False
        return f"quarantine.firebreak.dev/{uid}" in labels(shop, victim)

    wait_until(in_place, timeout=2, otherwise="no other replica contained the pod")
    shop.silent(victim, control=sibling)
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    kubectl("rollout", "status", "deployment/firebreak", "--namespace", firebreak, "--timeout=120s")
