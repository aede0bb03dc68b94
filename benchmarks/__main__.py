"""`make bench`: a table for people, JSON with the machine's facts for machines (`--json FILE`)."""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import capture, containment, idle, intake, packets, process, storm
from benchmarks.figures import Section, table
from benchmarks.waiting import Unmeasurable
from cluster.choose import choose
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from installed import install

Part = Callable[[ClusterInfo, int], Coroutine[Any, Any, Section]]

# By name: the part, and how often it measures by itself.
PARTS: dict[str, tuple[Part, int]] = {
    "containment": (containment.measure, 40),
    "storm": (storm.measure, 5),
    "intake": (intake.measure, 20),
    "packets": (packets.measure, 8),
    "capture": (capture.measure, 3),
    "idle": (idle.measure, 1),
    "process": (process.measure, 2),
    "capture-huge": (capture.measure_huge, 1),
}
DEFAULT = [name for name in PARTS if name != "capture-huge"]  # for which not every machine has the disk


def main() -> None:
    """Run the benchmarks and print what they found."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Speed as ratios against the floor.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=DEFAULT, help="these parts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="measurements of each part, instead of its own number")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    info = choose().up()
    if os.environ.get("FIREBREAK_E2E_INSTALLED") != "1":
        install(info, kubectl_of(info))
    found = {}
    for name in arguments.only:
        part, rounds = PARTS[name]
        try:
            section = asyncio.run(part(info, arguments.rounds or rounds))
        except Unmeasurable as problem:
            print(f"\n{name} was not measured: {problem}", flush=True)  # noqa: T201 - the result
            continue
        found[name] = section.to_json()
        print("\n".join(table(section)), flush=True)  # noqa: T201 - the result
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")


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
