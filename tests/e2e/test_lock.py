"""The quarantine lock on a real cluster: who tries to take a held pod away, to enter it or to free it, and is refused.

The tries are those of somebody with `edit` and a few rights more, and of the held pod's own account, with a token as
the pod itself has one. The pod is held without being detached: its Deployment still owns it.
"""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from held import (
    MORE,
    NOT_ANNOTATED,
    NOT_DELETED,
    NOT_ENTERED,
    NOT_FORGED,
    NOT_REBUILT,
    NOT_RELABELLED,
    NOT_REPORTED,
    NOT_UNLOCKED,
    STAY,
    Scene,
    hold,
)
from incidents import container, place
from people import Registry, eviction, sample_roles

pytestmark = pytest.mark.usefixtures("cut_playbook")


@pytest.fixture(scope="module")
def scene(
    firebreak: str, cut_playbook: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with sample_roles(kubectl), place(cluster, kubectl, "lock") as at:
        victim, sibling = hold(at, "shell")
        at.apply(MORE)
        registry = Registry(cluster, kubectl, at.namespace, tmp_path_factory.mktemp("people"))
        editor = registry.person("editor", "edit")
        where = ("--namespace", at.namespace)
        for name, role in (("editor", "--role=more"), ("web", "--role=more"), ("web", "--clusterrole=edit")):
            account = f"--serviceaccount={at.namespace}:{name}"
            kubectl("create", "rolebinding", f"{name}-{role.partition('=')[2]}", *where, role, account)
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={victim}")
        intruder = registry.bearer("web", kubectl("create", "token", "web", *where, *bound).strip())
        for person in (editor, intruder):
            wait_until(partial(person.may, "patch", "pods/resize"), timeout=10, otherwise="no right to more")
            wait_until(partial(person.may, "delete", "pods"), timeout=10, otherwise="no right to edit")
        node = at.get("pod", victim)["spec"]["nodeName"]
        uid = at.get("incident", "shell")["metadata"]["uid"]
        yield Scene(at, victim, sibling, node, uid, {"an editor": editor, "the pod itself": intruder})


def raw(method: str, path: str) -> tuple[str, ...]:
    return (method, "--raw", path)


PODS = "/api/v1/namespaces/NS/pods"
INCIDENTS = "/apis/firebreak.dev/v1alpha1/namespaces/NS/incidents"
MERGE = ("--type=merge", "--patch")
DEBUGGER = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox:1.35"}]}}
TRIES = {
    "delete": (("delete", "pod", "POD"), NOT_DELETED),
    "delete by force": (("delete", "pod", "POD", "--force", "--grace-period=0"), NOT_DELETED),
    "delete by label": (raw("delete", f"{PODS}?labelSelector=suspect%3Dtrue"), NOT_DELETED),
    "delete all": (raw("delete", PODS + "?fieldSelector=metadata.name%3DPOD"), NOT_DELETED),
    "exec": (("exec", "POD", "--", "id"), NOT_ENTERED),
    "attach": (("attach", "POD"), NOT_ENTERED),
    "forward a port": (("port-forward", "POD", ":8080"), NOT_ENTERED),
    "proxy": (raw("get", f"{PODS}/POD/proxy/"), NOT_ENTERED),
    "proxy to a port": (raw("get", f"{PODS}/POD:8080/proxy/"), NOT_ENTERED),
    "proxy by scheme": (raw("get", f"{PODS}/http:POD:8080/proxy/"), NOT_ENTERED),
    "take the key off": (("label", "pod", "POD", "quarantine.firebreak.dev/UID-"), NOT_RELABELLED),
    "take both labels off": (("label", "pod", "POD", "quarantine-", "quarantine.firebreak.dev/UID-"), NOT_RELABELLED),
    "another label": (("label", "pod", "POD", "app=other", "--overwrite"), NOT_RELABELLED),
    "labels by status": (
        ("patch", "pod", "POD", "--subresource=status", *MERGE, '{"metadata": {"labels": {"quarantine": null}}}'),
        NOT_RELABELLED,
    ),
    "let autoscalers evict": (("annotate", "pod", "POD", f"{STAY}=true", "--overwrite"), NOT_ANNOTATED),
    "forge original labels": (
        ("annotate", "pod", "POD", 'firebreak.dev/original-labels={"app": "bank"}'),
        "under quarantine",  # two policies refuse it, and one of them is quoted
    ),
    "call it ended": (
        ("patch", "pod", "POD", "--subresource=status", *MERGE, '{"status": {"phase": "Succeeded"}}'),
        NOT_REPORTED,
    ),
    "call it by another address": (
        ("patch", "pod", "POD", "--subresource=status", *MERGE, '{"status": {"podIP": "10.9.9.9", "podIPs": []}}'),
        NOT_REPORTED,
    ),
    "another image": (("set", "image", "pod/POD", "app=busybox:1.36"), NOT_REBUILT),
    "a deadline": (("patch", "pod", "POD", *MERGE, '{"spec": {"activeDeadlineSeconds": 1}}'), NOT_REBUILT),
    "debug": (
        ("patch", "pod", "POD", "--subresource=ephemeralcontainers", "--patch", json.dumps(DEBUGGER)),
        NOT_REBUILT,
    ),
    "delete the policy": (("delete", "networkpolicy", "firebreak-UID"), NOT_UNLOCKED),
    "delete all policies": (raw("delete", "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies"), NOT_UNLOCKED),
    "open the policy": (
        ("patch", "networkpolicy", "firebreak-UID", *MERGE, '{"spec": {"egress": [{}]}}'),
        NOT_UNLOCKED,
    ),
    "disown the policy": (("label", "networkpolicy", "firebreak-UID", "app.kubernetes.io/managed-by-"), NOT_UNLOCKED),
    "delete the incident": (("delete", "incident", "shell"), "holds pods under quarantine (POD): release them first:"),
    "delete all incidents": (raw("delete", INCIDENTS), "holds pods under quarantine (POD): release them first:"),
    "empty the record": (
        ("patch", "incident", "shell", "--subresource=status", *MERGE, '{"status": {"held": []}}'),
        "has a status that only Firebreak writes, and firebreak release (needs the verb release on incidents)",
    ),
}


@pytest.mark.parametrize("who", ["an editor", "the pod itself"])
@pytest.mark.parametrize("what", TRIES)
def test_a_held_pod_stays_as_it_is(scene: Scene, who: str, what: str) -> None:
    command, words = TRIES[what]
    refusal = scene.people[who].refused(*scene.fill(command, scene.victim))
    assert scene.fill((words,), scene.victim)[0] in refusal
    assert "firebreak: " in refusal


@pytest.mark.parametrize("who", ["an editor", "the pod itself"])
def test_a_held_pod_is_not_evicted(scene: Scene, who: str) -> None:
    path = f"/api/v1/namespaces/{scene.at.namespace}/pods/{scene.victim}/eviction"
    refusal = scene.people[who].refused("create", "--raw", path, "--filename", "-", stdin=eviction(scene.victim))
    assert f"firebreak: pod {scene.victim} in namespace {scene.at.namespace} {NOT_ENTERED}" in refusal


def test_after_all_these_tries_it_is_the_same_pod(scene: Scene) -> None:
    pod, status = scene.pod(scene.victim), scene.at.status("shell")
    assert list(status.pods) == [pod["metadata"]["uid"]]
    assert "deletionTimestamp" not in pod["metadata"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert status.held == [scene.victim]


def test_siblings_are_nobodys_business(scene: Scene) -> None:
    """The same tries, on the pod beside it; what would end it is asked as a dry run."""
    editor, name = scene.people["an editor"], scene.sibling
    assert "root" in editor("exec", name, "--", "id")
    editor("delete", "pod", name, "--dry-run=server")
    path = f"/api/v1/namespaces/{scene.at.namespace}/pods/{name}"
    editor("create", "--raw", f"{path}/eviction", "--filename", "-", stdin=eviction(name, dry_run=True))
    assert "root" in editor("get", "--raw", f"{path}:8080/proxy/etc/passwd")
    editor("label", "pod", name, "team=blue")
    editor("label", "pod", name, "quarantine=true", "--dry-run=server")
    editor("annotate", "pod", name, f"{STAY}=true")


def test_nobody_forges_a_quarantine(scene: Scene) -> None:
    editor, name = scene.people["an editor"], scene.sibling
    assert NOT_FORGED in editor.refused("label", "pod", name, f"quarantine.firebreak.dev/{scene.uid}=true")
    assert NOT_FORGED in editor.refused("annotate", "pod", name, "firebreak.dev/original-labels={}")
    marked = {"name": "marked", "labels": {f"quarantine.firebreak.dev/{scene.uid}": "true"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": marked, "spec": {"containers": [container("true")]}}
    assert NOT_FORGED in editor.refused("create", "--filename", "-", stdin=json.dumps(pod))
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "firebreak-00000000-0000-0000-0000-000000000000"},
        "spec": {"podSelector": {}},
    }
    assert NOT_UNLOCKED in editor.refused("create", "--filename", "-", stdin=json.dumps(policy))


def test_a_drain_leaves_a_held_pod_where_it_is(scene: Scene, kubectl: Kubectl) -> None:
    """kubectl's own drain, of this pod alone and as a dry run of the server: admission judges evictions as ever."""
    editor = scene.people["an editor"]
    name = f"drain-{scene.at.namespace}"
    kubectl("create", "clusterrole", name, "--verb=get,list,patch", "--resource=nodes,pods,daemonsets.apps")
    kubectl(
        "create",
        "clusterrolebinding",
        name,
        f"--clusterrole={name}",
        f"--serviceaccount={editor.user.removeprefix('system:serviceaccount:')}",
    )
    try:
        wait_until(lambda: editor.may("patch", "nodes"), timeout=10, otherwise="no right to patch nodes")
        drain = ("drain", scene.node, "--pod-selector=suspect=true", "--dry-run=server", "--force", "--timeout=20s")
        assert NOT_ENTERED in editor.refused(*drain)
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", name)


CONTROLLERS = ("replicaset", "daemon-set", "statefulset", "job", "node")  # the last one evicts by taints


def deletion_as(scene: Scene, user: str, *more: str) -> tuple[str, ...]:
    """What kubectl is told to try whether an account of the control plane may delete the held pod."""
    path = f"/api/v1/namespaces/{scene.at.namespace}/pods/{scene.victim}?dryRun=All"
    return ("delete", "--raw", path, f"--as={user}", *more)


KEPT_OUT = [
    *(f"system:serviceaccount:kube-system:{name}-controller" for name in CONTROLLERS),
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-scheduler",
]


@pytest.mark.parametrize("user", KEPT_OUT)
def test_no_controller_deletes_a_held_pod_nor_does_the_scheduler(scene: Scene, kubectl: Kubectl, user: str) -> None:
    with pytest.raises(ClusterError, match=NOT_DELETED):
        kubectl(*deletion_as(scene, user))


@pytest.mark.parametrize("name", ["namespace-controller", "pod-garbage-collector"])
def test_what_ends_namespaces_and_nodes_passes(scene: Scene, kubectl: Kubectl, name: str) -> None:
    kubectl(*deletion_as(scene, f"system:serviceaccount:kube-system:{name}"))


def test_a_node_ends_its_pods(scene: Scene, kubectl: Kubectl) -> None:
    kubectl(*deletion_as(scene, f"system:node:{scene.node}", "--as-group=system:nodes"))
    with pytest.raises(ClusterError, match="can only delete pods with"):
        kubectl(*deletion_as(scene, "system:node:another", "--as-group=system:nodes"))
