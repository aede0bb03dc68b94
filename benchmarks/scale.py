"""What one large cluster, and a fleet that writes to one store, mean in calls, bytes and money.

Computed by `python -m benchmarks.scale` from what `make soak` measured (`measured.json` beside this) and from the
assumptions below. The table of docs/scale.md is what this prints.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
HOUR, MONTH = 3600, 730  # seconds; hours
MIB, GIB = 2**20, 2**30
PART = 8 * MIB  # of an upload; firebreak.evidence.backend.PART_BYTES
DOCUMENTS = 4  # objects of a bundle beside artifacts and receipts: two custody entries, the seal, one entry about it


@dataclass(frozen=True)
class Prices:
    """Assumed, in US dollars: list prices of a large provider's standard object storage, 2026-11, without discounts."""

    thousand_writes: float = 0.005  # PUT, POST, LIST
    thousand_reads: float = 0.0004  # GET, HEAD
    gib_month: float = 0.023


@dataclass(frozen=True)
class Load:
    """Assumed: what comes in, and how it is handled."""

    name: str
    clusters: int
    incidents_per_hour: float  # of one cluster
    open_hours: float = 4.0  # until a person closes an incident
    resync: float = 30.0  # FIREBREAK_RESYNC_SECONDS
    evidence: int = 200 * MIB  # of one incident: a container's writable files and logs
    kept_months: float = 12.0


LOADS = (
    Load("one cluster, 5,000 nodes, 50 incidents an hour", 1, 50),
    Load("a fleet of 500 clusters, 1 incident an hour each", 500, 1),
    Load("the same fleet, 50 an hour each", 500, 50),
)


def rows(measured: dict[str, Any], load: Load, prices: Prices) -> list[tuple[str, str]]:
    """The figures of one load, in words."""
    per_incident = sum(measured["callsPerIncident"].values())
    writes = sum(n for name, n in measured["callsPerIncident"].items() if not name.startswith(("get", "list", "watch")))
    still = sum(measured["callsPerHourAtRest"].values())
    look = sum(measured["callsPerLookAtAnOpenOne"].values())
    still_open = load.incidents_per_hour * load.open_hours
    looks = still_open * look * HOUR / load.resync
    hourly = load.incidents_per_hour * per_incident + looks + still
    monthly = load.clusters * load.incidents_per_hour * MONTH
    artifacts = measured["artifacts"]
    puts = 2 * artifacts + DOCUMENTS + load.evidence / PART
    reads = 3 * artifacts + DOCUMENTS  # receipts at the start and before the seal, the seal's look at each object
    kept = monthly * load.kept_months * load.evidence / GIB
    asked = monthly * (puts * prices.thousand_writes + reads * prices.thousand_reads) / 1000
    return [
        ("calls of one incident to its API server", f"{per_incident:,.0f}, {writes:,.0f} of them writes or reviews"),
        ("incidents open at once, one cluster", f"{still_open:,.0f}"),
        (
            "calls to one API server, an hour",
            f"{hourly:,.0f} ({hourly / HOUR:.1f} a second), {looks:,.0f} of them looks",
        ),
        ("status kept in one etcd by open incidents", f"{still_open * measured['statusBytes'] / MIB:,.1f} MiB"),
        (
            "evidence into the store, an hour",
            f"{load.clusters * load.incidents_per_hour * load.evidence / GIB:,.1f} GiB",
        ),
        ("requests to the store, an hour", f"{monthly / MONTH * (puts + reads):,.0f}"),
        (
            "objects in the store after the time kept",
            f"{monthly * load.kept_months * (2 * artifacts + DOCUMENTS):,.0f}",
        ),
        ("evidence kept", f"{kept / 1024:,.1f} TiB"),
        ("requests, a month", f"${asked:,.0f}"),
        ("storage, a month, once full", f"${kept * prices.gib_month:,.0f}"),
    ]


def main() -> None:
    """Print the table."""
    measured = json.loads(MEASURED.read_text())
    tables = [rows(measured, load, Prices()) for load in LOADS]
    lines = [f"| | {' | '.join(load.name for load in LOADS)} |", "|---|" + "---|" * len(LOADS)]
    lines += [f"| {same[0][0]} | {' | '.join(words for _, words in same)} |" for same in zip(*tables, strict=True)]
    print("\n".join(lines))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
