"""A capture of files against `kubectl exec tar`, to nowhere and to the same store, in turn; and the operator's memory.

Firebreak's way holds its hash, its filter, and the object in the store: from the artifact's first byte asked for to the
store's last answer, as the manifest says. kubectl's ways are whole commands.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import obstore

from benchmarks import floors
from benchmarks.figures import Figure, Section
from benchmarks.replicas import Replica, replicas
from benchmarks.scene import Scene, scene
from benchmarks.waiting import until
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from firebreak.api.base import Json
from firebreak.api.status import IncidentStatus
from firebreak.evidence.location import connect
from firebreak.evidence.store import EvidenceStore
from firebreak.model.change import Ref
from incidents import Evidence

AIM = 1.0
PLAYBOOK = "bench-files"
SMALL, LARGE, HUGE = 64, 1024, 4096  # MiB
PATIENCE = 600.0  # seconds for one capture


@dataclass(frozen=True)
class Round:
    """One turn: seconds of each way; of the operator the seconds of CPU, and the peak of its memory in MiB."""

    firebreak: float
    cpu: float
    peak: float
    nowhere: float
    piped: float
    discarding: float


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Copy 64 MiB and 1 GiB."""
    return await _measure(info, {SMALL: 2 * rounds, LARGE: rounds}, "capture")


async def measure_huge(info: ClusterInfo, rounds: int) -> Section:
    """Copy 4 GiB; the machine's disk has to take it twice."""
    return await _measure(info, {SMALL: rounds, HUGE: rounds}, "capture-huge")


async def _measure(info: ClusterInfo, sizes: dict[int, int], name: str) -> Section:
    leader = replicas(kubectl_of(info))[0]
    figures: list[Figure] = []
    peaks: dict[int, list[float]] = {}
    async with scene(info) as at:
        await at.api.create("Playbook", None, _playbook())
        try:
            for size, rounds in sizes.items():
                found = await _rounds(info, at, leader, size, rounds)
                peaks[size] = [each.peak for each in found]
                figures += _figures(size, found)
        finally:
            await at.api.delete(Ref("Playbook", PLAYBOOK))
    small, large = (max(each) for each in peaks.values())
    grown = Figure("peak memory, the larger less the smaller", "MiB", [large - small], 16.0)
    title = "Files of a container: Firebreak to S3 with SHA-256, kubectl exec tar to nowhere and to S3"
    return Section(name, title, (*figures, grown))


def _figures(size: int, found: list[Round]) -> list[Figure]:
    def figure(label: str, unit: str, of: Callable[[Round], float], aim: float | None = None) -> Figure:
        return Figure(f"{size} MiB: {label}", unit, [of(each) for each in found], aim)

    return [
        figure("Firebreak", "s", lambda each: each.firebreak),
        figure("kubectl to nowhere", "s", lambda each: each.nowhere),
        figure("kubectl to the same store", "s", lambda each: each.piped),
        figure("Firebreak, store that discards", "s", lambda each: each.discarding),
        figure("ratio to nowhere", "", lambda each: each.firebreak / each.nowhere, AIM),
        figure("ratio to the same store", "", lambda each: each.firebreak / each.piped, AIM),
        figure("ratio, discarded to nowhere", "", lambda each: each.discarding / each.nowhere, AIM),
        figure("CPU of the operator", "s", lambda each: each.cpu),
        figure("peak of the operator's memory", "MiB", lambda each: each.peak),
    ]


async def _rounds(info: ClusterInfo, at: Scene, leader: Replica, size: int, rounds: int) -> list[Round]:
    pod = f"files-{size}"
    await at.running(pod, f"dd if=/dev/zero of=/data/file bs=1M count={size} && touch /ready && exec sleep 1000000")
    async with floors.discarding() as server:
        found = [await _round(info, at, leader, server, size) for _ in range(rounds)]
    await at.api.delete(Ref("Pod", pod, at.namespace))
    return found


async def _round(info: ClusterInfo, at: Scene, leader: Replica, server: EvidenceStore, size: int) -> Round:
    pod = f"files-{size}"
    leader.forget_peak()
    spent = leader.cpu
    firebreak = await _by_firebreak(info, at, pod, size)
    cpu, peak = leader.cpu - spent, leader.peak
    return Round(
        firebreak,
        cpu,
        peak,
        await floors.to_nowhere(info, at, pod),
        await floors.piped(info, at, pod),
        await floors.to_discarding(server, at, pod),
    )


async def _by_firebreak(info: ClusterInfo, at: Scene, pod: str, size: int) -> float:
    await at.open(pod, mode="Preserve", playbook=PLAYBOOK)
    ref = Ref("Incident", pod, at.namespace)

    async def sealed() -> IncidentStatus | None:
        status = IncidentStatus.model_validate((await at.api.get(ref)).get("status") or {})
        return status if status.evidence else None

    status = await until(sealed, PATIENCE)
    seconds = await asyncio.to_thread(_read_and_remove, info, status, size)
    await at.api.delete(ref)
    return seconds


def _read_and_remove(info: ClusterInfo, status: IncidentStatus, size: int) -> float:
    """Return how long the copy took; the evidence of a benchmark is worth nothing, and large."""
    evidence = Evidence.of(info, status)
    artifact = evidence.artifacts()["files/c.tar"]
    assert artifact.completeness == "Complete", artifact  # noqa: S101 - else it measured nothing
    assert artifact.bytes > size << 20, artifact  # noqa: S101 - the same
    bucket = connect(evidence.root, evidence.options).whole
    for each in asyncio.run(evidence.store.list(evidence.prefix)):
        obstore.delete(bucket, each.key)
    return (artifact.finished_at - artifact.captured_at).total_seconds()


def _playbook() -> Json:
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Playbook",
        "metadata": {"name": PLAYBOOK},
        "spec": {"steps": [{"capture": {"paths": ["/data"]}}]},
    }
