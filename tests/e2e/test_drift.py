"""What somebody undoes on a real cluster: seen by watches within seconds, done again or reported, its author named."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import RBAC, Place, container, place, pod
from shop_objects import ALLOW_ALL, CUT

SOON = 5.0  # seconds
READY = "touch /ready; exec sleep 1000000"
REPORTING, REVOKING = "reporting", "revoking"


def playbook(name: str, *steps: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A playbook that asks nobody."""
    kind = {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Playbook", "metadata": {"name": name}}
    return {**kind, "spec": {"approval": "Never", "steps": [{"quarantine": {}}, *steps], **spec}}


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, cut_playbook: str) -> Iterator[Place]:
    """A namespace with a pod that runs as an account with rights, and the playbooks of these tests."""
    quick = {"capture": {"paths": []}}
    books = [playbook(REPORTING, quick, drift="Report"), playbook(REVOKING, quick, {"revoke": {}})]
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": books}))
    with place(cluster, kubectl, "drift") as found:
        found.apply(*rights(), pod("web", container(READY), serviceAccountName="web"))
        found.ready("pod/web")
        yield found
    kubectl("delete", "playbook", REPORTING, REVOKING, "--ignore-not-found")


def rights() -> list[dict[str, Any]]:
    reads = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    role = {"apiGroup": RBAC, "kind": "Role", "name": "web"}
    subjects = [{"kind": "ServiceAccount", "name": "web"}]  # of the binding's own namespace, the API server takes it
    metadata = {"name": "web"}
    version = f"{RBAC}/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": reads},
        {"apiVersion": version, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects},
    ]


def soon(holds: Callable[[], bool], words: str) -> float:
    """Wait until it holds; return after how many seconds."""
    began = time.monotonic()
    wait_until(holds, timeout=SOON, otherwise=words)
    return time.monotonic() - began


def told(where: Place, words: str) -> bool:
    """Whether an Event of the incident has these words."""
    events = where.get("events", "--field-selector", "involvedObject.kind=Incident,reason=Undone")["items"]
    return any(words in event["message"] for event in events)


def key(where: Place) -> str:
    return f"quarantine.firebreak.dev/{where.get('incident', 'shell')['metadata']['uid']}"


def labelled(where: Place) -> bool:
    return key(where) in where.get("pod", "web")["metadata"]["labels"]


def test_a_label_that_is_taken_off_is_back_at_once_and_an_event_says_so(where: Place) -> None:
    where.open("shell", "web", playbook=CUT)
    where.condition("shell", "Contained", "True")
    label = key(where)
    waits = []
    for _ in range(3):  # the resync of this installation comes every 5 seconds: it is not that
        where.kubectl("label", "-n", where.namespace, "pod", "web", f"{label}-")
        waits.append(soon(lambda: labelled(where), "the label did not come back"))
    assert max(waits) < 2, waits
    soon(lambda: told(where, f"label {label} of pod web was taken off"), "nobody was told")
    where.condition("shell", "Contained", "True", seconds=5)


def test_a_policy_that_is_deleted_is_back_at_once(where: Place) -> None:
    where.open("shell", "web", playbook=CUT)
    where.condition("shell", "Contained", "True")
    name = f"firebreak-{where.get('incident', 'shell')['metadata']['uid']}"
    where.kubectl("delete", "-n", where.namespace, "networkpolicy", name)
    there = ("get", "-n", where.namespace, "networkpolicy", "--output", "name")
    soon(lambda: name in where.kubectl(*there), "the policy did not come back")
    soon(lambda: told(where, f"policy {name} was deleted"), "nobody was told")
    where.kubectl("patch", "-n", where.namespace, "networkpolicy", name, "--type=merge", "--patch", OPENED)
    soon(lambda: told(where, f"policy {name} was changed by kubectl-patch"), "the editor was not named")
    soon(lambda: "egress" not in where.get("networkpolicy", name)["spec"], "the policy was not put right")


OPENED = json.dumps({"spec": {"egress": [{}]}})


def test_a_policy_that_allows_is_named_with_its_author_within_seconds_and_so_is_its_end(where: Place) -> None:
    where.open("shell", "web", playbook=CUT)
    where.condition("shell", "Contained", "True")
    where.apply(ALLOW_ALL)
    words = where.condition("shell", "Contained", "False/AllowedByOtherPolicies", seconds=5)
    assert words.endswith("allow-all (written by kubectl-client-side-apply)")
    where.kubectl("delete", "-n", where.namespace, "networkpolicy", "allow-all")
    where.condition("shell", "Contained", "True/Enforced", seconds=5)


def test_a_right_that_is_put_back_is_taken_away_within_seconds_and_who_did_it_is_named(where: Place) -> None:
    where.open("shell", "web", playbook=REVOKING)
    where.condition("shell", "IdentityContained", "True")
    where.condition("shell", "Ready", "True")
    assert not where.get("rolebinding", "web").get("subjects")
    back = json.dumps({"subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": where.namespace}]})
    manager = "--field-manager=argocd-controller"
    where.kubectl("patch", "-n", where.namespace, "rolebinding", "web", "--type=merge", manager, "--patch", back)
    soon(lambda: not where.get("rolebinding", "web").get("subjects"), "the right was not taken away again")
    soon(lambda: told(where, "into which argocd-controller had put it back"), "its manager was not named")
    where.condition("shell", "IdentityContained", "True", seconds=20)


def test_where_the_playbook_reports_only_nothing_is_done_again(where: Place) -> None:
    where.open("shell", "web", playbook=REPORTING)
    where.condition("shell", "Contained", "True")
    label = key(where)
    where.kubectl("label", "-n", where.namespace, "pod", "web", f"{label}-")
    words = where.condition("shell", "Contained", "False/Undone", seconds=5)
    assert f"label {label} of pod web was taken off" in words
    assert "do again what was undone" in where.status("shell").message
    assert not labelled(where)
    assert where.condition("shell", "Ready", "True", seconds=5)
