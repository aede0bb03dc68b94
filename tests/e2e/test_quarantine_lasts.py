"""Quarantine over time on a real cluster: released, forgotten, applied again, its namespace and its leader gone."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.provider import ClusterError
from cluster.waiting import wait_until
from conftest import Kubectl
from killing import Leadership
from scraping import resynced
from shop import Shop
from shop_objects import CUT, idle, incident

pytestmark = pytest.mark.usefixtures("cut_playbook")


def keep(shop: Shop, pod: str) -> None:
    """A ReplicaSet has one pod too many once it adopts a released one: make it delete another than this."""
    shop.run("annotate", "pod", pod, "controller.kubernetes.io/pod-deletion-cost=1000")


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
    assert shop.labels(victim) == {keys["first"]: "true", keys["second"]: "true", "quarantine": "true"}

    shop.firebreak("close", "first", "--verdict", "FalsePositive")
    shop.firebreak("release", "first", "--yes")
    assert shop.labels(victim) == {keys["second"]: "true", "quarantine": "true"}
    before = shop.talk(victim)
    shop.talks(sibling, lines=20)
    assert shop.talk(victim) == before

    keep(shop, victim)
    shop.firebreak("release", "second", "--verdict", "FalsePositive", "--yes")
    assert shop.labels(victim) == was["metadata"]["labels"]
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

    for pod in (by_name, by_uid):
        keep(shop, pod)
    shop.firebreak("release", "forgotten", "--yes")
    shop.firebreak(*commands["lost"].split()[1:], "--yes")
    for pod in (by_name, by_uid):
        assert shop.labels(pod) == shop.labels(sibling)
        shop.reconnect(pod)
        shop.talks(pod)
    assert json.loads(shop.firebreak("status", "--output", "json"))["orphans"] == []
    assert shop.get("networkpolicies")["items"] == []
    shop.run("rollout", "status", "deployment/web", "--timeout=60s")


def test_applying_the_same_incident_again_changes_nothing(firebreak: str, shop: Shop, kubectl: Kubectl) -> None:
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
    resynced(kubectl, firebreak)
    assert world() == before


def test_a_namespace_ends_in_spite_of_active_incidents(firebreak: str, shop: Shop, kubectl: Kubectl) -> None:
    """Also of one that comes when nothing can be created there any more: its policy is refused."""
    shop.open()
    victim, _ = shop.pods()
    shop.raise_incident("web-shell", {"pod": victim})
    shop.raise_incident("everywhere", {"serviceAccount": "web"}, playbook=CUT)
    shop.await_condition("web-shell", "Contained")
    shop.await_condition("everywhere", "Contained")
    shop.apply(idle("stubborn", terminationGracePeriodSeconds=8))  # keeps the namespace from ending at once
    shop.run("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=60s")
    shop.raise_incident("late", {"pod": "stubborn"}, mode="Plan")
    names = [shop.namespace, *(shop.uid(name) for name in ("web-shell", "everywhere", "late"))]

    begun = datetime.now(UTC)
    kubectl("delete", "namespace", shop.namespace, "--wait=false")
    shop.run("patch", "incident", "late", "--type=merge", "--patch", '{"spec": {"mode": "Respond"}}')
    assert "is being terminated" in shop.await_reason("late", "Contained", "Refused", seconds=8)["message"]
    kubectl("wait", "--for=delete", f"namespace/{shop.namespace}", "--timeout=60s")
    gone = datetime.now(UTC)
    resynced(kubectl, firebreak)
    lines = log_lines(kubectl, firebreak, names, since=begun)
    assert "incident left the watch; its quarantine stays" in {line["event"] for line in lines}
    assert [line for line in lines if datetime.fromisoformat(line["timestamp"]) > gone] == []
    assert [line for line in lines if line["level"] == "error"] == []


def log_lines(kubectl: Kubectl, namespace: str, words: list[str], *, since: datetime) -> list[dict[str, Any]]:
    """What all replicas of the operator logged since a moment that has one of the words in it."""
    log = ["logs", "--namespace", namespace, "--selector", "app.kubernetes.io/name=firebreak", "--tail=-1"]
    text = kubectl(*log, f"--since-time={since.isoformat()}")
    return [json.loads(line) for line in text.splitlines() if any(word in line for word in words)]


def test_a_follower_contains_while_there_is_no_leader(
    firebreak: str, shop: Shop, kubectl: Kubectl, leadership: Leadership
) -> None:
    shop.open()
    victim, sibling = shop.pods()
    lead = leadership.leader()
    leadership.kill(lead)
    shop.raise_incident("web-shell", {"pod": victim}, playbook=CUT)

    uid = shop.uid("web-shell")

    def in_place() -> bool:
        try:
            shop.get("networkpolicy", f"firebreak-{uid}")
        except ClusterError:
            return False
        return f"quarantine.firebreak.dev/{uid}" in shop.labels(victim)

    wait_until(in_place, timeout=2, otherwise="no other replica contained the pod")
    assert leadership.holder() == lead, "somebody has taken the Lease over: the cut may be a leader's"
    shop.silent(victim, control=sibling)
    assert shop.await_condition("web-shell", "Contained")["reason"] == "Enforced"
    kubectl("rollout", "status", "deployment/firebreak", "--namespace", firebreak, "--timeout=120s")
