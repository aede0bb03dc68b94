"""The quarantine lock over time: workloads that want their pod back, a release, a deleted Incident."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from audited import AuditLog, code
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from held import NOT_DELETED, NOT_ENTERED, NOT_RELABELLED, hold
from incidents import Place, place
from people import Registry, sample_roles

pytestmark = pytest.mark.usefixtures("cut_playbook")


def test_the_policies_are_sound_to_the_server_that_checks_their_types(firebreak: str, kubectl: Kubectl) -> None:
    def checked() -> dict[str, dict[str, Any]]:
        found = json.loads(kubectl("get", "validatingadmissionpolicies", "--output", "json"))["items"]
        ours = [item for item in found if item["metadata"]["name"].startswith("firebreak-")]
        return {item["metadata"]["name"]: item.get("status", {}) for item in ours}

    wait_until(
        lambda: all("typeChecking" in status for status in checked().values()), timeout=30, otherwise="unchecked"
    )
    assert checked().keys() >= {"firebreak-quarantine-lock", "firebreak-quarantine-marks", "firebreak-creators"}
    assert {name: status["typeChecking"] for name, status in checked().items() if status["typeChecking"]} == {}


def test_a_workload_lets_go_of_everything_but_the_held_pod(
    firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path: Path
) -> None:
    """Rollout, scale to zero and deletion by who may edit; then the namespace goes, held pod and all."""
    log = AuditLog(cluster.audit_log) if cluster.audit_log else None
    with place(cluster, kubectl, "lock-owner") as at:
        victim, sibling = hold(at, "shell")
        uid = at.get("pod", victim)["metadata"]["uid"]
        owner = at.get("pod", victim)["metadata"]["ownerReferences"][0]["name"]
        editor = Registry(cluster, kubectl, at.namespace, tmp_path).person("owner", "edit")
        editor("rollout", "restart", "deployment/web")
        at.wait(f"pod/{sibling}", "delete")
        editor("scale", "deployment/web", "--replicas=0")
        wait_until(lambda: running(at) == {victim: uid}, timeout=60, otherwise=lambda: f"still there: {running(at)}")
        events = lambda: kubectl("get", "events", "--namespace", at.namespace)  # noqa: E731
        wait_until(
            lambda: NOT_DELETED in events(), timeout=30, otherwise="the ReplicaSet did not say that it is refused"
        )
        editor("delete", "deployment", "web", "--wait=false")
        at.wait(f"replicaset/{owner}", "delete")
        if log:
            collector = "system:serviceaccount:kube-system:generic-garbage-collector"
            wait_until(lambda: refused_in(log, victim, collector), timeout=60, otherwise="no collector tried")
        assert running(at) == {victim: uid}
        kubectl("delete", "namespace", at.namespace, "--timeout=60s")


def running(at: Place) -> dict[str, str]:
    """The pods that are not on their way out: name and uid."""
    found = [pod["metadata"] for pod in at.get("pods")["items"]]
    return {metadata["name"]: metadata["uid"] for metadata in found if "deletionTimestamp" not in metadata}


def refused_in(log: AuditLog, pod: str, user: str) -> bool:
    """Whether the audit log has this user refused the deletion of a pod."""
    return any(event["verb"] == "delete" and code(event) == HTTPStatus.FORBIDDEN for event in log.seen(pod, user))


def test_who_may_release_passes_and_after_it_the_pod_is_like_any_other(
    firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path: Path
) -> None:
    with sample_roles(kubectl), place(cluster, kubectl, "lock-release") as at:
        victim, _ = hold(at, "shell")
        registry = Registry(cluster, kubectl, at.namespace, tmp_path)
        releaser, editor = registry.person("releaser", "firebreak-releaser"), registry.person("any", "edit")
        releaser("delete", "pod", victim, "--dry-run=server")
        assert NOT_ENTERED in editor.refused("exec", victim, "--", "id")
        releaser.firebreak("release", "shell", "--verdict", "Exercise", "--yes")
        assert (at.status("shell").held, at.get("networkpolicies")["items"]) == ([], [])
        assert "root" in editor("exec", victim, "--", "id")
        editor("delete", "pod", victim)
        releaser("delete", "incident", "shell")


def test_a_pod_stays_locked_when_its_incident_is_closed_and_is_kept_when_it_is_deleted(
    firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path: Path
) -> None:
    """Once the Incident is gone only the pod's labels tell: deleting and changing are refused, entering is not."""
    with place(cluster, kubectl, "lock-orphan") as at:
        victim, _ = hold(at, "shell")
        editor = Registry(cluster, kubectl, at.namespace, tmp_path).person("someone", "edit")
        assert at.firebreak("close", "shell", "--verdict", "Exercise").code == 0
        assert at.status("shell").held == [victim]
        assert NOT_ENTERED in editor.refused("exec", victim, "--", "id")
        kubectl("delete", "incident", "shell", "--namespace", at.namespace)
        assert NOT_DELETED in editor.refused("delete", "pod", victim)
        assert NOT_RELABELLED in editor.refused("label", "pod", victim, "quarantine-")
