"""`make demo`, as the README says: every claim holds, and `make demo-clean` leaves the cluster as it was."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Kubectl

ROOT = Path(__file__).parents[2]
NAMESPACES = ("demo-shop", "demo-attacker")
SECONDS = 300  # on a machine that has other things to do; alone it takes about a minute
BEYOND_NAMESPACES = (
    "clusterroles",
    "clusterrolebindings",
    "customresourcedefinitions",
    "nodes",
    "persistentvolumes",
    "playbooks",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a process of its own, as the targets of the Makefile do."""
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )


def cluster_wide(kubectl: Kubectl) -> list[str]:
    return sorted(kubectl("get", ",".join(BEYOND_NAMESPACES), "--output", "name").splitlines())


@contextmanager
def removed(kubectl: Kubectl) -> Iterator[None]:
    """Whatever comes of the block, the demo's namespaces go."""
    try:
        yield
    finally:
        kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--wait=false")


@pytest.mark.slow
def test_every_claim_of_the_demo_holds_and_nothing_of_it_stays(
    firebreak: str, kubectl: Kubectl, namespace: str
) -> None:
    """It installs Firebreak as these tests do, over what is there; its own namespaces are used by no other test.

    While this test has a namespace, `--clean` takes the cluster to be in use and leaves it standing.
    """
    installed = ["--installed"] if os.environ.get("FIREBREAK_E2E_INSTALLED") == "1" else []
    before = cluster_wide(kubectl)
    with removed(kubectl):
        told = demo(*installed)
        assert told.returncode == 0, told.stdout
        assert told.stdout.splitlines()[-1] == "All 21 claims were checked, and all are so."
        assert (told.stdout.count("\n  yes    "), told.stdout.count("\n  NOT SO ")) == (21, 0)
        cleaned = demo("--clean")
        assert cleaned.returncode == 0, cleaned.stdout
    assert kubectl("get", "namespaces", *NAMESPACES, "--ignore-not-found", "--output", "name") == ""
    assert cluster_wide(kubectl) == before
    kubectl("rollout", "status", "deployment/firebreak", "--namespace", firebreak, "--timeout=60s")
