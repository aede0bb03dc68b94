"""`make bench`: a table for people, JSON with the machine's facts for machines (`--json FILE`)."""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import alertstorm, capture, containment, detect, idle, intake, packets, process, storm
from benchmarks.figures import Section, table
from benchmarks.waiting import Unmeasurable
from cluster.choose import choose
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from installed import install

Part = Callable[[ClusterInfo, int], Coroutine[Any, Any, Section]]
Alone = Callable[[int], Coroutine[Any, Any, Section]]

# By name: the part, and how often it measures by itself.
PARTS: dict[str, tuple[Part, int]] = {
    "containment": (containment.measure, 40),
    "storm": (storm.measure, 5),
    "intake": (intake.measure, 20),
    "alert-storm": (alertstorm.measure, 1),
    "packets": (packets.measure, 8),
    "capture": (capture.measure, 3),
    "idle": (idle.measure, 1),
    "process": (process.measure, 2),
    "capture-huge": (capture.measure_huge, 1),
}
# The same, of what needs no cluster.
WITHOUT: dict[str, tuple[Alone, int]] = {
    "detect": (detect.measure, 15),
    "detect-endless": (detect.measure_endless, 1),
}
EVERY = [*PARTS, *WITHOUT]
# Not every machine has the disk, nor an intake outside the cluster, nor everybody ten minutes.
DEFAULT = [name for name in EVERY if name not in {"alert-storm", "capture-huge", "detect-endless"}]


def main() -> None:
    """Run the benchmarks and print what they found."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Speed as ratios against the floor.")
    parser.add_argument("--only", nargs="+", choices=EVERY, default=DEFAULT, help="these parts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="measurements of each part, instead of its own number")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    found = {}
    for name, part in chosen(arguments.only, arguments.rounds).items():
        try:
            section = asyncio.run(part())
        except Unmeasurable as problem:
            print(f"\n{name} was not measured: {problem}", flush=True)  # noqa: T201 - the result
            continue
        found[name] = section.to_json()
        print("\n".join(table(section)), flush=True)  # noqa: T201 - the result
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")


def chosen(names: list[str], rounds: int | None) -> dict[str, Callable[[], Coroutine[Any, Any, Section]]]:
    """The parts of these names, ready to run; the cluster is started, and Firebreak installed, if one needs it."""
    found: dict[str, Callable[[], Coroutine[Any, Any, Section]]] = {}
    needing = [name for name in names if name in PARTS]
    if needing:
        info = choose().up()
        if os.environ.get("FIREBREAK_E2E_INSTALLED") != "1":
            install(info, kubectl_of(info))
        found |= {name: partial(PARTS[name][0], info, rounds or PARTS[name][1]) for name in needing}
    alone = [name for name in names if name in WITHOUT]
    return found | {name: partial(WITHOUT[name][0], rounds or WITHOUT[name][1]) for name in alone}


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was with other things."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "load": [round(load, 2) for load in os.getloadavg()],
    }


if __name__ == "__main__":
    main()
