"""A capture of files against `kubectl exec tar` to nowhere, in turn; and the operator's memory at its worst.

Firebreak's way holds its hash, its filter, and the object in the store: from the artifact's first byte asked for to the
store's last answer, as the manifest says. kubectl's way is the whole command.
"""

import asyncio
import subprocess
import time
from dataclasses import dataclass

import obstore

from benchmarks.figures import Figure, Section
from benchmarks.replicas import Replica, replicas
from benchmarks.scene import Scene, scene
from benchmarks.waiting import until
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from firebreak.api.base import Json
from firebreak.api.status import IncidentStatus
from firebreak.evidence.location import connect
from firebreak.kube.source import ContainerRef
from firebreak.kube.tarsource import TarSource
from firebreak.model.change import Ref
from incidents import Evidence

AIM = 1.0
PLAYBOOK = "bench-files"
SMALL, LARGE, HUGE = 64, 1024, 4096  # MiB
PATIENCE = 600.0  # seconds for one capture


@dataclass(frozen=True)
class Round:
    """One turn: seconds of each way, and the peak of the operator's memory in MiB."""

    firebreak: float
    kubectl: float
    nowhere: float
    peak: float


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
    return Section(
        name, "Files of a container: Firebreak to S3 with SHA-256, kubectl exec tar to nowhere", (*figures, grown)
    )


def _figures(size: int, found: list[Round]) -> list[Figure]:
    ratios = [each.firebreak / each.kubectl for each in found]
    return [
        Figure(f"{size} MiB: Firebreak", "s", [each.firebreak for each in found]),
        Figure(f"{size} MiB: kubectl", "s", [each.kubectl for each in found]),
        Figure(f"{size} MiB: Firebreak's stream alone, to nowhere", "s", [each.nowhere for each in found]),
        Figure(f"{size} MiB: ratio, pair by pair", "", ratios, AIM),
        Figure(f"{size} MiB: peak of the operator's memory", "MiB", [each.peak for each in found]),
    ]


async def _rounds(info: ClusterInfo, at: Scene, leader: Replica, size: int, rounds: int) -> list[Round]:
    pod = f"files-{size}"
    await at.running(pod, f"dd if=/dev/zero of=/data/file bs=1M count={size} && touch /ready && exec sleep 1000000")
    found = []
    for _ in range(rounds):
        leader.forget_peak()
        firebreak = await _by_firebreak(info, at, pod, size)
        peak = leader.peak
        found.append(Round(firebreak, await _by_kubectl(info, at, pod), await _to_nowhere(at, pod), peak))
    await at.api.delete(Ref("Pod", pod, at.namespace))
    return found


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


async def _by_kubectl(info: ClusterInfo, at: Scene, pod: str) -> float:
    command = [
        str(info.bin / "kubectl"),
        "--kubeconfig",
        str(info.kubeconfig),
        "exec",
        "--namespace",
        at.namespace,
        pod,
        "--",
    ]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, "tar", "cf", "-", "/data", stdout=subprocess.DEVNULL)
    assert await process.wait() == 0  # noqa: S101 - else it measured nothing
    return time.monotonic() - began


async def _to_nowhere(at: Scene, pod: str) -> float:
    """Read and filter the archive, from this process: what the hash, the store and its server cost is the rest."""
    began = time.monotonic()
    async for _ in TarSource(at.api, ContainerRef(at.namespace, pod, "c"), ["/data"]):
        pass
    return time.monotonic() - began


def _playbook() -> Json:
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Playbook",
        "metadata": {"name": PLAYBOOK},
        "spec": {"steps": [{"capture": {"paths": ["/data"]}}]},
    }
