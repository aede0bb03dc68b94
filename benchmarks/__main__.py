"""`make bench`: a table for people, JSON with the machine's facts for machines (`--json FILE`)."""

import argparse
import asyncio
import json
import os
import platform
import statistics
from pathlib import Path

from benchmarks.containment import Round, measure
from cluster.choose import choose


def main() -> None:
    """Run the benchmarks and print the ratios."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Speed as ratios against the floor.")
    parser.add_argument("--rounds", type=int, default=30, help="pairs of measurements (default 30)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    rounds = asyncio.run(measure(choose().up(), arguments.rounds))
    result = {"machine": machine(), "containment": figures(rounds)}
    show(result["containment"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def figures(rounds: list[Round]) -> dict[str, object]:
    """Medians and spread in milliseconds, and the median of the ratios pair by pair."""
    firebreak, bare = [r.firebreak for r in rounds], [r.bare for r in rounds]
    return {
        "pairs": len(rounds),
        "firebreak_ms": spread(firebreak),
        "bare_ms": spread(bare),
        "ratio": spread([r.firebreak / r.bare for r in rounds]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    ends = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 2) for name, value in ends.items()}


def show(result: dict[str, object]) -> None:
    """Print the table."""
    print(f"{'created to contained':<34}{'min':>9}{'median':>9}{'max':>9}")  # noqa: T201 - the result
    for name, label in (
        ("firebreak_ms", "Firebreak, ms"),
        ("bare_ms", "bare client's two calls, ms"),
        ("ratio", "ratio"),
    ):
        row = result[name]
        assert isinstance(row, dict)  # noqa: S101 - narrows the type
        print(f"{label:<34}{row['min']:>9}{row['median']:>9}{row['max']:>9}")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
