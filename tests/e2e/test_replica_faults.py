"""Replicas of Firebreak that die or lose their network while incidents come: the other one goes on."""

import json
import os
import random
import secrets
from collections.abc import Iterator

import pytest

from audited import AuditLog
from cluster import control
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import IDLE, Place, container, place, pod
from killing import Leadership
from scraping import PORT, scrape
from stamps import GENEROUS, slowest

pytestmark = pytest.mark.slow

INCIDENTS = 8  # of one test


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "replicas") as found:
        names = [f"web-{number}" for number in range(INCIDENTS)]
        found.apply(*(pod(name, container(IDLE)) for name in names))
        found.ready(*(f"pod/{name}" for name in names))
        yield found


@pytest.fixture
def chance() -> random.Random:
    """FIREBREAK_SEED repeats a run; pytest shows the seed of a run that failed."""
    seed = int(os.environ.get("FIREBREAK_SEED") or secrets.randbelow(2**32))
    print(f"FIREBREAK_SEED={seed}")  # noqa: T201 - for who repeats it
    return random.Random(seed)  # noqa: S311 - a test's dice


@pytest.mark.parametrize("dies", ["leader", "follower"])
def test_containment_goes_on_while_a_replica_is_killed(
    where: Place, log: AuditLog, leadership: Leadership, chance: random.Random, dies: str
) -> None:
    leader, *others = leadership.replicas()
    victim = leader if dies == "leader" else others[0]
    moment = chance.randrange(1, INCIDENTS)
    for number in range(INCIDENTS):
        where.open(f"shell-{number}", f"web-{number}")
        if number == moment:
            leadership.kill(victim)
    settled(where)
    assert slowest(where, log) < GENEROUS
    Place(where.cluster, where.kubectl, "firebreak").ready("deployment/firebreak")


def test_a_leader_without_network_is_replaced_and_does_nothing_twice_when_it_is_back(
    where: Place, log: AuditLog, firebreak: str, kubectl: Kubectl, leadership: Leadership, breakable: None
) -> None:
    """Until everything is sealed: its process lives on, and believes to lead until its own clock says otherwise."""
    lost = leadership.leader()
    address = where.kubectl("get", "pod", lost, "-n", firebreak, "-o", "jsonpath={.status.podIP}")
    where.open("shell-0", "web-0")
    with control.cut_off(address, but_port=PORT):
        for number in range(1, INCIDENTS):
            where.open(f"shell-{number}", f"web-{number}")
        wait_until(lambda: leadership.holder() not in {lost, ""}, timeout=60, otherwise="nobody took the Lease over")
        settled(where)
    assert slowest(where, log) < GENEROUS
    wait_until(
        lambda: scrape(kubectl, firebreak, lost).value("firebreak_leader") == 0,
        timeout=30,
        otherwise="it still believes to lead",
    )
    assert leadership.leader() != lost
    for number in range(INCIDENTS):
        acts = [
            json.loads(data)["what"]
            for key, data in where.evidence(f"shell-{number}").objects().items()
            if "/custody/" in key
        ]
        assert len([act for act in acts if act.startswith("sealed")]) == 1
        assert where.evidence(f"shell-{number}").verified().ok


def settled(where: Place) -> None:
    """Wait until every incident is contained and preserved, and has one policy."""
    for number in range(INCIDENTS):
        where.condition(f"shell-{number}", "Contained", "True/Enforced", seconds=60)
    for number in range(INCIDENTS):
        where.condition(f"shell-{number}", "EvidencePreserved", "True/Sealed", seconds=90)
    assert len(where.get("networkpolicies")["items"]) == INCIDENTS
