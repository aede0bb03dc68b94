"""A storm of alerts on a real API server: ten thousand repeats of one, then a thousand different and a few critical.

The intake is a process of this machine (`FIREBREAK_INTAKE_KUBECONFIG`, see `receiver`), so that its memory is seen; the
operator has to be running, its breaker as shipped. What the breaker must do is checked, not only measured.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from audited import AuditLog
from benchmarks.figures import Figure, Section
from benchmarks.intake import ACCOUNT
from benchmarks.receiver import Post, Receiver, receiver, sender
from benchmarks.scene import Scene, scene
from benchmarks.waiting import Unmeasurable, until
from cluster.provider import ClusterInfo
from firebreak.model.change import Ref
from firebreak.model.names import REPEATS
from receiving import falco

ALERTS, DIFFERENT = 10_000, 1_000
BOUND, RESERVE = 10, 5  # of one namespace's automatic incidents: the operator's defaults
AT_ONCE = 50
BUSY = 503
REST = 15.0  # seconds: longer than repeats wait to be written
PATIENCE = 240.0  # seconds


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Run both storms, one after the other."""
    found = [await _round(info) for _ in range(rounds)]
    figures = tuple(Figure(name, unit, [each[name] for each in found]) for name, unit in UNITS.items())
    return Section("alert-storm", f"{ALERTS:,} repeats of one alert, then {DIFFERENT:,} different ones", figures)


UNITS = {
    "repeats taken": "/s",
    "of the repeats refused at first": "",
    "incidents of the repeats": "",
    "writes of the intake": "",
    "memory of the intake before": "MiB",
    "memory after the repeats": "MiB",
    "different alerts accepted": "/s",
    "all of them are incidents": "s",
    "critical alert to the last of five contained": "s",
    "pods cut": "",
    "memory after the different ones": "MiB",
}


async def _round(info: ClusterInfo) -> dict[str, float]:
    async with receiver(info) as intake, sender(intake) as post:
        if intake.process is None:
            message = "the intake's memory is not seen: name a kubeconfig of its account in FIREBREAK_INTAKE_KUBECONFIG"
            raise Unmeasurable(message)
        async with scene(info) as at:
            repeats = await _repeats(at, intake, post)
        async with scene(info) as at:
            return {**repeats, **await _different(at, intake, post)}


async def _repeats(at: Scene, intake: Receiver, post: Post) -> dict[str, float]:
    log = AuditLog(at.audit_log)
    await at.pod("one")
    alert = falco(at.namespace, "one")
    await post(alert)
    (incident,) = await at.about(["one"])
    before, began = _memory(intake), time.monotonic()
    refused = await _all(post, [alert] * (ALERTS - 1))
    took = time.monotonic() - began
    ref = Ref("Incident", incident["metadata"]["name"], at.namespace)

    async def counted() -> bool | None:
        written = (await at.api.get(ref))["metadata"].get("annotations", {}).get(REPEATS)
        return True if written == str(ALERTS - 1) else None

    await until(counted, PATIENCE)
    number = len(await at.api.list_all("Incident", at.namespace))
    calls = [each for each in log.seen(ACCOUNT, at.namespace) if each["user"]["username"] == ACCOUNT]
    await at.settled(incident)
    return {
        "repeats taken": (ALERTS - 1) / took,
        "of the repeats refused at first": refused,
        "incidents of the repeats": number,
        "writes of the intake": sum(each["verb"] != "get" for each in calls),
        "memory of the intake before": before,
        "memory after the repeats": _memory(intake),
    }


async def _different(at: Scene, intake: Receiver, post: Post) -> dict[str, float]:
    storm = [f"s{number}" for number in range(DIFFERENT)]
    critical = [f"c{number}" for number in range(RESERVE)]
    for start in range(0, DIFFERENT, AT_ONCE):
        await asyncio.gather(*(at.pod(pod) for pod in storm[start : start + AT_ONCE]))
    await asyncio.gather(*(at.pod(pod) for pod in critical))
    await _all(post, [falco(at.namespace, pod) for pod in storm[:BOUND]])
    await at.about(storm[:BOUND])
    began = time.monotonic()
    await _all(post, [falco(at.namespace, pod) for pod in storm[BOUND:]])
    accepted = time.monotonic() - began
    begun = time.monotonic()
    await _all(post, [falco(at.namespace, pod, priority="Critical") for pod in critical])
    await until(lambda: _cut(at, critical), PATIENCE)
    contained = time.monotonic() - begun
    await until(lambda: _opened(at, DIFFERENT + RESERVE), PATIENCE)
    opened = time.monotonic() - began
    await asyncio.sleep(REST)
    cut = await _cut_pods(at)
    assert cut == {*storm[:BOUND], *critical}, sorted(cut)  # noqa: S101 - what the breaker is for
    await _end(at)
    return {
        "different alerts accepted": (DIFFERENT - BOUND) / accepted,
        "all of them are incidents": opened,
        "critical alert to the last of five contained": contained,
        "pods cut": len(cut),
        "memory after the different ones": _memory(intake),
    }


async def _all(post: Post, alerts: Sequence[Any]) -> float:
    """Post alerts, so many at once; what is refused for coming too fast comes again. Return how often that was so."""
    waiting, refused = iter(alerts), 0

    async def some() -> None:
        nonlocal refused
        for alert in waiting:
            while (status := await post(alert)) == BUSY:
                refused += 1
                await asyncio.sleep(1)
            assert status < BUSY, status  # noqa: S101 - else it measured nothing

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return refused


async def _cut(at: Scene, pods: Sequence[str]) -> bool | None:
    return all(at.log.find("patch", "pods", at.namespace, pod) for pod in pods) or None


async def _cut_pods(at: Scene) -> set[str]:
    pods = await at.api.list_all("Pod", at.namespace)
    return {
        pod["metadata"]["name"]
        for pod in pods
        if any(key.startswith("quarantine.firebreak.dev/") for key in pod["metadata"].get("labels", {}))
    }


async def _opened(at: Scene, number: int) -> bool | None:
    return len(await at.api.list_all("Incident", at.namespace)) >= number or None


async def _end(at: Scene) -> None:
    """Take the incidents away: where nothing removes a namespace's objects they would stay open."""
    every = [
        Ref("Incident", each["metadata"]["name"], at.namespace)
        for each in await at.api.list_all("Incident", at.namespace)
    ]
    await asyncio.gather(*(at.api.delete(ref) for ref in every))


def _memory(intake: Receiver) -> float:
    assert intake.process  # noqa: S101 - asked at the start
    return intake.process.memory
