"""What breaks under Firebreak on a real cluster, and what it does then: nothing is lost, and nothing is called done.

The last test takes the cluster's enforcement of network policies away for a while.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import control
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import IDLE, Place, container, place, pod
from killing import Leadership
from underway import EARLY, MIB, SLOW, in_the_middle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "resilience") as found:
        yield found


@pytest.fixture(scope="module")
def home(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Place:
    """Firebreak's own namespace."""
    return Place(cluster, kubectl, firebreak)


def test_the_next_leader_finishes_a_capture_in_which_the_first_was_killed(
    where: Place, home: Place, leadership: Leadership
) -> None:
    where.apply(pod("slow", container(SLOW)))
    where.ready("pod/slow")
    leader = leadership.leader()
    where.open("slow", "slow")
    early = in_the_middle(where, "slow")
    leadership.kill(leader)
    where.condition("slow", "EvidencePreserved", "True/Sealed", seconds=120)
    assert leadership.leader() != leader
    evidence = where.evidence("slow")
    sealed = [artifact.name.split("/", 2)[2] for artifact in evidence.manifest.artifacts]
    assert sorted(sealed) == sorted([*EARLY, "files/app.tar"])
    artifacts = evidence.artifacts()
    assert {name: artifacts[name] for name in EARLY} == early
    assert artifacts["files/app.tar"].bytes > 400 * MIB
    assert evidence.verified().ok
    acts = [json.loads(data)["what"] for key, data in evidence.objects().items() if "/custody/" in key]
    assert [act.split(" ")[0] for act in acts] == ["began", "resumed", "sealed"]
    home.ready("deployment/firebreak")


def cut(where: Place, name: str, seconds: int) -> None:
    """Open an incident about the pod of that name, and wait until its label is there, whoever put it there."""
    where.open(name, name)
    where.wait(f"pod/{name}", r"jsonpath={.metadata.labels.quarantine}=true", seconds=seconds)


def replicas(home: Place) -> set[tuple[str, bool, bool]]:
    """The pods of Firebreak: name, whether Ready, whether on the way out."""
    pods = home.get("pods", "--selector", "app.kubernetes.io/name=firebreak")["items"]
    return {(p["metadata"]["name"], is_ready(p), "deletionTimestamp" in p["metadata"]) for p in pods}


def is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def test_while_firebreak_is_rolled_pods_are_cut_as_ever(where: Place, home: Place, cut_playbook: str) -> None:
    """An incident at each change: a new replica comes, is ready, an old one is told to end, is gone."""
    names = [f"rolled-{number}" for number in range(12)]
    where.apply(*(pod(name, container(IDLE)) for name in names))
    where.ready(*(f"pod/{name}" for name in names))
    old = {name for name, _, _ in replicas(home)}
    home.kubectl("rollout", "restart", "deployment/firebreak", "--namespace", home.namespace)
    opened: list[str] = []
    seen: set[tuple[str, bool, bool]] = set()
    while len(seen) != len(old) or not all(ready and name not in old for name, ready, _ in seen):
        wait_until(lambda last=seen: replicas(home) != last, timeout=60, otherwise="the rollout does not go on")
        seen = replicas(home)
        if len(opened) < len(names):
            opened.append(names[len(opened)])
            cut(where, opened[-1], seconds=5)
    assert len(opened) >= 5, f"only {len(opened)} changes were seen"
    for name in opened:
        where.condition(name, "Contained", "True/Enforced", seconds=30)


def test_after_all_of_firebreak_was_killed_a_pod_is_cut_before_anybody_leads(
    where: Place, home: Place, leadership: Leadership
) -> None:
    """The Lease names a dead one for 15 s: who comes back contains as a follower."""
    where.apply(pod("orphan", container(IDLE)))
    where.ready("pod/orphan")
    for replica in leadership.replicas():
        leadership.kill(replica)
    cut(where, "orphan", seconds=30)
    where.condition("orphan", "Contained", "True/Enforced", seconds=60)
    home.ready("deployment/firebreak")


def test_while_the_store_is_away_pods_are_contained_and_their_evidence_follows(where: Place, breakable: None) -> None:
    """For a minute and more, an incident every 20 seconds: the last one opens when the minute is over."""
    later = {f"meanwhile-{seconds}": seconds for seconds in (0, 20, 40, 60)}
    where.apply(pod("big", container(SLOW)), *(pod(name, container(IDLE)) for name in later))
    where.ready("pod/big", *(f"pod/{name}" for name in later))
    where.open("interrupted", "big")
    in_the_middle(where, "interrupted")
    with control.stopped("versitygw"):
        stopped = time.monotonic()
        for name, seconds in later.items():
            wait_until(lambda end=stopped + seconds: time.monotonic() >= end, timeout=70, otherwise="time stands still")
            where.open(name, name)
            where.condition(name, "Contained", "True/Enforced", seconds=15)
        for name in later:
            words = where.condition(name, "EvidencePreserved", "False/StoreUnavailable")
            assert "tried again until it does" in words
        assert time.monotonic() - stopped > 60
    for name in (*later, "interrupted"):
        where.condition(name, "EvidencePreserved", "True/Sealed", seconds=150)
        assert where.evidence(name).verified().ok
        where.condition(name, "Ready", "True")
    assert where.evidence("interrupted").artifacts()["files/app.tar"].bytes > 400 * MIB


def test_where_policies_are_not_enforced_nothing_is_called_contained(
    where: Place, home: Place, breakable: None
) -> None:
    where.apply(pod("loose", container(IDLE)))
    where.ready("pod/loose")
    try:
        with control.stopped("enforcer"):
            outcome, words = enforcement(home)
            assert outcome == "FAILED"
            assert "after a deny-all policy was applied this still got through on node1" in words
            where.open("loose", "loose")
            words = where.condition("loose", "Contained", "False/NotEnforced")
            assert "this cluster does not enforce it" in words
            needs = where.condition("loose", "ActionRequired", "True/WaitingForPerson")
            assert "cut the pod off by other means" in needs
    finally:
        proof = enforcement(home)
    assert proof[0] == "ok"
    where.condition("loose", "Contained", "True/Enforced")


def enforcement(home: Place) -> tuple[str, str]:
    """Prove enforcement anew: what preflight says of it."""
    ran = home.firebreak("preflight", "-o", "json")
    (check,) = (c for c in json.loads(ran.out)["checks"] if c["name"] == "enforcement")
    return check["outcome"], check["detail"]
