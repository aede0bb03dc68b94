"""`make soak`: many incidents, some at a time, and whether Firebreak is afterwards as it was before.

No other incident may be open. Each has a small pod of its own, is contained, preserved and closed; then its pod goes.
What every replica holds (memory, tasks, file descriptors and so connections) is sampled all the while and must not
grow. The calls of the first incidents are counted, for `scale.py` to compute with.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from audited import AuditLog
from benchmarks.idle import ACCOUNT
from benchmarks.scene import Scene, scene
from benchmarks.waiting import Unmeasurable
from cluster.choose import choose
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Gone, Unavailable
from firebreak.model.change import Ref, collection
from installed import NAMESPACE, install
from scraping import REPLICAS, metrics_of, parsed

SAMPLE = 5.0  # seconds between samples
ENOUGH = 40  # samples that a verdict takes: ten of each quarter
REST = 60.0  # seconds in which calls at rest are counted, before the first incident, and of open ones after the last
RESYNC = 5.0  # seconds between looks at open incidents: FIREBREAK_RESYNC_SECONDS of the overlay `local`
HELD = 5  # incidents that stay open while their calls are counted
COUNTED = 200  # incidents whose calls are counted: the audit log begins a new file at 200 MiB
PATIENCE = 300.0  # seconds for one incident
KINDS = ("Pod", "Incident")
GROWTH = {"memory, MiB": 12.0, "file descriptors": 12.0, "tasks": 12.0}
"""What the last quarter of a run may have more than its second: pools of connections and of memory fill slowly."""


@dataclass
class Samples:
    """What each replica held, in the order of time."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    async def take(self, api: Api) -> None:
        """Look once at every replica."""
        for pod in await api.list_all("Pod", NAMESPACE, labels=REPLICAS):
            replica = pod["metadata"]["name"]
            url = f"{api.base}{metrics_of(NAMESPACE, replica)}"
            async with api.session.get(url, headers=await api.headers(), raise_for_status=True) as answer:
                seen = parsed(await answer.text())
            held = self.values.setdefault(replica, {})
            held.setdefault("memory, MiB", []).append(seen.value("process_resident_memory_bytes") / 2**20)
            held.setdefault("file descriptors", []).append(seen.value("process_open_fds"))
            held.setdefault("tasks", []).append(seen.value("firebreak_tasks"))

    def table(self) -> Iterator[str]:
        """What was held in the four quarters of the run, while little went on."""
        yield f"{'':<44}{'1st':>9}{'2nd':>9}{'3rd':>9}{'4th quarter':>13}"
        for replica, held in self.values.items():
            for name, values in held.items():
                cells = "".join(f"{value:>9.1f}" for value in quarters(values))
                yield f"{replica} {name:<20}{cells}"

    def grown(self) -> list[str]:
        """What grew, in words. The first quarter fills caches and pools."""
        samples = min(len(values) for held in self.values.values() for values in held.values())
        if samples < ENOUGH:
            return [
                f"whether anything grew is unknown: {samples} samples, and it takes {ENOUGH}; give it more incidents"
            ]
        return [
            f"{replica}: {name} grew from {now[1]:.1f} to {now[3]:.1f}"
            for replica, held in self.values.items()
            for name, values in held.items()
            if (now := quarters(values))[3] > now[1] + GROWTH[name]
        ]


def quarters(values: list[float]) -> list[float]:
    """The lower quartile of each quarter of a run: what incidents under way hold comes and goes, and a leak stays."""
    edges = [len(values) * number // 4 for number in range(5)]
    return [sorted(values[start:end])[(end - start) // 4] for start, end in pairwise(edges)]


def calls(log: AuditLog) -> Counter[str]:
    """What Firebreak asked of the API server since the last look, by verb and resource."""
    found: Counter[str] = Counter()
    for event in log.new():
        about = event.get("objectRef") or {}
        if event["user"]["username"] == ACCOUNT:
            resource = "/".join(filter(None, (about.get("resource", "/apis"), about.get("subresource"))))
            found[f"{event['verb']} {resource}"] += 1
    return found


class Watched:
    """The pods and incidents of a namespace as one watch of each shows them: asking for each would be half the load."""

    def __init__(self, at: Scene) -> None:
        self._at = at
        self._latest: dict[tuple[str, str], Json] = {}
        self._changed = asyncio.Condition()

    async def follow(self, kind: str) -> None:
        """Take in a kind of object, until cancelled."""
        path, version = collection(kind, self._at.namespace), ""
        while True:
            with contextlib.suppress(Gone, Unavailable):
                found, version = await self._at.api.list_from(path)
                for obj in found:
                    await self._take(kind, obj)
                async for event in self._at.api.watch(path, version):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        await self._take(kind, event["object"])
            await asyncio.sleep(1)

    async def _take(self, kind: str, obj: Json) -> None:
        async with self._changed:
            self._latest[kind, obj["metadata"]["name"]] = obj
            self._changed.notify_all()

    def forget(self, name: str) -> None:
        """Let go of an incident and its pod."""
        for kind in KINDS:
            self._latest.pop((kind, name), None)

    async def until(self, kind: str, name: str, holds: Callable[[Json], bool]) -> Json:
        """Return an object once it is as wanted. Raises Unmeasurable, with what Firebreak says of it."""
        found: Json = {}
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                while not holds(found := self._latest.get((kind, name), {})):
                    await self._changed.wait()
        except TimeoutError:
            said = (found.get("status") or {}).get("message", "nothing")
            raise Unmeasurable(f"{kind} {name} did not get on within {PATIENCE:.0f} s: {said}") from None
        return found


@asynccontextmanager
async def following(at: Scene) -> AsyncIterator[Watched]:
    """Watch until the block ends."""
    seen = Watched(at)
    tasks = [asyncio.create_task(seen.follow(kind)) for kind in KINDS]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def running(pod: Json) -> bool:
    """Whether its container runs."""
    return "podIP" in (pod.get("status") or {}) and pod["status"].get("phase") == "Running"


def preserved(incident: Json) -> bool:
    """Whether it is contained, preserved, and done."""
    held = {each["type"]: each["status"] for each in (incident.get("status") or {}).get("conditions") or []}
    return held.get("EvidencePreserved") == held.get("Contained") == held.get("Ready") == "True"


def closed(incident: Json) -> bool:
    """Whether Firebreak has let go of it."""
    return bool((incident.get("status") or {}).get("phase") == "Closed")


async def opened(at: Scene, seen: Watched, name: str) -> Json:
    """An incident about a pod of its own, contained and preserved."""
    container = {"name": "c", "image": "busybox:1.35", "command": ["sleep", "1000000"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    await at.api.create("Pod", at.namespace, {"metadata": {"name": name}, "spec": spec})
    await seen.until("Pod", name, running)
    await at.open(name)
    return await seen.until("Incident", name, preserved)


async def one(at: Scene, seen: Watched, name: str) -> Json:
    """An incident from its pod's start to its pod's end; return its last status."""
    done, incident = await opened(at, seen, name), Ref("Incident", name, at.namespace)
    await at.api.patch(incident, {"spec": {"state": "Closed", "verdict": "Exercise"}})
    await seen.until("Incident", name, closed)
    await at.api.delete(Ref("NetworkPolicy", f"firebreak-{done['metadata']['uid']}", at.namespace))
    await at.api.delete(Ref("Pod", name, at.namespace))
    seen.forget(name)
    status: Json = done["status"]
    return status


async def soak(info: ClusterInfo, incidents: int, at_once: int) -> tuple[Samples, Json]:
    """Run, and return what was held and what one incident cost. The number at once stays the same until the end."""
    samples = Samples()
    async with scene(info) as at, following(at) as seen:
        await asyncio.sleep(REST)
        rest, cost = calls(at.log), Cost()
        numbers, began = iter(range(incidents)), time.monotonic()

        async def lane() -> None:
            for number in numbers:
                cost.add(await one(at, seen, f"soak-{number}"))
                if cost.incidents == min(COUNTED, incidents):
                    cost.count(calls(at.log), rest, time.monotonic() - began)

        lanes = asyncio.gather(*(lane() for _ in range(at_once)))
        while not lanes.done():
            await samples.take(at.api)
            await asyncio.wait({lanes}, timeout=SAMPLE)
        lanes.result()
        found = cost.to_json(rest, time.monotonic() - began)
        return samples, found | {"callsPerLookAtAnOpenOne": await looks(at, seen, rest)}


async def looks(at: Scene, seen: Watched, rest: Counter[str]) -> dict[str, float]:
    """Count what one look at one incident costs that is open and done."""
    await asyncio.gather(*(opened(at, seen, f"held-{number}") for number in range(HELD)))
    await asyncio.sleep(RESYNC)
    calls(at.log)
    await asyncio.sleep(REST)
    found = calls(at.log)
    per = {name: (number - rest[name]) / HELD / (REST / RESYNC) for name, number in sorted(found.items())}
    return {name: round(number, 2) for name, number in per.items() if number > 0.05}  # noqa: PLR2004 - noise


@dataclass
class Cost:
    """What incidents cost, added up."""

    incidents: int = 0
    bytes: int = 0
    artifacts: int = 0
    status_bytes: int = 0
    calls: dict[str, float] = field(default_factory=dict)

    def add(self, status: Json) -> None:
        """Add one incident by its last status."""
        self.incidents += 1
        self.bytes += status["evidence"]["bytes"]
        self.artifacts += status["evidence"]["artifacts"]
        self.status_bytes += len(json.dumps(status))

    def count(self, seen: Counter[str], rest: Counter[str], seconds: float) -> None:
        """Take the calls of so many incidents, without those that are made at rest."""
        per = {name: (number - rest[name] * seconds / REST) / self.incidents for name, number in seen.items()}
        self.calls = {name: round(number, 2) for name, number in sorted(per.items()) if number > 0.01}  # noqa: PLR2004 - noise

    def to_json(self, rest: Counter[str], seconds: float) -> Json:
        """What `scale.py` computes with."""
        return {
            "incidents": self.incidents,
            "seconds": round(seconds),
            "callsPerIncident": self.calls,
            "callsPerHourAtRest": {name: round(number * 3600 / REST) for name, number in sorted(rest.items())},
            "evidenceBytes": round(self.bytes / self.incidents),
            "artifacts": round(self.artifacts / self.incidents, 1),
            "statusBytes": round(self.status_bytes / self.incidents),
        }


def report(lines: Iterable[str]) -> None:
    """Print."""
    print("\n".join(lines), flush=True)  # noqa: T201 - the result


def main() -> int:
    """Run the soak; 1 when something grew."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description="Many incidents, and nothing that grows.")
    parser.add_argument("--incidents", type=int, default=2000, help="how many (default 2000: an hour or so)")
    parser.add_argument("--at-once", type=int, default=8, help="how many are open at the same time (default 8)")
    parser.add_argument("--json", type=Path, help="also write what was measured to this file")
    arguments = parser.parse_args()
    info = choose().up()
    if os.environ.get("FIREBREAK_E2E_INSTALLED") != "1":
        install(info, kubectl_of(info))
    samples, cost = asyncio.run(soak(info, arguments.incidents, arguments.at_once))
    report([*samples.table(), "", json.dumps(cost, indent=2)])
    if arguments.json:
        arguments.json.write_text(json.dumps({"cost": cost, "samples": samples.values}, indent=2) + "\n")
    report(samples.grown())
    return 1 if samples.grown() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ApiError, Unmeasurable) as error:
        sys.exit(f"the soak ended: {error}")
