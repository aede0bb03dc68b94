"""What stands around a pod, in the evidence of a real cluster: as it was met, though by then the account was revoked.

The capture waits in the container's gated shell until pod and bindings are changed, so that the order is known.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import (
    GATED,
    RBAC,
    Object,
    Place,
    account,
    binding,
    container,
    from_secret,
    place,
    role,
    secret,
    workload,
)

pytestmark = pytest.mark.usefixtures("firebreak")

SELECTED = {"app": "web"}


@dataclass(frozen=True)
class Surroundings:
    """The document, and where the pod stood."""

    at: Place
    pod: Object
    """The pod as it was before the incident."""
    parts: dict[str, Any]

    def right(self, kind: str, name: str) -> Object:
        """The binding of that kind and name."""
        (found,) = (b for b in self.parts["rights"] if (b["kind"], b["metadata"]["name"]) == (kind, name))
        return found

    def names(self, part: str) -> list[str]:
        """The names of the objects in one part."""
        return [each["metadata"]["name"] for each in self.parts[part]]


@pytest.fixture(scope="module")
def found(cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Surroundings]:
    """The surroundings of a Deployment's pod, read when it was detached and its account revoked."""
    with place(cluster, kubectl, "surroundings") as at:
        try:
            build(at)
            at.ready("deployment/web")
            (before,) = at.get("pods", "--selector", "app=web")["items"]
            name = before["metadata"]["name"]
            at.open("fallen", name, playbook="unattended")
            wait_until(
                lambda: changed(at, name), timeout=10, otherwise="the pod stays owned or its account keeps rights"
            )
            at.exec(name, "touch", "/gate")
            at.condition("fallen", "EvidencePreserved", "True/Sealed", seconds=90)
            evidence = at.evidence("fallen")
            parts = json.loads(evidence.read(evidence.artifacts()["surroundings.json"]))
            yield Surroundings(at, before, parts)
        finally:
            kubectl("delete", "clusterrolebindings,clusterroles", at.namespace, "--ignore-not-found")


def changed(at: Place, pod: str) -> bool:
    """Whether the pod was let go, and the account's name taken out of both bindings."""
    bindings = (at.get("rolebinding", "web"), at.get("clusterrolebinding", at.namespace))
    return "ownerReferences" not in at.get("pod", pod)["metadata"] and not any(b.get("subjects") for b in bindings)


def build(at: Place) -> None:
    """A Deployment whose account has rights by its name, here and in the whole cluster, and by its group."""
    web = {"kind": "ServiceAccount", "name": "web", "namespace": at.namespace}
    everybody = {"kind": "Group", "name": f"system:serviceaccounts:{at.namespace}", "apiGroup": RBAC}
    at.apply(
        account("web"),
        secret("database", password="swordfish"),
        secret("certificate", key="swordfish"),
        role("Role", "reader", "configmaps"),
        role("Role", "lister", "endpoints"),
        role("ClusterRole", at.namespace, "nodes"),
        binding("RoleBinding", "web", "reader", web),
        binding("RoleBinding", "everybody", "lister", everybody),
        binding("ClusterRoleBinding", at.namespace, at.namespace, web),
        binding("RoleBinding", "others", "reader", {"kind": "User", "name": "jane", "apiGroup": RBAC}),
        network_policy("web-only"),
        service("web"),
    )
    password = from_secret("PASSWORD", "database", "password")
    mount = {"name": "certificate", "mountPath": "/etc/certificate"}
    at.apply(
        workload(
            "Deployment",
            "web",
            container(GATED, env=[password], volumeMounts=[mount]),
            serviceAccountName="web",
            volumes=[{"name": "certificate", "secret": {"secretName": "certificate"}}],
        )
    )


def service(name: str) -> Object:
    spec = {"selector": SELECTED, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def network_policy(name: str) -> Object:
    spec = {"podSelector": {"matchLabels": SELECTED}, "policyTypes": ["Ingress"]}
    api = "networking.k8s.io/v1"
    return {"apiVersion": api, "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def rules(resource: str) -> list[Object]:
    return [{"apiGroups": [""], "resources": [resource], "verbs": ["get", "list"]}]


def test_the_owners_are_named_although_the_pod_was_detached(found: Surroundings) -> None:
    (replica_set,) = found.pod["metadata"]["ownerReferences"]
    owners = [(owner["kind"], owner["metadata"]["name"]) for owner in found.parts["owners"]]
    assert owners == [("ReplicaSet", replica_set["name"]), ("Deployment", "web")]


def test_the_account_is_there(found: Surroundings) -> None:
    kept, there = found.parts["serviceAccount"]["metadata"], found.at.get("serviceaccount", "web")["metadata"]
    assert (kept["name"], kept["uid"]) == ("web", there["uid"])


def test_bindings_by_name_are_kept_as_they_were_before_they_were_shrunk(found: Surroundings) -> None:
    web = {"kind": "ServiceAccount", "name": "web", "namespace": found.at.namespace}
    here, everywhere = found.right("RoleBinding", "web"), found.right("ClusterRoleBinding", found.at.namespace)
    assert here["before"] == {
        "subjects": [web],
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
    }
    assert everywhere["before"] == {
        "subjects": [web],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": found.at.namespace},
    }
    assert (here["rules"], everywhere["rules"]) == (rules("configmaps"), rules("nodes"))


def test_a_binding_of_the_accounts_group_is_kept_as_it_is(found: Surroundings) -> None:
    kept = found.right("RoleBinding", "everybody")
    group = f"system:serviceaccounts:{found.at.namespace}"
    assert [(each["kind"], each["name"]) for each in kept["subjects"]] == [("Group", group)]
    assert kept["rules"] == rules("endpoints")
    assert "before" not in kept


def test_bindings_of_others_are_no_part_of_it(found: Surroundings) -> None:
    assert "others" not in found.names("rights")


def test_services_and_policies_that_select_the_pod_are_there(found: Surroundings) -> None:
    (kept,) = found.parts["services"]
    assert (kept["metadata"]["name"], kept["spec"]["selector"]) == ("web", SELECTED)
    policies = {each["metadata"]["name"]: each["spec"] for each in found.parts["networkPolicies"]}
    assert policies["web-only"]["podSelector"] == {"matchLabels": SELECTED}
    uid = found.at.get("incident", "fallen")["metadata"]["uid"]
    assert set(policies) == {"web-only", f"firebreak-{uid}"}


def test_the_node_is_there_with_its_conditions(found: Surroundings) -> None:
    node = found.parts["node"]
    conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    assert (node["metadata"]["name"], conditions["Ready"]) == (found.pod["spec"]["nodeName"], "True")


def test_the_namespace_is_there(found: Surroundings) -> None:
    assert (
        found.parts["namespace"]["metadata"]["uid"] == found.at.get("namespace", found.at.namespace)["metadata"]["uid"]
    )


def test_the_events_are_those_of_the_pod(found: Surroundings) -> None:
    events = found.parts["events"]
    assert {event["involvedObject"]["uid"] for event in events} == {found.pod["metadata"]["uid"]}
    assert {event["reason"] for event in events} >= {"Scheduled", "Created", "Started"}


def test_secrets_are_named_with_their_way_into_the_pod_and_without_a_value(found: Surroundings) -> None:
    assert found.parts["secretsNamed"] == [
        "certificate (volume certificate)",
        "database (env PASSWORD of container app)",
    ]
    assert "swordfish" not in json.dumps(found.parts)
