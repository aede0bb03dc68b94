"""Guard rails on a real cluster: what is protected is not cut, a storm of alerts is stopped, a Service is asked for."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import RBAC, Place, container, place, pod, workload
from shop_objects import CUT, incident

READY = "touch /ready; exec sleep 1000000"
SYSTEM = "kube-system"
ALARMS = 10  # automatic incidents of one namespace that may cut, by default
OVERRIDE = json.dumps({"spec": {"overrides": ["Protected"]}})
RESPONDING = json.dumps([{"op": "replace", "path": "/spec/mode", "value": "Respond"}])


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, cut_playbook: str) -> Iterator[Place]:
    with place(cluster, kubectl, "rails") as found:
        yield found


@pytest.fixture
def system(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, cut_playbook: str) -> Iterator[Place]:
    """A pod of ours in kube-system, and an incident about it; both go afterwards."""
    at = Place(cluster, kubectl, SYSTEM)
    at.apply(pod("firebreak-rails", container(READY)))
    at.ready("pod/firebreak-rails")
    yield at
    system_objects = ("incident/rails", "pod/firebreak-rails")
    kubectl("delete", "-n", SYSTEM, *system_objects, "--ignore-not-found")


def acting(at: Place, user: str, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as somebody who may edit incidents here, and nothing else."""
    return at.kubectl("--as", user, "--namespace", at.namespace, *arguments, stdin=stdin)


def opens(at: Place, user: str, name: str, **spec: Any) -> None:
    """Open an incident as somebody whose role comes into force meanwhile."""
    body = json.dumps(incident(name, {"pod": "web"}, playbook=CUT, mode="Preserve", **spec))

    def opened() -> bool:
        try:
            acting(at, user, "create", "-f", "-", stdin=body)
        except ClusterError:
            return False
        return True

    wait_until(opened, timeout=20, otherwise=f"the role of {user} did not come into force")


def editor_of_incidents(namespace: str, *more: str) -> list[dict[str, Any]]:
    """A role, and bob who has it. `more`: verbs on incidents besides."""
    verbs = ["create", "get", "patch", *more]
    rules = [
        {"apiGroups": ["firebreak.dev"], "resources": ["incidents"], "verbs": verbs},
        {"apiGroups": ["firebreak.dev"], "resources": ["playbooks"], "verbs": ["use"]},
    ]
    named = {"metadata": {"name": "rails-editor", "namespace": namespace}}
    role = {"apiGroup": RBAC, "kind": "Role", "name": "rails-editor"}
    version = f"{RBAC}/v1"
    subjects = [{"apiGroup": RBAC, "kind": "User", "name": "bob"}]
    return [
        {"apiVersion": version, "kind": "Role", **named, "rules": rules},
        {"apiVersion": version, "kind": "RoleBinding", **named, "roleRef": role, "subjects": subjects},
    ]


def test_a_pod_of_kube_system_is_preserved_and_not_cut(system: Place) -> None:
    """Also who sets the guard rail aside still meets the fence of the operator's account there."""
    before = system.get("pod", "firebreak-rails")["metadata"]["labels"]
    system.apply(incident("rails", {"pod": "firebreak-rails"}, playbook=CUT))
    words = system.condition("rails", "Contained", "False/Protected", seconds=20)
    assert "the cluster itself runs in kube-system" in words
    system.condition("rails", "ActionRequired", "True")
    wait_until(lambda: bool(system.status("rails").evidence), timeout=60, otherwise="nothing was preserved")
    assert system.get("pod", "firebreak-rails")["metadata"]["labels"] == before
    uid = system.get("incident", "rails")["metadata"]["uid"]
    names = system.kubectl("get", "networkpolicies", "-n", SYSTEM, "-o", "name")
    assert uid not in names

    system.kubectl("patch", "incident", "rails", "-n", SYSTEM, "--type=merge", "--patch", OVERRIDE)
    words = system.condition("rails", "Contained", "False/Refused", seconds=20)
    assert "kube-system and namespaces labelled firebreak.dev/allowed=false are not Firebreak's to cut" in words


def test_who_may_not_override_incidents_sets_no_guard_rail_aside(where: Place) -> None:
    where.apply(*editor_of_incidents(where.namespace))
    opens(where, "bob", "bobs")
    with pytest.raises(ClusterError, match="takes the verb override on incidents"):
        acting(where, "bob", "patch", "incident", "bobs", "--type=merge", "--patch", OVERRIDE)
    where.kubectl("patch", "incident", "bobs", "-n", where.namespace, "--type=merge", "--patch", OVERRIDE)
    acting(where, "bob", "patch", "incident", "bobs", "--type=merge", "--patch", '{"spec": {"reason": "kept"}}')
    with pytest.raises(ClusterError, match=r"spec\.source is set once"):
        acting(where, "bob", "patch", "incident", "bobs", "--type=merge", "--patch", '{"spec": {"source": "falco"}}')


def test_an_override_is_not_borrowed_for_what_it_was_not_given_for(where: Place) -> None:
    """Who may do all but override finds incidents whose overrides an administrator set."""
    where.apply(*editor_of_incidents(where.namespace, "update", "respond"))
    opens(where, "bob", "bobs")
    given = {"overrides": ["Protected"], "playbook": CUT}
    where.apply(incident("kept", {"pod": "web"}, mode="Plan", **given))
    aimless = incident("aimless", {}, mode="Plan", **given)
    del aimless["spec"]["target"]
    where.apply(aimless)
    wait_until(lambda: where.status("kept").phase == "Planned", timeout=20, otherwise="no plan")
    kept = where.get("incident", "kept")
    on_kept = ("patch", "incident", "kept", "--type=merge", "--patch")
    copied = {**kept, "metadata": {"generateName": "copied-"}}
    again = incident("kept", {"pod": "web"}, mode="Respond", **given)
    tries: list[tuple[tuple[str, ...], Any]] = [
        ((*on_kept, '{"spec": {"mode": "Respond"}}'), None),
        ((*on_kept, '{"spec": {"playbook": "standard"}}'), None),
        ((*on_kept, '{"spec": {"overrides": ["BreakerOpen"]}}'), None),
        ((*on_kept, '{"spec": {"overrides": ["Protected", "BreakerOpen"]}}'), None),
        (("patch", "incident", "aimless", "--type=merge", "--patch", '{"spec": {"target": {"pod": "web"}}}'), None),
        (("patch", "incident", "kept", "--type=json", "--patch", RESPONDING), None),
        (("replace", "-f", "-"), {**kept, "spec": {**kept["spec"], "mode": "Respond"}}),
        (("apply", "--server-side", "--force-conflicts", "-f", "-"), again),
        (("create", "-f", "-"), copied),
    ]
    for command, body in tries:
        with pytest.raises(ClusterError, match="takes the verb override on incidents"):
            acting(where, "bob", *command, stdin=json.dumps(body) if body else None)
    acting(where, "bob", *on_kept, '{"spec": {"overrides": []}}')
    with pytest.raises(ClusterError, match="takes the verb override on incidents"):
        acting(where, "bob", *on_kept, OVERRIDE)


def test_a_service_account_has_to_say_what_raises_its_incident(where: Place) -> None:
    account = f"system:serviceaccount:{where.namespace}:default"
    role, binding = editor_of_incidents(where.namespace)
    where.apply(role, {**binding, "subjects": [{"kind": "ServiceAccount", "name": "default"}]})
    opens(where, account, "named", source="falco")
    body = json.dumps(incident("unnamed", {"pod": "web"}, playbook=CUT, mode="Preserve"))
    with pytest.raises(ClusterError, match=r"has to say in spec\.source what raises this incident"):
        acting(where, account, "create", "-f", "-", stdin=body)


def test_who_stands_behind_a_webhook_is_left_alone(where: Place) -> None:
    """The webhook itself is asked by nobody: no object has the label that it selects."""
    where.apply(pod("policy", container(READY)), service("policy"), webhook(where.namespace))
    try:
        where.ready("pod/policy")
        tries = iter(range(100))

        def known() -> bool:
            name = f"try-{next(tries)}"
            where.apply(incident(name, {"pod": "policy"}, mode="Plan", playbook=CUT))
            wait_until(lambda: where.status(name).phase == "Planned", timeout=20, otherwise="no plan")
            return "it answers admission webhook rails.example.com" in where.status(name).steps["quarantine"].message

        wait_until(known, timeout=40, otherwise="the webhook's pod was never known")
        where.open("shell", "policy", playbook=CUT)
        where.condition("shell", "Contained", "False/Protected", seconds=20)
        assert "quarantine" not in where.get("pod", "policy")["metadata"]["labels"]
    finally:
        where.kubectl("delete", "validatingwebhookconfiguration", f"rails-{where.namespace}")


def webhook(namespace: str) -> dict[str, Any]:
    hook = {
        "name": "rails.example.com",
        "clientConfig": {"service": {"namespace": namespace, "name": "policy"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "objectSelector": {"matchLabels": {"nobody": "has-this"}},
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": f"rails-{namespace}"}, "webhooks": [hook]}


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_the_cut_of_every_pod_behind_a_service_waits_for_an_approval(where: Place, kubectl: Kubectl) -> None:
    book = {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Playbook", "metadata": {"name": "rails-asks"}}
    steps = [{"quarantine": {}}, {"capture": {"paths": []}}]
    where.apply(book | {"spec": {"steps": steps}}, service("web"))
    try:
        where.apply(workload("Deployment", "web", container(READY), replicas=2))
        where.ready("deployment/web")
        target = {"workload": {"kind": "Deployment", "name": "web"}}
        where.apply(incident("all", target, playbook="rails-asks"))
        words = where.condition("all", "Contained", "False/AwaitingApproval", seconds=20)
        assert words.startswith("every pod behind Service web would be cut off; 1 Change waits for a person:")
        assert where.status("all").held == []
        done = where.firebreak("approve", "all", "quarantine", "--yes")
        assert done.code == 0, done.err
        where.condition("all", "Contained", "True", seconds=20)
        assert len(where.status("all").held) == 2
    finally:
        kubectl("delete", "playbook", "rails-asks")


def test_a_storm_of_alerts_is_stopped_and_a_person_is_not(where: Place) -> None:
    where.apply(pod("web", container(READY)), pod("other", container(READY)))
    where.ready("pod/web", "pod/other")
    storm = [incident(f"alert-{n}", {"pod": f"absent-{n}"}, source="falco", playbook=CUT) for n in range(ALARMS)]
    where.apply(*storm)
    for n in range(ALARMS):
        where.condition(f"alert-{n}", "Contained", "False/TargetNotFound", seconds=30)
    where.open("last", "web", source="falco", playbook=CUT)
    words = where.condition("last", "Contained", "False/BreakerOpen", seconds=20)
    assert words.startswith(f"{ALARMS} automatic incidents of namespace {where.namespace} have cut pods off")
    assert "quarantine" not in where.get("pod", "web")["metadata"]["labels"]
    where.open("critical", "other", source="falco", severity="Critical", playbook=CUT)
    where.condition("critical", "Contained", "True", seconds=20)
    where.open("person", "web", playbook=CUT)
    where.condition("person", "Contained", "True", seconds=20)
