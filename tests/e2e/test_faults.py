"""Programs that die under a response on a real cluster: the node's own, and those of the control plane."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from audited import REFUSED, AuditLog, code
from cluster import control
from cluster.provider import ClusterInfo
from conftest import Kubectl
from incidents import Place, account, binding, container, from_secret, place, pod, role, secret, workload
from underway import EARLY, MIB, SLOW, in_the_middle

pytestmark = pytest.mark.slow

RECIPE = {"firebreak.dev/rotate": json.dumps({"password": {"length": 24}})}
FIREBREAK = "system:serviceaccount:firebreak:firebreak"


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, breakable: None) -> Iterator[Place]:
    with place(cluster, kubectl, "faults") as found:
        yield found


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_copy_that_its_node_broke_off_is_made_again(where: Place, program: str) -> None:
    where.apply(pod("web", container(SLOW)))
    where.ready("pod/web")
    where.open("shell", "web")
    in_the_middle(where, "shell")
    control.kill(program)
    control.start(program)
    where.condition("shell", "EvidencePreserved", "True/Sealed", seconds=120)
    evidence = where.evidence("shell")
    assert evidence.verified().ok
    assert set(evidence.artifacts()) == {*EARLY, "files/app.tar"}
    assert evidence.artifacts()["files/app.tar"].bytes > 400 * MIB


@pytest.mark.parametrize("program", ["etcd", "kube-apiserver"])
def test_a_response_outlives_the_control_plane_and_does_nothing_twice(
    where: Place, log: AuditLog, program: str
) -> None:
    where.apply(
        account("web"),
        role("Role", "keys", "configmaps"),
        binding("RoleBinding", "keys", "keys", {"kind": "ServiceAccount", "name": "web"}),
        secret("database", RECIPE, password="swordfish"),
        workload(
            "Deployment",
            "web",
            container(SLOW, env=[from_secret("PASSWORD", "database", "password")]),
            serviceAccountName="web",
        ),
    )
    where.ready("deployment/web")
    (victim,) = (each["metadata"]["name"] for each in where.get("pods")["items"])
    where.open("shell", victim, playbook="unattended")
    in_the_middle(where, "shell")
    control.kill(program)
    control.start(program)
    for condition in ("EvidencePreserved", "IdentityContained", "SecretsRotated", "Recovered", "Contained", "Ready"):
        where.condition("shell", condition, "True", seconds=120)
    assert where.evidence("shell").artifacts()["files/app.tar"].bytes > 400 * MIB
    assert where.evidence("shell").verified().ok
    done = writes(log, where.namespace)
    assert {what: done[what] for what in ("secrets database", "deployments web", "rolebindings keys")} == {
        "secrets database": 1,
        "deployments web": 1,
        "rolebindings keys": 1,
    }


def writes(log: AuditLog, namespace: str) -> Counter[str]:
    """How often Firebreak wrote an object of a namespace, by resource and name."""
    found: Counter[str] = Counter()
    for event in log.seen(namespace, FIREBREAK):
        about = event.get("objectRef") or {}
        done = code(event) < REFUSED and "dryRun" not in event["requestURI"]
        if done and event["verb"] in {"create", "patch", "update", "delete"}:
            found[f"{about.get('resource')} {about.get('name')}"] += 1
    return found
