"""Normal work makes no rule find anything above `low`: a real API server's log, recorded while the cluster works.

What the rules count over time, they count over all of it. Nothing is left out of the log but the set-up of this module:
that people get certificates and machines their rights is worth a finding.
"""

import io
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

import installed
from audited import AuditLog, until_now
from cluster import control
from cluster.provider import ClusterInfo
from conftest import Kubectl, log_of, own_namespace
from firebreak.cli.detecting import row
from firebreak.detect.decoding import Malformed
from firebreak.detect.evaluate import Detector
from firebreak.detect.finding import Level
from firebreak.detect.reading import read
from firebreak.detect.rules import Ruleset
from incidents import IDLE, Object, Place, account, binding, container, from_secret, place, role, secret, workload
from people import Person, Registry

QUIET = {Level.INFORMATIONAL, Level.LOW}
ROTATE = {"firebreak.dev/rotate": json.dumps({"password": {"length": 24, "alphabet": "hex"}})}
PARTS = ("kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
GITOPS, RECONCILER = "flux-system", "kustomize-controller"


@dataclass(frozen=True)
class Recording:
    """The rules at work on all that the API server writes from now on."""

    log: AuditLog
    detector: Detector
    kubectl: Kubectl

    def findings(self) -> list[str]:
        """What is found above `low` in all that was done since the last look."""
        lines = until_now(self.log, self.kubectl)
        told = []
        for event in read(io.BufferedReader(io.BytesIO(b"\n".join(lines)))):
            assert not isinstance(event, Malformed), event
            found = self.detector.feed(event, datetime.now(UTC))
            told += [json.dumps(row(each)) for each in found if each.level not in QUIET]
        return told


@dataclass(frozen=True)
class Team:
    """Who works here, and where."""

    alice: Person
    """May edit this namespace, by a certificate of her own."""
    reconciler: str
    """The image that the cluster's GitOps controller runs."""


@pytest.fixture(scope="module")
def team(
    cluster: ClusterInfo, kubectl: Kubectl, firebreak: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """People and machines with the rights that they have in many clusters."""
    of = ("deployment/firebreak", "--namespace", firebreak)
    image = kubectl("get", *of, "--output=jsonpath={.spec.template.spec.containers[0].image}")
    bound = ("clusterrolebinding", "cluster-reconciler")
    with own_namespace(kubectl, "quiet") as name:
        alice = Registry(cluster, kubectl, name, tmp_path_factory.mktemp("people")).certified("alice", "edit")
        kubectl("create", "namespace", GITOPS)
        try:
            kubectl("create", "serviceaccount", RECONCILER, "--namespace", GITOPS)
            kubectl("create", *bound, "--clusterrole=cluster-admin", f"--serviceaccount={GITOPS}:{RECONCILER}")
            yield Team(alice, image)
        finally:
            kubectl("delete", *bound, "--ignore-not-found")
            kubectl("delete", "namespace", GITOPS, "--ignore-not-found")


@pytest.fixture(scope="module")
def recording(cluster: ClusterInfo, kubectl: Kubectl, team: Team) -> Recording:
    """Everything from now on."""
    return Recording(log_of(cluster), Detector(Ruleset.load()), kubectl)


def test_an_installation_of_firebreak_is_quiet(recording: Recording, cluster: ClusterInfo, kubectl: Kubectl) -> None:
    if os.environ.get("FIREBREAK_E2E_INSTALLED") == "1":
        pytest.skip("Firebreak is to be taken as it is")
    installed.install(cluster, kubectl)
    assert recording.findings() == []


def test_a_rollout_its_undoing_and_a_scaling_are_quiet(recording: Recording, team: Team) -> None:
    alice = team.alice
    alice("create", "deployment", "web", "--image=busybox:1.35", "--replicas=2", "--", "sleep", "1d")
    alice("rollout", "status", "deployment/web", "--timeout=60s")
    alice("set", "env", "deployment/web", "VERSION=2")
    alice("rollout", "status", "deployment/web", "--timeout=60s")
    alice("rollout", "undo", "deployment/web")
    alice("rollout", "status", "deployment/web", "--timeout=60s")
    alice("scale", "deployment/web", "--replicas=4")
    alice("rollout", "status", "deployment/web", "--timeout=60s")
    alice("expose", "deployment/web", "--port=80")
    assert recording.findings() == []


def test_jobs_that_people_schedule_and_start_are_quiet(recording: Recording, team: Team) -> None:
    alice = team.alice
    alice("create", "cronjob", "nightly", "--schedule=* * * * *", "--image=busybox:1.35", "--", "true")
    alice("create", "job", "now", "--from=cronjob/nightly")
    alice("wait", "job/now", "--for=condition=Complete", "--timeout=60s")
    alice("delete", "cronjob/nightly")
    assert recording.findings() == []


def test_what_people_read_is_quiet(recording: Recording, team: Team, kubectl: Kubectl) -> None:
    alice = team.alice
    alice("logs", "deployment/web")
    alice("describe", "deployment/web")
    alice("get", "all,configmaps,secrets,events")
    kubectl("get", "secrets", "--namespace", alice.namespace)
    kubectl("get", "pods,deployments,nodes", "--all-namespaces")
    kubectl("auth", "can-i", "--list")
    assert recording.findings() == []


def test_a_release_with_helm_is_quiet(recording: Recording, team: Team) -> None:
    """The calls of `helm install` and `helm upgrade`: a Secret for each revision, found by its labels."""
    alice, released = team.alice, {"owner": "helm", "name": "web"}
    for revision in (1, 2, 3):
        alice("get", "secrets", "--selector=owner=helm,name=web")
        labels = {**released, "status": "deployed", "version": str(revision)}
        release = secret(f"sh.helm.release.v1.web.v{revision}", kind="helm.sh/release.v1", release="x")
        release["metadata"]["labels"] = labels
        alice("create", "--filename", "-", stdin=json.dumps(release))
        alice("set", "env", "deployment/web", f"REVISION={revision}")
        alice("rollout", "status", "deployment/web", "--timeout=60s")
        for older in range(1, revision):
            alice("label", "secret", f"sh.helm.release.v1.web.v{older}", "status=superseded", "--overwrite")
    assert recording.findings() == []


def test_namespaces_that_administrators_make_and_delete_are_quiet(recording: Recording, kubectl: Kubectl) -> None:
    with own_namespace(kubectl, "quiet") as name:
        at = ("--namespace", name)
        kubectl("create", "deployment", "web", "--image=busybox:1.35", "--replicas=3", *at, "--", "sleep", "1d")
        kubectl("create", "configmap", "settings", *at)
        kubectl("create", "secret", "generic", "password", *at)
        kubectl("rollout", "status", "deployment/web", *at, "--timeout=60s")
        kubectl("delete", "namespace", name)
    assert recording.findings() == []


def test_a_node_that_is_drained_and_opened_again_is_quiet(recording: Recording, team: Team, kubectl: Kubectl) -> None:
    node = team.alice("get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].spec.nodeName}")
    kubectl("drain", node, "--pod-selector=app=web", "--ignore-daemonsets", "--grace-period=1", "--timeout=60s")
    kubectl("uncordon", node)
    team.alice("rollout", "status", "deployment/web", "--timeout=60s")
    assert recording.findings() == []


@pytest.mark.usefixtures("breakable")
@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_the_cluster_that_starts_anew_is_quiet(
    recording: Recording, team: Team, kubectl: Kubectl, name: str
) -> None:
    with control.stopped(name):
        pass
    installed.until_execs_are_judged(kubectl)
    team.alice("rollout", "restart", "deployment/web")
    team.alice("rollout", "status", "deployment/web", "--timeout=60s")
    assert recording.findings() == []


def test_a_gitops_controller_that_applies_what_is_wanted_is_quiet(
    recording: Recording, team: Team, kubectl: Kubectl
) -> None:
    name, at = f"wanted-{secrets.token_hex(4)}", ("--namespace", GITOPS)
    kubectl("create", "--filename", "-", stdin=json.dumps(reconciling(team.reconciler, wanted(name))))
    try:
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", f"pod/{RECONCILER}-1", *at, ended, "--timeout=60s")
        assert recording.findings() == []
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def reconciling(image: str, objects: list[Object]) -> Object:
    """A pod that applies these objects, twice, as controllers of GitOps do."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    apply = 'for again in 1 2; do echo "$WANTED" | kubectl apply --server-side --filename - || exit 1; done'
    app = {
        "name": "manager",
        "image": image,
        "command": ["sh", "-c", apply],
        "env": [{"name": "WANTED", "value": text}],
    }
    spec = {"serviceAccountName": RECONCILER, "restartPolicy": "Never", "containers": [app]}
    metadata = {"name": f"{RECONCILER}-1", "namespace": GITOPS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def wanted(name: str) -> list[Object]:
    """What a team keeps in git: a namespace, and everything in it."""
    labels = {"app": "agent"}
    template: Object = {"metadata": {"labels": labels}, "spec": {"containers": [container(IDLE)]}}
    agent: Object = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}}
    agent["spec"] = {"selector": {"matchLabels": labels}, "template": template}
    job = {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}
    nightly: Object = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}}
    nightly["spec"] = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job}}
    here = [
        account("web"),
        role("Role", "reader", "configmaps"),
        binding("RoleBinding", "reader", "reader", {"kind": "ServiceAccount", "name": "web", "namespace": name}),
        secret("database", password="not so secret"),
        workload("Deployment", "web", container(IDLE)),
        agent,
        nightly,
    ]
    for each in here:
        each["metadata"]["namespace"] = name
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, *here]


def test_an_incident_of_firebreaks_own_is_quiet(recording: Recording, cluster: ClusterInfo, kubectl: Kubectl) -> None:
    with place(cluster, kubectl, "quiet") as at:
        (pod,) = attacked(at)
        at.open("suspect", pod, playbook="unattended")
        at.condition("suspect", "Contained", "True")
        at.condition("suspect", "IdentityContained", "True", seconds=90)
        at.condition("suspect", "SecretsRotated", "True", seconds=120)
        at.condition("suspect", "Recovered", "True", seconds=120)
        at.condition("suspect", "EvidencePreserved", "True", seconds=90)
        assert at.firebreak("release", "suspect", "--yes", "--verdict", "Exercise").code == 0
    assert recording.findings() == []


def test_the_recording_tells_what_is_no_normal_work(recording: Recording, team: Team) -> None:
    assert recording.findings() == []
    team.alice("exec", "deployment/web", "--", "true")
    (found,) = recording.findings()
    assert json.loads(found)["rule"] == "exec-into-pod"


def attacked(at: Place) -> list[str]:
    """The pod of a workload with an account, its rights, and a password."""
    web = {"kind": "ServiceAccount", "name": "web", "namespace": at.namespace}
    password = [from_secret("PASSWORD", "database", "password")]
    at.apply(
        account("web"),
        role("Role", "reader", "configmaps"),
        binding("RoleBinding", "reader", "reader", web),
        secret("database", ROTATE, password="of old"),
        workload("Deployment", "web", container(IDLE, env=password), serviceAccountName="web"),
    )
    at.ready("deployment/web")
    return [pod["metadata"]["name"] for pod in at.get("pods", "--selector=app=web")["items"]]
