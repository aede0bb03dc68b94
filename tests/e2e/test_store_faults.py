"""A store that is slow, and one that is full: the cut waits for neither, and nothing is called preserved."""

import time
from collections.abc import Iterator

import pytest

from cluster import control
from cluster.provider import ClusterInfo
from conftest import Kubectl
from incidents import IDLE, Place, container, place, pod
from installed import BUCKET
from underway import EARLY, MIB, SLOW, in_the_middle

pytestmark = pytest.mark.slow


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, breakable: None) -> Iterator[Place]:
    with place(cluster, kubectl, "store") as found:
        yield found


def test_a_slow_store_delays_evidence_and_nothing_else(where: Place) -> None:
    where.apply(pod("big", container(SLOW)), pod("small", container(IDLE)))
    where.ready("pod/big", "pod/small")
    with control.trickling_store("512 kbytes/second"):
        where.open("long", "big")
        where.condition("long", "Contained", "True/Enforced", seconds=15)
        in_the_middle(where, "long")
        where.open("short", "small")
        where.condition("short", "Contained", "True/Enforced", seconds=15)
        where.condition("short", "EvidencePreserved", "True/Sealed", seconds=90)
        assert not preserved(where, "long"), "its copy is still under way"
    where.condition("long", "EvidencePreserved", "True/Sealed", seconds=120)
    assert where.evidence("long").artifacts()["files/app.tar"].bytes > 400 * MIB


def preserved(where: Place, name: str) -> bool:
    found = where.status(name).condition("EvidencePreserved")
    return found is not None and found.status == "True"


def test_a_full_store_is_said_to_be_full_and_evidence_follows_when_there_is_room(where: Place) -> None:
    where.apply(pod("web", container(SLOW)))
    where.ready("pod/web")
    with control.small_bucket(BUCKET, "16k") as resize:
        where.open("shell", "web")
        where.condition("shell", "Contained", "True/Enforced", seconds=15)
        started = time.monotonic()
        words = where.condition("shell", "EvidencePreserved", "False/StoreFull")
        assert time.monotonic() - started < 30
        assert "the store is full (507 InsufficientStorage); make room there or raise its quota" in words
        resize("1g")
        where.condition("shell", "EvidencePreserved", "True/Sealed", seconds=120)
        assert where.evidence("shell").verified().ok
        assert set(where.evidence("shell").artifacts()) == {*EARLY, "files/app.tar"}
        where.condition("shell", "Contained", "True/Enforced")
