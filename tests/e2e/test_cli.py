"""The command line against a real API server: real tokens, a real ReplicaSet, real refusals.

Every incident here is closed from the start: an operator that happens to run has nothing to do with it, and its marks
are made by the very Changes that the operator sends.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.engine.execute import send
from firebreak.kube.client import Api
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps import quarantine

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: "busybox:1.35", imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}]
"""
SEALED = {
    "type": "EvidencePreserved",
    "status": "True",
    "reason": "Sealed",
    "message": "",
    "lastTransitionTime": "2026-01-05T10:00:00.000000Z",
}
ACCOUNT = {"kind": "ServiceAccount", "name": "web"}


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


def command(kubeconfig: Path, namespace: str) -> Cli:
    def run(*arguments: str) -> Ran:
        argv = [sys.executable, "-m", "firebreak", "--kubeconfig", str(kubeconfig), "-n", namespace, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def cli(cluster: ClusterInfo, kubectl: Kubectl, namespace: str) -> Cli:
    """The command as the administrator, with the CRDs that it prints itself."""
    run = command(cluster.kubeconfig, namespace)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=run("crds").out)
    kubectl("wait", "--for=condition=Established", "crd/incidents.firebreak.dev", "crd/playbooks.firebreak.dev")
    return run


@pytest.fixture
def stranger(cluster: ClusterInfo, kubectl: Kubectl, namespace: str, tmp_path: Path) -> Cli:
    """The command as an account that holds no right but to read incidents and to edit bindings."""
    kubectl("create", "serviceaccount", "stranger", "-n", namespace)
    role = ["--resource=incidents.firebreak.dev,rolebindings.rbac.authorization.k8s.io"]
    kubectl("create", "role", "stranger", "-n", namespace, "--verb=get,list,watch,patch", *role)
    kubectl(
        "create",
        "rolebinding",
        "stranger",
        "-n",
        namespace,
        "--role=stranger",
        f"--serviceaccount={namespace}:stranger",
    )
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = kubectl("create", "token", "stranger", "-n", namespace).strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return command(path, namespace)


def read(kubectl: Kubectl, namespace: str, *what: str) -> Any:
    return json.loads(kubectl("get", *what, "-n", namespace, "-o", "json"))


def closed(kubectl: Kubectl, namespace: str, name: str, status: dict[str, Any]) -> IncidentRef:
    """An incident that is closed, with a status as the operator would have left it."""
    incident = {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"target": {"pod": "web"}, "state": "Closed", "verdict": "Exercise"},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(incident))
    patch = json.dumps({"status": {"phase": "Closed", "observedGeneration": 1, **status}})
    kubectl("patch", "incident", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
    return IncidentRef(namespace, name, read(kubectl, namespace, "incident", name)["metadata"]["uid"])


def running(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """The one pod of the workload, once it runs."""

    def pods() -> list[dict[str, Any]]:
        found = read(kubectl, namespace, "pods", "-l", "app=web")["items"]
        return [pod for pod in found if pod["status"]["phase"] == "Running"]

    wait_until(lambda: len(pods()) == 1, timeout=60, otherwise="the workload did not come to one running pod")
    return pods()[0]


def quarantined(
    cluster: ClusterInfo, kubectl: Kubectl, namespace: str, *, detach: bool
) -> tuple[IncidentRef, dict[str, Any]]:
    """The closed incident `shell`, and the pod that it cut off: the only one of its ReplicaSet."""
    kubectl("create", "-n", namespace, "-f", "-", stdin=WORKLOAD)
    pod = running(kubectl, namespace)
    incident = closed(kubectl, namespace, "shell", {})
    cut(cluster, incident, pod, detach=detach)
    return incident, pod


def cut(cluster: ClusterInfo, incident: IncidentRef, pod: dict[str, Any], *, detach: bool) -> None:
    """Quarantine a pod with the operator's own Changes."""

    async def send_all() -> None:
        async with await Api.connect(str(cluster.kubeconfig)) as api:
            target = Ref("Pod", pod["metadata"]["name"], incident.namespace)
            for change in quarantine.first_cut(incident, target):
                await send(api, change)
            if detach:
                await send(api, quarantine.strip(Pod(await api.get(target)), incident))

    asyncio.run(send_all())


def test_an_incident_is_opened_as_the_api_server_wants_it(cli: Cli, kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=WORKLOAD)
    name = running(kubectl, namespace)["metadata"]["name"]
    ran = cli("contain", f"pod/{name}", "--reason", "a drill", "--mode", "Plan", "--name", "drill", "--no-wait")
    assert (ran.code, ran.out) == (0, "incident drill opened\n")
    assert read(kubectl, namespace, "incident", "drill")["spec"]["target"] == {"pod": name}
    shown = cli("status").out.splitlines()[0].split()
    assert shown == kubectl("get", "incidents", "-n", namespace).splitlines()[0].split()
    again = cli("contain", f"pod/{name}", "--reason", "a drill", "--mode", "Plan", "--name", "drill", "--no-wait")
    assert again.code == 1
    assert "next:  choose another name with --name" in again.err


def test_a_replicaset_takes_a_released_pod_back_and_drops_the_surplus(
    cli: Cli, cluster: ClusterInfo, kubectl: Kubectl, namespace: str
) -> None:
    incident, pod = quarantined(cluster, kubectl, namespace, detach=True)
    fresh = running(kubectl, namespace)
    assert fresh["metadata"]["uid"] != pod["metadata"]["uid"]
    assert f"Quarantine: {pod['metadata']['name']} under policy {incident.policy}" in cli("status", "shell").out
    ran = cli("release", "shell", "--yes", "-o", "json")
    assert (ran.code, ran.err.count("its ReplicaSet may adopt it and delete a surplus pod")) == (0, 1)
    assert [change["result"] for change in json.loads(ran.out)["changes"]] == ["Done", "Done"]
    assert read(kubectl, namespace, "networkpolicies")["items"] == []
    running(kubectl, namespace)
    left = read(kubectl, namespace, "pods")["items"]
    assert all(not key.startswith("quarantine") for item in left for key in item["metadata"]["labels"])
    assert "Quarantine: none in place" in cli("status", "shell").out
    assert cli("release", "shell").out == f"nothing of {namespace}/shell is left to release\n"


def test_of_two_incidents_on_one_pod_only_the_released_one_goes(
    cli: Cli, cluster: ClusterInfo, kubectl: Kubectl, namespace: str
) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=WORKLOAD)
    pod = running(kubectl, namespace)
    first, second = (closed(kubectl, namespace, name, {}) for name in ("first", "second"))
    for incident in (first, second):
        cut(cluster, incident, pod, detach=False)
    assert cli("release", "first", "--yes").code == 0
    labels = read(kubectl, namespace, "pod", pod["metadata"]["name"])["metadata"]["labels"]
    assert (first.label in labels, second.label in labels, labels["quarantine"]) == (False, True, "true")
    assert [p["metadata"]["name"] for p in read(kubectl, namespace, "networkpolicies")["items"]] == [second.policy]


def test_a_quarantine_outlives_its_incident_is_named_and_released(
    cli: Cli, cluster: ClusterInfo, kubectl: Kubectl, namespace: str
) -> None:
    incident, _ = quarantined(cluster, kubectl, namespace, detach=False)
    kubectl("delete", "incident", "shell", "-n", namespace)
    shown = cli("status", "-o", "json")
    (orphan,) = json.loads(shown.out)["orphans"]
    assert orphan["release"] == f"firebreak release shell -n {namespace} --uid {incident.uid}"
    assert cli("release", "shell", "--uid", incident.uid, "--yes").code == 0
    assert json.loads(cli("status", "-o", "json").out)["orphans"] == []


def test_rights_are_given_back_by_who_holds_them_only(
    cli: Cli, stranger: Cli, kubectl: Kubectl, namespace: str
) -> None:
    account = {**ACCOUNT, "namespace": namespace}
    kubectl("create", "rolebinding", "web", "-n", namespace, "--clusterrole=edit", "--user=late")
    name = f"RoleBinding {namespace}/web"
    change = {"object": name, "verb": "patch", "why": "w", "state": "Done", "before": {"subjects": [account]}}
    step = {"state": "Done", "changes": {f"patch {name}": change}}
    closed(kubectl, namespace, "shell", {"pods": {"u": {"name": "web", "account": "web"}}, "steps": {"revoke": step}})
    refused = stranger("release", "shell", "--rights", "--no-network", "--yes")
    assert refused.code == 1
    assert "you may not give back what you do not hold yourself; ask somebody who does." in refused.err
    assert cli("release", "shell", "--rights", "--no-network", "--yes").code == 0
    late = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "late"}
    assert read(kubectl, namespace, "rolebinding", "web")["subjects"] == [late, account]


def test_a_missing_right_is_told_apart_from_a_failure(stranger: Cli, cli: Cli) -> None:
    assert cli("status").code == 0
    assert stranger("status", "-A").code == 4
    ran = stranger("contain", "serviceaccount/default", "--reason", "r", "--no-wait")
    assert ran.code == 4
    assert 'User "system:serviceaccount:' in ran.err
    assert "next:  ask a cluster administrator for this right, or use a context that has it" in ran.err


def test_pods_of_a_closed_incident_are_deleted_when_a_person_says_so(
    cli: Cli, cluster: ClusterInfo, kubectl: Kubectl, namespace: str
) -> None:
    _, pod = quarantined(cluster, kubectl, namespace, detach=True)
    refused = cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes")
    assert (refused.code, "is not preserved (it was never observed)" in refused.err) == (1, True)
    patch = json.dumps({"status": {"conditions": [SEALED]}})
    kubectl("patch", "incident", "shell", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
    assert cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes").code == 0
    kubectl("wait", "--for=delete", f"pod/{pod['metadata']['name']}", "-n", namespace, "--timeout=30s")
    running(kubectl, namespace)


def test_preflight_says_that_the_crds_are_those_of_this_version(cli: Cli) -> None:
    checks = {c["name"]: c for c in json.loads(cli("preflight", "--no-probe", "-o", "json").out)["checks"]}
    for name in ("api server", "clock", "crd incidents.firebreak.dev", "crd playbooks.firebreak.dev"):
        assert checks[name]["outcome"] == "ok", checks[name]
