"""CRDs that are not of the Firebreak that runs: newer ones while it works, and ones that are older than it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.provider import ClusterInfo
from conftest import Kubectl
from incidents import IDLE, Place, container, place, pod
from underway import SLOW, in_the_middle

CRD = "customresourcedefinition/incidents.firebreak.dev"
FILE = Path(__file__).parents[2] / "crds" / "incidents.yaml"
STATUS = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties"


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "definitions") as found:
        try:
            yield found
        finally:
            ours(kubectl)


def ours(kubectl: Kubectl) -> None:
    """The CRD of this version."""
    kubectl("replace", "--filename", str(FILE))


def change(kubectl: Kubectl, **operation: object) -> None:
    kubectl("patch", CRD, "--type=json", "--patch", json.dumps([operation]))


def test_a_newer_definition_and_what_a_newer_replica_writes_disturb_nothing(where: Place) -> None:
    where.apply(pod("web", container(SLOW)))
    where.ready("pod/web")
    where.open("shell", "web")
    in_the_middle(where, "shell")
    change(where.kubectl, op="add", path=f"{STATUS}/later", value={"type": "string"})
    newer = json.dumps({"status": {"later": "written by a newer one"}})
    where.kubectl(
        "patch", "incident", "shell", "-n", where.namespace, "--subresource=status", "--type=merge", "--patch", newer
    )
    where.condition("shell", "EvidencePreserved", "True/Sealed", seconds=90)
    where.condition("shell", "Contained", "True/Enforced")
    assert where.get("incident", "shell")["status"]["later"] == "written by a newer one"


def test_where_the_definition_is_older_pods_are_cut_and_it_is_said_what_to_do(where: Place) -> None:
    where.apply(pod("web", container(IDLE)))
    where.ready("pod/web")
    change(where.kubectl, op="remove", path=f"{STATUS}/pods")
    where.open("shell", "web")
    words = where.condition("shell", "Stalled", "True/OutdatedCRD")
    assert "this cluster's CRDs are older than the Firebreak that runs" in words
    uid = where.get("incident", "shell")["metadata"]["uid"]
    assert f"quarantine.firebreak.dev/{uid}" in where.get("pod", "web")["metadata"]["labels"]
    assert where.get("networkpolicy", f"firebreak-{uid}")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert where.status("shell").condition("Contained") is None or where.status("shell").timings.contained_at is None
    ours(where.kubectl)
    where.condition("shell", "EvidencePreserved", "True/Sealed", seconds=90)
    where.condition("shell", "Contained", "True/Enforced")
    where.condition("shell", "Stalled", "False")
