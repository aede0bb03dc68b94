"""An alert posted to the pod contained, against a bare client that sends the same two calls.

The intake's way starts when Falco's alert is posted, over a connection that is open, and ends when the API server has
answered the later of label and policy: it holds TLS, the Incident's creation, the watch and the cut. The bare client's
way is its two calls. Both clocks are this machine's. The breaker is set aside, for it would stop fifty at once.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from audited import AuditLog, answered, received
from benchmarks.figures import Figure, Section
from benchmarks.receiver import CONNECTIONS, Post, receiver, sender
from benchmarks.scene import Scene, milliseconds, scene
from cluster.provider import ClusterInfo
from receiving import NAME, falco

AT_ONCE = CONNECTIONS
STORMS = 5
AIM = 2.5
ACCOUNT = f"system:serviceaccount:firebreak:{NAME}"


@dataclass(frozen=True)
class Way:
    """Alerts posted at one moment, in milliseconds since then; of several always the last."""

    created: float
    stored: float
    called: float
    contained: float


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Measure both ways in turn, one at a time and fifty at once. Firebreak must be running."""
    async with receiver(info) as intake, sender(intake) as post:
        async with scene(info) as at:
            log = AuditLog(at.audit_log)
            await _alert(at, post, ["warm"])
            alone = [(await _alert(at, post, [f"f{n}"]), await _bare(at, [f"b{n}"])) for n in range(rounds)]
            calls = [each for each in log.seen(ACCOUNT, at.namespace) if each["user"]["username"] == ACCOUNT]
        storms = []
        for _ in range(STORMS):
            async with scene(info) as at:
                await _warm(at, post)
                names = [[f"{way}{number}" for number in range(AT_ONCE)] for way in "fb"]
                storms.append((await _alert(at, post, names[0]), await _bare(at, names[1])))
    figures = (
        Figure("one alert: the API server has the Incident", "ms", [each.created for each, _ in alone]),
        Figure("one alert: the Incident is stored", "ms", [each.stored for each, _ in alone]),
        Figure("one alert: both calls are there", "ms", [each.called for each, _ in alone]),
        Figure("one alert: contained", "ms", [each.contained for each, _ in alone]),
        Figure("bare client: both calls", "ms", [bare for _, bare in alone]),
        Figure("ratio, pair by pair", "", [each.contained / bare for each, bare in alone], AIM),
        Figure("calls of the intake for one alert", "", [len(calls) / (rounds + 1)], 1),
        Figure(f"{AT_ONCE} at once: all Incidents are stored", "ms", [each.stored for each, _ in storms]),
        Figure(f"{AT_ONCE} at once: the last is contained", "ms", [each.contained for each, _ in storms]),
        Figure(f"bare client: {AT_ONCE} at once", "ms", [bare for _, bare in storms]),
        Figure(f"ratio of {AT_ONCE} at once", "", [each.contained / bare for each, bare in storms], AIM),
    )
    return Section("intake", "An alert of Falco's, since it was posted", figures)


async def _warm(at: Scene, post: Post) -> None:
    """Open all the sender's connections, by one alert again and again, and those of the intake."""
    await at.pod("warm")
    alert = falco(at.namespace, "warm")
    await asyncio.gather(*(post(alert) for _ in range(CONNECTIONS)))
    (incident,) = await at.about(["warm"])
    await at.settled(incident)


async def _alert(at: Scene, post: Post, pods: list[str]) -> Way:
    await asyncio.gather(*(at.pod(pod) for pod in pods))
    alerts = [falco(at.namespace, pod) for pod in pods]
    begun = datetime.now(UTC)
    await asyncio.gather(*(post(alert) for alert in alerts))
    incidents = await at.about(pods)
    opened = [await at.opened(incident["metadata"]["name"]) for incident in incidents]
    cuts = [await at.cut(incident) for incident in incidents]
    await asyncio.gather(*(at.settled(incident) for incident in incidents))
    return Way(
        created=milliseconds(begun, max(map(received, opened))),
        stored=milliseconds(begun, max(map(answered, opened))),
        called=milliseconds(begun, max(cut.both_there for cut in cuts)),
        contained=milliseconds(begun, max(cut.ended for cut in cuts)),
    )


async def _bare(at: Scene, pods: list[str]) -> float:
    await asyncio.gather(*(at.pod(pod) for pod in pods))
    cuts = await at.cut_bare(pods)
    return milliseconds(min(cut.began for cut in cuts), max(cut.ended for cut in cuts))
