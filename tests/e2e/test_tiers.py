"""Less than all rights: what Firebreak does without a tier, what it says, and how it goes on once it is granted."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.provider import ClusterInfo
from conftest import Kubectl
from incidents import IDLE, Object, Place, account, binding, container, place, pod, role
from installed import OVERLAY, restart, until_proven

pytestmark = pytest.mark.slow

MANIFESTS = Path(__file__).parents[2] / "manifests"
APPLY = ("apply", "--server-side", "--force-conflicts")


@pytest.fixture(scope="module")
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "tiers") as found:
        yield found


@pytest.fixture
def all_tiers_afterwards(firebreak: str, kubectl: Kubectl) -> Iterator[None]:
    """Firebreak as it was installed, once the test is over."""
    yield
    kubectl(*APPLY, "-k", str(OVERLAY))


@pytest.fixture
def contain_only(all_tiers_afterwards: None, firebreak: str, kubectl: Kubectl, tmp_path: Path) -> None:
    """Firebreak started anew with the overlay contain-only: with the image and the store of the overlay local."""
    local = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())
    assert local["resources"] == ["../standard"]
    overlay = os.path.relpath(MANIFESTS / "overlays" / "contain-only", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**local, "resources": [overlay]}))
    for tier in ("preserve", "eradicate"):
        kubectl("delete", "-k", str(MANIFESTS / "components" / f"tier-{tier}"), "--ignore-not-found")
    kubectl("delete", "configmap", "firebreak-enforcement", "-n", firebreak, "--ignore-not-found")
    kubectl(*APPLY, "-k", str(tmp_path))
    restart(kubectl)
    until_proven(kubectl)


def desk(where: Place, name: str) -> Object:
    """Build a pod whose account may read; returns the account as a subject."""
    clerk = {"kind": "ServiceAccount", "name": name, "namespace": where.namespace}
    where.apply(
        account(name),
        role("Role", name, "configmaps"),
        binding("RoleBinding", name, name, clerk),
        pod(name, container(IDLE), serviceAccountName=name),
    )
    where.ready(f"pod/{name}")
    return clerk


def grant(kubectl: Kubectl, words: str, tier: str) -> None:
    """Do what a condition's words say."""
    command = re.search(rf"kubectl (apply -k manifests/components/tier-{tier})(?=[ .;]|$)", words)
    assert command is not None, words
    kubectl(*command[1].replace("manifests/", f"{MANIFESTS}/").split())


def test_a_missing_tier_blocks_its_steps_until_it_is_granted_as_the_words_say(
    where: Place, all_tiers_afterwards: None, kubectl: Kubectl
) -> None:
    clerk = desk(where, "desk")
    kubectl("delete", "clusterrolebinding", "firebreak-eradicate")
    where.open("desk", "desk", playbook="unattended")
    words = where.condition("desk", "IdentityContained", "False/RightsMissing")
    where.condition("desk", "Contained", "True/Enforced")
    where.condition("desk", "EvidencePreserved", "True/Sealed", seconds=90)
    where.condition("desk", "Stalled", "True/StepStuck")
    assert where.status("desk").steps["revoke"].state == "Blocked"
    assert where.get("rolebinding", "desk")["subjects"] == [clerk]
    grant(kubectl, words, "eradicate")
    where.condition("desk", "IdentityContained", "True/Revoked", seconds=90)
    assert not where.get("rolebinding", "desk").get("subjects")


def test_without_a_guard_nothing_strong_is_done_until_it_is_there_again_as_the_words_say(
    where: Place, all_tiers_afterwards: None, firebreak: str, kubectl: Kubectl
) -> None:
    clerk = desk(where, "office")
    kubectl("delete", "validatingadmissionpolicybinding", "firebreak-eradicate-bindings")
    restart(kubectl)  # what was seen in force counts for minutes
    where.open("office", "office", playbook="unattended")
    where.condition("office", "Contained", "True/Enforced")
    where.condition("office", "EvidencePreserved", "True/Sealed", seconds=90)
    words = where.condition("office", "IdentityContained", "False/GuardMissing")
    where.condition("office", "Stalled", "True/GuardMissing")
    assert "firebreak-eradicate-bindings" in words
    assert where.get("rolebinding", "office")["subjects"] == [clerk]
    grant(kubectl, words, "eradicate")
    where.condition("office", "IdentityContained", "True/Revoked", seconds=90)
    assert not where.get("rolebinding", "office").get("subjects")


def test_with_contain_only_pods_are_cut_and_the_words_say_what_grants_the_rest(
    where: Place, contain_only: None, kubectl: Kubectl
) -> None:
    clerk = desk(where, "counter")
    where.open("counter", "counter", playbook="unattended")
    where.condition("counter", "Contained", "True/Enforced", seconds=15)
    evidence = where.condition("counter", "EvidencePreserved", "False/RightsMissing")
    identity = where.condition("counter", "IdentityContained", "False/RightsMissing")
    steps = where.status("counter").steps
    assert (steps["capture"].state, steps["revoke"].state) == ("Blocked", "Blocked")
    assert where.get("rolebinding", "counter")["subjects"] == [clerk]

    grant(kubectl, evidence, "preserve")
    where.condition("counter", "EvidencePreserved", "True/Sealed", seconds=90)
    assert where.evidence("counter").verified().ok
    where.condition("counter", "IdentityContained", "False/RightsMissing")
    grant(kubectl, identity, "eradicate")
    where.condition("counter", "IdentityContained", "True/Revoked", seconds=90)
    assert not where.get("rolebinding", "counter").get("subjects")
    where.condition("counter", "Contained", "True/Enforced")
