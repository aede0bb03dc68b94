"""An incident created to the pod contained, against a bare client that sends the same two calls.

Firebreak's way starts when the API server receives the Incident and ends when it has answered the later of label and
policy; the bare client's starts when it receives the first of the two.
"""

from dataclasses import dataclass, fields

from audited import answered, received
from benchmarks.figures import Figure, Section
from benchmarks.scene import Scene, milliseconds, scene
from cluster.provider import ClusterInfo

AIM = 1.8


@dataclass(frozen=True)
class Round:
    """One pair of measurements, in milliseconds. Those of Firebreak count from the Incident's arrival."""

    stored: float
    seen: float
    first_call: float
    both_calls: float
    contained: float
    bare: float
    ratio: float


LABELS = {
    "stored": "the Incident is stored and its creator answered",
    "seen": "Firebreak's handler has it",
    "first_call": "the API server receives the first call",
    "both_calls": "the API server has received both",
    "contained": "both are answered: contained",
    "bare": "bare client: first received to both answered",
}


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Measure both ways in turn, each on a pod of its own. Firebreak must be running."""
    async with scene(info) as at:
        found = [await _round(at, number) for number in range(rounds)]
    times = [
        Figure(LABELS[name], "ms", [getattr(each, name) for each in found])
        for name in (field.name for field in fields(Round))
        if name in LABELS
    ]
    ratio = Figure("ratio, pair by pair", "", [each.ratio for each in found], AIM)
    title = "One incident: created to contained, since the Incident's arrival"
    return Section("containment", title, (*times, ratio))


async def _round(at: Scene, number: int) -> Round:
    pod, other = f"f{number}", f"b{number}"
    await at.pod(pod)
    incident = await at.open(pod)
    opened, cut = await at.opened(pod), await at.cut(incident)
    seen = await at.settled(incident)
    await at.pod(other)
    (bare,) = await at.cut_bare([other])
    start, floor = received(opened), milliseconds(bare.began, bare.ended)
    contained = milliseconds(start, cut.ended)
    return Round(
        stored=milliseconds(start, answered(opened)),
        seen=milliseconds(start, seen),
        first_call=milliseconds(start, cut.began),
        both_calls=milliseconds(start, cut.both_there),
        contained=contained,
        bare=floor,
        ratio=contained / floor,
    )
