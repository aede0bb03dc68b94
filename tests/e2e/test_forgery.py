"""Marks of a quarantine, as somebody with `edit` and a few rights more would forge or rewrite them: all is refused.

No pod here ever gets a node, and none is held by an incident: the marks alone keep them.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from held import MORE, NOT_ANNOTATED, NOT_FORGED
from incidents import Object, Place, container, place, pod, workload
from people import Person, Registry
from thief import KEY, RECORD

NOWHERE = {"firebreak.test/node": "none"}
LIE = '{"app": "bank"}'
TRUE = '{"app": "till"}'


@pytest.fixture(scope="module")
def at(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A namespace with a pod `desk` and a pod `till`, which is under quarantine and detached."""
    with place(cluster, kubectl, "forgery") as found:
        found.apply(MORE, unscheduled("desk"), unscheduled("till", {KEY: "true", "quarantine": "true"}, {RECORD: TRUE}))
        yield found


@pytest.fixture(scope="module")
def editor(at: Place, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody with `edit` and more."""
    registry = Registry(at.cluster, at.kubectl, at.namespace, tmp_path_factory.mktemp("people"))
    found = registry.person("editor", "edit")
    account = f"--serviceaccount={at.namespace}:editor"
    at.kubectl("create", "rolebinding", "more", "--namespace", at.namespace, "--role=more", account)
    wait_until(partial(found.may, "create", "pods/binding"), timeout=10, otherwise="no right to more")
    wait_until(partial(found.may, "patch", "pods"), timeout=10, otherwise="no right to edit")
    return found


def unscheduled(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Object:
    """A pod that no node takes."""
    made = pod(name, container("true"), nodeSelector=NOWHERE)
    return {**made, **metadata(name, labels or {"app": name}, {"note": "x", **(annotations or {})})}


def metadata(name: str, labels: dict[str, str], annotations: dict[str, str]) -> Object:
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}}


def tried(who: Person, way: str, name: str, part: str, key: str, value: str) -> str:
    """The refusal of an attempt to give a pod one label or annotation."""
    body: Object = {"metadata": {part: {key: value}}}
    patch = ("patch", "pod", name, "--patch")
    match way:
        case "merge patch":
            return who.refused(*patch, json.dumps(body), "--type=merge")
        case "status":
            return who.refused(*patch, json.dumps(body), "--type=merge", "--subresource=status")
        case "JSON patch":
            add = {"op": "add", "path": f"/metadata/{part}/{key.replace('/', '~1')}", "value": value}
            return who.refused(*patch, json.dumps([add]), "--type=json")
        case "apply":
            whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, part: {key: value}}}
            command = ("apply", "--server-side", "--force-conflicts", "--filename", "-")
            return who.refused(*command, stdin=json.dumps(whole))
        case _:
            live: dict[str, Any] = json.loads(who("get", "pod", name, "--output", "json"))
            live["metadata"][part][key] = value
            del live["metadata"]["resourceVersion"]
            return who.refused("replace", "--filename", "-", stdin=json.dumps(live))


WAYS = ("merge patch", "status", "JSON patch", "apply", "replace")


@pytest.mark.parametrize("way", WAYS)
def test_the_record_of_a_quarantined_pods_labels_is_not_rewritten(editor: Person, way: str) -> None:
    assert NOT_ANNOTATED in tried(editor, way, "till", "annotations", RECORD, LIE)


def test_the_record_is_not_removed_either(editor: Person) -> None:
    assert NOT_ANNOTATED in editor.refused("annotate", "pod", "till", f"{RECORD}-")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("part", "key", "value"), [("annotations", RECORD, LIE), ("labels", KEY, "false")])
def test_a_mark_is_not_forged(editor: Person, way: str, part: str, key: str, value: str) -> None:
    assert NOT_FORGED in tried(editor, way, "desk", part, key, value)


@pytest.mark.parametrize("labels", [{}, {KEY: "true"}])
def test_a_pod_is_not_made_with_a_mark_whatever_it_is_called(editor: Person, labels: dict[str, str]) -> None:
    made = unscheduled("", labels, {} if labels else {RECORD: LIE})
    made["metadata"]["generateName"] = "made-"
    assert NOT_FORGED in editor.refused("create", "--filename", "-", stdin=json.dumps(made))


@pytest.mark.parametrize("name", ["desk", "till"])
@pytest.mark.parametrize(
    ("path", "mark"), [("pods/{}/binding", {"annotations": {RECORD: LIE}}), ("bindings", {"labels": {KEY: "false"}})]
)
def test_a_mark_does_not_come_with_a_node(editor: Person, name: str, path: str, mark: dict[str, Any]) -> None:
    """A Binding's labels and annotations go to the pod, over those that it has."""
    target = {"apiVersion": "v1", "kind": "Node", "name": "nowhere"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, **mark}, "target": target}
    raw = f"/api/v1/namespaces/{editor.namespace}/{path.format(name)}"
    assert NOT_FORGED in editor.refused("create", "--raw", raw, "--filename", "-", stdin=json.dumps(binding))


def test_a_mark_does_not_come_with_a_workload(editor: Person, at: Place) -> None:
    """The template may have it; the controller that makes the pod is refused, and its workload says so."""
    forged = workload("Deployment", "forged", container("true"), nodeSelector=NOWHERE)
    forged["spec"]["template"]["metadata"]["annotations"] = {RECORD: LIE}
    editor("create", "--filename", "-", stdin=json.dumps(forged))
    wait_until(
        lambda: NOT_FORGED in at.kubectl("get", "events", "--namespace", at.namespace),
        timeout=30,
        otherwise="the ReplicaSet did not say that it is refused",
    )
    assert at.get("pods", "--selector", "app=forged")["items"] == []


def test_after_all_these_tries_the_marks_are_what_they_were(at: Place) -> None:
    desk, till = (at.get("pod", name) for name in ("desk", "till"))
    assert desk["metadata"]["labels"] == {"app": "desk"}
    assert RECORD not in desk["metadata"]["annotations"]
    assert till["metadata"]["labels"] == {KEY: "true", "quarantine": "true"}
    assert till["metadata"]["annotations"][RECORD] == TRUE
    assert not {"nodeName"} & {*desk["spec"], *till["spec"]}
