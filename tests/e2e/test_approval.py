"""Approval on a real cluster, with real tokens: who says yes in whose name, to which plan, and what comes of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import installed
from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import IDLE, Place, account, binding, container, place, role, workload
from people import Person, Registry, sample_roles

OPERATOR = "system:serviceaccount:firebreak:firebreak"
SOON = 15  # seconds: half of what the operator takes to look again by itself


@pytest.fixture(scope="module")
def shop(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A Deployment whose account may read config maps, and the roles for people."""
    with sample_roles(kubectl), place(cluster, kubectl, "approval") as found:
        found.apply(
            account("web"),
            role("Role", "reader", "configmaps"),
            binding("RoleBinding", "web-reader", "reader", web(found)),
            workload("Deployment", "web", container(IDLE), serviceAccountName="web"),
        )
        found.ready("deployment/web")
        try:
            yield found
        finally:
            kubectl("delete", "playbook", found.namespace, "--ignore-not-found")


@pytest.fixture(scope="module")
def people(
    shop: Place, cluster: ClusterInfo, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Person, Person]:
    """Ann opens and may approve as well; Ben approves."""
    registry = Registry(cluster, kubectl, shop.namespace, tmp_path_factory.mktemp("people"))
    ann = registry.person("ann", "firebreak-responder", "firebreak-approver")
    use = {"apiGroups": ["firebreak.dev"], "resources": ["playbooks"], "resourceNames": [shop.namespace]}
    may_use = role("Role", "use", "playbooks") | {"rules": [{**use, "verbs": ["use"]}]}
    subject = {"kind": "ServiceAccount", "name": "ann", "namespace": shop.namespace}
    shop.apply(may_use, binding("RoleBinding", "use", "use", subject))
    return ann, registry.person("ben", "firebreak-approver")


def web(at: Place) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": "web", "namespace": at.namespace}


def subjects(at: Place, name: str = "web-reader") -> list[Any]:
    found: list[Any] = at.get("rolebinding", name).get("subjects", [])
    return found


def fresh_pod(at: Place) -> str:
    at.ready("deployment/web")
    items = at.get("pods", "--selector=app=web")["items"]
    return str(next(p["metadata"]["name"] for p in items if "deletionTimestamp" not in p["metadata"]))


def approval(at: Place, digest: str, approver: str, about: str) -> str:
    spec = {"incident": about, "step": "revoke", "digest": digest, "approver": approver}
    head = {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Approval", "metadata": {"generateName": "by-hand-"}}
    return json.dumps({**head, "spec": spec})


def message(at: Place, incident: str) -> str:
    return at.status(incident).steps["revoke"].message


def says(at: Place, incident: str, words: str) -> None:
    """Wait until the step says so."""
    wait_until(lambda: words in message(at, incident), timeout=SOON, otherwise=f"not said: {words}")


def test_another_person_s_yes_lets_the_plan_go_on_at_once(shop: Place, people: tuple[Person, Person]) -> None:
    ann, ben = people
    spec = {"approval": "Always", "approvers": {"notOpener": True}, "steps": [{"quarantine": {}}, {"revoke": {}}]}
    head = {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Playbook", "metadata": {"name": shop.namespace}}
    shop.apply({**head, "spec": spec})
    pod = f"pod/{fresh_pod(shop)}"
    ann.firebreak("contain", pod, "--reason", "test", "--name", "mine", "--playbook", shop.namespace, "--no-wait")
    shop.condition("mine", "IdentityContained", "False/AwaitingApproval")
    needs = shop.condition("mine", "ActionRequired", "True/WaitingForPerson")
    assert f"firebreak approve mine revoke -n {shop.namespace}" in needs
    digest = shop.status("mine").steps["revoke"].digest
    assert digest is not None
    forged = ann.refused("create", "--filename", "-", stdin=approval(shop, digest, ben.user, "mine"))
    assert f"firebreak: spec.approver has to be who asks, {ann.user}; nobody approves for somebody else" in forged
    ann.firebreak("approve", "mine", "revoke", "--yes")
    says(shop, "mine", f"the approval of {ann.user}, who opened the incident, does not count")
    assert subjects(shop) == [web(shop)]
    ben.firebreak("approve", "mine", "revoke", "--yes", "--digest", digest)
    shop.condition("mine", "IdentityContained", "True/Revoked", seconds=SOON)
    assert subjects(shop) == []
    assert shop.status("mine").steps["revoke"].approved_by == [ben.user]


def test_nobody_changes_an_approval_and_the_operator_writes_none(
    shop: Place, people: tuple[Person, Person], kubectl: Kubectl
) -> None:
    (first, *_) = shop.get("approvals", "--field-selector=spec.incident=mine")["items"]
    name, where = first["metadata"]["name"], ("--namespace", shop.namespace)
    with pytest.raises(ClusterError, match="an Approval cannot be changed; delete it and write another"):
        kubectl("patch", "approval", name, *where, "--type=merge", "--patch", '{"spec":{"step":"rotate"}}')
    as_operator = (f"--as={OPERATOR}", "--as-group=system:masters")
    refused = "firebreak: Firebreak's account opens and closes no incident, approves nothing and writes no playbook"
    with pytest.raises(ClusterError, match=refused):
        kubectl("delete", "approval", name, *where, *as_operator)
    body = approval(shop, first["spec"]["digest"], OPERATOR, "mine")
    with pytest.raises(ClusterError, match=refused):
        kubectl("create", "--filename", "-", *where, *as_operator, stdin=body)
    _, ben = people
    assert not ben.may("delete", "approvals.firebreak.dev")


def test_a_plan_that_changed_since_waits_again_and_says_what_differs(
    shop: Place, people: tuple[Person, Person]
) -> None:
    ann, ben = people
    shop.apply(binding("RoleBinding", "again", "reader", web(shop)))
    ann.firebreak("contain", f"pod/{fresh_pod(shop)}", "--reason", "test", "--name", "moved", "--no-wait")
    shop.condition("moved", "IdentityContained", "False/AwaitingApproval")
    digest = shop.status("moved").steps["revoke"].digest
    assert digest is not None
    shop.apply(binding("RoleBinding", "late", "reader", web(shop)))
    ben("create", "--filename", "-", stdin=approval(shop, digest, ben.user, "moved"))
    late = f"new: patch RoleBinding {shop.namespace}/late ({shop.namespace}/web)"
    says(shop, "moved", f"the approval of {ben.user} is for another plan ({late})")
    assert subjects(shop, "again") == [web(shop)]
    ben.firebreak("approve", "moved", "revoke", "--yes")
    shop.condition("moved", "IdentityContained", "True/Revoked", seconds=SOON)
    assert (subjects(shop, "again"), subjects(shop, "late")) == ([], [])


def test_a_plan_other_than_the_one_that_was_shown_stops_though_the_cut_does_not(
    shop: Place, people: tuple[Person, Person], kubectl: Kubectl
) -> None:
    _, ben = people
    where = ("--namespace", shop.namespace)
    closed = '{"spec":{"state":"Closed","verdict":"Exercise"}}'
    for earlier in ("mine", "moved"):  # else they would take away again what they have approval for
        kubectl("patch", "incident", earlier, *where, "--type=merge", "--patch", closed)
        shop.wait(f"incident/{earlier}", "jsonpath={.status.phase}=Closed")
    shop.apply(binding("RoleBinding", "again", "reader", web(shop)))
    shop.open("shown", fresh_pod(shop), mode="Plan", playbook="unattended")
    shop.wait("incident/shown", "jsonpath={.status.phase}=Planned")
    assert subjects(shop, "again") == [web(shop)]
    with installed.standing_still(kubectl):  # else the plan that is shown would follow the world at once
        shop.apply(binding("RoleBinding", "late", "reader", web(shop)))
        kubectl("patch", "incident", "shown", *where, "--type=merge", "--patch", '{"spec":{"mode":"Respond"}}')
    shop.condition("shown", "Contained", "True")
    shop.condition("shown", "IdentityContained", "False/AwaitingApproval")
    late = f"new: patch RoleBinding {shop.namespace}/late ({shop.namespace}/web)"
    assert f"this is not the plan that mode Plan showed ({late})" in message(shop, "shown")
    assert subjects(shop, "again") == [web(shop)]
    ben.firebreak("approve", "shown", "revoke", "--yes")
    shop.condition("shown", "IdentityContained", "True/Revoked", seconds=SOON)
