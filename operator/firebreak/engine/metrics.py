"""What is measured while running, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)


class Metrics:
    """The operator's metrics, in a registry of their own so that two engines in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.contain_seconds = Histogram(
            "firebreak_contain_seconds",
            "Seconds from first seeing an incident to the last answer of its first cut.",
            buckets=FAST,
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "firebreak_step_seconds", "Seconds of one run of a step.", ["step"], buckets=SLOW, registry=self.registry
        )
        self.step_results = Counter(
            "firebreak_step_results_total",
            "Runs of steps by how they ended.",
            ["step", "result"],
            registry=self.registry,
        )
        self.jobs = Gauge("firebreak_jobs", "Jobs running or waiting to run again.", registry=self.registry)
        self.incidents = Gauge("firebreak_incidents", "Incidents in hand, not closed.", registry=self.registry)
        self.leader = Gauge("firebreak_leader", "1 while this replica leads.", registry=self.registry)
        self.evidence_bytes = Counter(
            "firebreak_evidence_bytes_total", "Bytes of evidence stored.", registry=self.registry
        )
