"""Fifty incidents at once, against a bare client that sends the same calls as fast as it can.

Firebreak's way starts when the API server receives the first Incident and ends when the last pod is cut, so it holds
fifty Incidents being created and stored; the bare client's is its calls alone.
"""

import asyncio
from dataclasses import dataclass

from audited import answered, received
from benchmarks.figures import Figure, Section
from benchmarks.scene import Scene, milliseconds, scene
from cluster.provider import ClusterInfo

INCIDENTS = 50
AIM = 2.0


@dataclass(frozen=True)
class Storm:
    """One pair of storms, in milliseconds."""

    stored: float
    last: float
    bare: float


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Measure both ways in turn. Firebreak must be running."""
    found = []
    for _ in range(rounds):
        async with scene(info) as at:
            found.append(Storm(*(await _firebreak(at)), await _bare(at)))
    figures = (
        Figure(f"{INCIDENTS} Incidents stored", "ms", [each.stored for each in found]),
        Figure("the last pod is cut", "ms", [each.last for each in found]),
        Figure("bare client, the last pod is cut", "ms", [each.bare for each in found]),
        Figure("ratio, pair by pair", "", [each.last / each.bare for each in found], AIM),
    )
    return Section("storm", f"{INCIDENTS} incidents at once, since the arrival of the first", figures)


async def _firebreak(at: Scene) -> tuple[float, float]:
    names = await _pods(at, "f")
    incidents = await asyncio.gather(*(at.open(name) for name in names))
    opened = [await at.opened(name) for name in names]
    cuts = [await at.cut(incident) for incident in incidents]
    start = min(map(received, opened))
    await asyncio.gather(*(at.settled(incident) for incident in incidents))
    return milliseconds(start, max(map(answered, opened))), milliseconds(start, max(cut.ended for cut in cuts))


async def _bare(at: Scene) -> float:
    cuts = await at.cut_bare(await _pods(at, "b"))
    return milliseconds(min(cut.began for cut in cuts), max(cut.ended for cut in cuts))


async def _pods(at: Scene, prefix: str) -> list[str]:
    names = [f"{prefix}{number}" for number in range(INCIDENTS)]
    await asyncio.gather(*(at.pod(name) for name in names))
    return names
