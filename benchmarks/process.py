"""The real operator as a process of its own on the fake API server: start, work for one core, memory, writes.

The fake answers at once, so that what is measured is the operator's own part.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.replicas import resident, seconds
from benchmarks.waiting import until
from cluster.provider import ClusterInfo
from fake_api import FakeApi, Obj, running_fake
from world import incident, shop, web_pod

BATCH, BATCHES = 50, 4  # incidents at once, and how often
SHOP = ("ServiceAccount", "Secret", "Role", "RoleBinding")
START_AIM = 2.0  # seconds
PATIENCE = 120.0  # seconds
AT_REST = 0.05  # seconds of CPU in a second: the Lease, and reading what is protected


@dataclass(frozen=True)
class Operator:
    """A running operator, seen from outside."""

    process: asyncio.subprocess.Process

    @property
    def memory(self) -> float:
        """What it holds in RAM now, in MiB."""
        return resident(self._read("status"), "VmRSS")

    @property
    def cpu(self) -> float:
        """Seconds of one core that it has used."""
        return seconds(self._read("stat"))

    def _read(self, file: str) -> str:
        return Path(f"/proc/{self.process.pid}/{file}").read_text(encoding="utf-8")


async def measure(_: ClusterInfo, rounds: int) -> Section:
    """Start it some times, and let it work off incidents once each time."""
    found = [await _round() for _ in range(rounds)]
    starts = Figure("start to first watch", "s", [each["start"] for each in found], START_AIM)
    rest = (
        ("CPU of a start", "s", "start_cpu"),
        ("memory after the start", "MiB", "memory"),
        ("incidents worked off by one core", "/s", "throughput"),
        ("writes of status for each incident", "", "writes"),
        ("calls for each incident", "", "calls"),
        (f"memory that {BATCH} incidents at once leave", "MiB", "batch"),
        ("memory of 1,000 more that are open", "MiB", "open"),
        ("memory of the same 1,000, closed", "MiB", "closed"),
    )
    figures = (Figure(label, unit, [each[name] for each in found]) for label, unit, name in rest)
    title = f"The operator's process on the fake API server, {BATCHES} times {BATCH} incidents, playbook standard"
    return Section("process", title, (starts, *figures))


async def _round() -> dict[str, float]:
    """One start. The first batch sets the high-water mark of the heap; what the others add stays with them."""
    async with running_fake() as fake, _operator(fake) as (operator, start):
        idle, start_cpu = await _quiet(operator), operator.cpu
        await _work_off(fake, 0)
        warm, before = await _quiet(operator), len(fake.calls)
        spent = -operator.cpu
        for batch in range(1, BATCHES + 1):
            await _work_off(fake, batch)
        spent += operator.cpu
        opened, calls = await _quiet(operator), fake.calls[before:]
        writes = sum(call.is_write and call.resource == "incidents/status" for call in calls)
        for found in fake.list("Incident"):
            metadata = found["metadata"]
            closing = {"spec": {"state": "Closed", "verdict": "Exercise"}}
            fake.update("Incident", metadata["namespace"], metadata["name"], closing)
        await _until(fake, lambda status: status.get("phase") == "Closed")
        incidents = BATCH * BATCHES
        return {
            "start": start,
            "start_cpu": start_cpu,
            "memory": idle,
            "throughput": incidents / spent,
            "writes": writes / incidents,
            "calls": len(calls) / incidents,
            "batch": warm - idle,
            "open": (opened - warm) * 1000 / incidents,
            "closed": (await _quiet(operator) - warm) * 1000 / incidents,
        }


async def _work_off(fake: FakeApi, batch: int) -> None:
    """Open a batch of incidents at once, in a shop of its own, and wait until each has done all it can do alone."""
    namespace = f"shop-{batch}"
    for kind in SHOP:
        for found in fake.list(kind, "shop"):
            _put(fake, namespace, found)
    for number in range(BATCH):
        _put(fake, namespace, web_pod(f"pod-{number}"))
    for number in range(BATCH):
        _put(fake, namespace, incident(f"i{number}", f"uid-{batch}-{number}", target={"pod": f"pod-{number}"}))
    await _until(fake, lambda status: _condition(status, "Reconciling") == "False")


def _put(fake: FakeApi, namespace: str, found: Obj) -> None:
    named = ("name", "labels", "annotations", *(("uid",) if found["kind"] == "Incident" else ()))
    metadata = {name: value for name, value in found["metadata"].items() if name in named}
    fake.put({**found, "metadata": {**metadata, "namespace": namespace}})


async def _quiet(operator: Operator) -> float:
    """Its memory, once it has nothing left to do."""

    async def look() -> float | None:
        before = operator.cpu
        await asyncio.sleep(1)
        return operator.memory if operator.cpu - before < AT_REST else None

    return await until(look, PATIENCE)


async def _until(fake: FakeApi, holds: Callable[[Obj], bool]) -> None:
    """Wait until all incidents' statuses are as wanted."""

    async def look() -> bool | None:
        return all(holds(found.get("status") or {}) for found in fake.list("Incident")) or None

    await until(look, PATIENCE)


def _condition(status: Obj, kind: str) -> str:
    return next((each["status"] for each in status.get("conditions", []) if each["type"] == kind), "")


@asynccontextmanager
async def _operator(fake: FakeApi) -> AsyncIterator[tuple[Operator, float]]:
    """Run the operator against the fake; also returns how long it took to watch, in seconds."""
    shop(fake)
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = f"{folder}/kubeconfig"
        await asyncio.to_thread(Path(kubeconfig).write_text, json.dumps(_kubeconfig(fake.url)), "utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FIREBREAK_")},
            "FIREBREAK_KUBECONFIG": kubeconfig,
            "FIREBREAK_STORE": f"file://{folder}/evidence",
            "FIREBREAK_KUBECTL": "true",
            "FIREBREAK_PROBE": "false",
            "FIREBREAK_PORT": "0",
        }
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "firebreak",
            "run",
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await fake.watched("incidents")
            yield Operator(process), time.monotonic() - began
        finally:
            process.kill()
            await process.wait()


def _kubeconfig(url: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "current-context": "fake",
    }
