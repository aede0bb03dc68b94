"""Each call of Firebreak's, in turn, goes wrong in each way; whatever happens, the incident ends as if nothing had.

`make crash` runs a part of the matrix that is spread over all of it, `make fuzz` all of it and many more pairs. A
test's id names scenario, kind of fault and call, and runs that alone.
"""

import functools
import os
import random
import zlib

import pytest

from play import Report, play
from scene import SCENARIOS
from trouble import Kind, Point, kinds
from verdict import complaints

ALL = os.environ.get("FIREBREAK_CRASH") == "all"
SHARE = {
    "unattended": 3,
    "approved": 12,
    "standard": 12,
    "preserve": 6,
    "plan": 2,
}  # one in so many faults, by scenario
PAIRS = 1000 if ALL else 60
MOST_DRAWS = 5
SEED = int(os.environ.get("FIREBREAK_CRASH_SEED", "1"))


@functools.cache
def calm(scenario: str) -> Report:
    """The undisturbed run, which says what there is to disturb and how it has to end."""
    return play(SCENARIOS[scenario])


def matrix() -> list[tuple[str, Kind, Point]]:
    """All that is run. Deaths of the unattended response are never left out; of the rest, the same part every time."""
    found = []
    for scenario in SCENARIOS:
        for point in sorted(calm(scenario).points):
            for kind in kinds(point):
                always = ALL or (scenario == "unattended" and kind.deadly)
                if always or zlib.crc32(f"{scenario}{kind}{point}".encode()) % SHARE[scenario] == 0:
                    found.append((scenario, kind, point))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_undisturbed_runs_are_the_same(scenario: str) -> None:
    """Else the name of a call would say nothing."""
    again = play(SCENARIOS[scenario])
    assert list(complaints(calm(scenario), again, {})) == []
    assert calm(scenario).points == again.points


def test_the_undisturbed_response_does_all_that_a_response_can_do() -> None:
    found = calm("unattended")
    assert found.changes == {
        "Pod web-1": 5,  # three of them made the scene
        "Pod web-2": 4,
        "Deployment web": 3,  # restarted with the new secret, then given the known-good image
        "RoleBinding web-reader": 2,
        "Node node1": 2,
        "Node node2": 1,
        "Secret db": 2,
        "NetworkPolicy firebreak-11111111-2222-3333-4444-555555555555": 1,
    }
    assert {kind: (c["status"], c["reason"]) for kind, c in found.state["status"]["conditions"].items()} == {
        "ActionRequired": ("True", "WaitingForPerson"),
        "Contained": ("True", "Enforced"),
        "EvidencePreserved": ("False", "Incomplete"),
        "IdentityContained": ("Unknown", "RevokedByHook"),
        "NodeCordoned": ("True", "Cordoned"),
        "NodeSuspect": ("True", "WayToNode"),
        "Ready": ("True", "Responded"),
        "Reconciling": ("False", "Settled"),
        "Recovered": ("True", "Ready"),
        "SecretsRotated": ("True", "Rotated"),
        "Stalled": ("False", "Moving"),
    }
    assert [name.rpartition("/")[2] for name, worth in found.state["evidence"].items() if "Complete" not in worth] == [
        "describe.txt"  # there is no kubectl here
    ]


@pytest.mark.parametrize(
    ("scenario", "kind", "point"), [pytest.param(*each, id="-".join(map(str, each))) for each in matrix()]
)
def test_whatever_befalls_one_call_the_incident_ends_the_same(scenario: str, kind: Kind, point: Point) -> None:
    plan, wanted = {point: kind}, calm(scenario)
    wrong = list(complaints(wanted, play(SCENARIOS[scenario], plan, wanted.state), plan))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("seed", range(SEED, SEED + PAIRS))
def test_two_faults_in_one_response_end_the_same(seed: int) -> None:
    """Where the first keeps the second from happening at all, others are drawn."""
    draw = random.Random(seed)  # noqa: S311 - drawn again by its seed
    for _ in range(MOST_DRAWS):
        scenario = draw.choice(list(SCENARIOS))
        plan = {point: draw.choice(kinds(point)) for point in draw.sample(calm(scenario).points, 2)}
        found = play(SCENARIOS[scenario], plan, calm(scenario).state, seed)
        if found.met == plan.keys():
            break
    wrong = list(complaints(calm(scenario), found, plan))
    assert not wrong, "\n".join([f"seed {seed}, {scenario}: {plan}", *wrong])
