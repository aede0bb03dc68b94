"""What is measured while running, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from firebreak.api.base import Json
from firebreak.api.playbook import STEP_NAMES
from firebreak.engine.work import Work
from firebreak.model.loose import mapping, mappings, text
from firebreak.outward.sink import counter
from firebreak.service.health import observe_process

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)
MOST_SERIES = 200  # of one metric: types, statuses and reasons are ours and few, whoever writes a status
OTHER = "Other"
RESULTS = POSTED, FAILED = ("posted", "failed")
NOT_ASKED_FOR = "NotRequested"  # modes Plan and Preserve: that they do not contain is no finding


class Conditions(Collector):
    """The conditions of the open incidents, counted when they are scraped. `incidents` says which are open."""

    def __init__(self) -> None:
        self.incidents: Callable[[], Iterable[Json]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count; called by the registry."""
        family = GaugeMetricFamily(
            "firebreak_conditions",
            "Conditions of the open incidents by type, status and reason.",
            labels=["condition", "status", "reason"],
        )
        counted = Tally(key for incident in self.incidents() for key in _conditions(incident))
        series: Tally[tuple[str, str, str]] = Tally()
        for number, (key, count) in enumerate(sorted(counted.items())):
            series[key if number < MOST_SERIES else (OTHER, OTHER, OTHER)] += count
        for labels, count in series.items():
            family.add_metric(labels, count)
        yield family


def _conditions(incident: Json) -> Iterator[tuple[str, str, str]]:
    for condition in mappings(mapping(incident.get("status")).get("conditions")):
        key = (text(condition.get("type")), text(condition.get("status")), text(condition.get("reason")))
        if key[2] != NOT_ASKED_FOR:
            yield key


class Metrics:
    """The operator's metrics, in a registry of their own so that two engines in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.conditions = Conditions()
        self.registry.register(self.conditions)
        self.contain_seconds = Histogram(
            "firebreak_contain_seconds",
            "Seconds from first seeing an incident to the last answer of its first cut.",
            buckets=FAST,
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "firebreak_step_seconds", "Seconds of one run of a step.", ["step"], buckets=SLOW, registry=self.registry
        )
        self.step_results = self._counter("step_results", "Runs of steps by how they ended.", "step", "result")
        self.resyncs = self._counter("resyncs", "Looks at every open incident.")
        self.held_back = self._counter("held_back", "Cuts that a guard rail held back.", "rail")
        self.undone = self._counter("undone", "Cuts and revocations that somebody undid.", "step")
        self.evidence_bytes = self._counter("evidence_bytes", "Bytes of evidence stored.")
        self.notifications = self._counter("notifications", "Notifications to the webhook by result.", "result")
        self.siem_records = counter("firebreak_siem_records_total", self.registry)
        self.background_failures = self._counter(
            "background_failures", "Background work that raised, and was begun again.", "work"
        )
        self.jobs = Gauge("firebreak_jobs", "Jobs running or waiting to run again.", registry=self.registry)
        self.incidents = Gauge("firebreak_incidents", "Incidents in hand, not closed.", registry=self.registry)
        self.leader = Gauge("firebreak_leader", "1 while this replica leads.", registry=self.registry)
        self.credentials_refused = Gauge(
            "firebreak_credentials_refused",
            "1 while the API server does not know this replica.",
            registry=self.registry,
        )
        observe_process(self.registry)
        self._begin_at_nothing()

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"firebreak_{name}_total", words, labels, registry=self.registry)

    def _begin_at_nothing(self) -> None:
        """Let what alerts look at be there from the start: an increase from no sample is none to Prometheus."""
        for name in STEP_NAMES:
            self.undone.labels(name)
        for result in RESULTS:
            self.notifications.labels(result)
        for work in Work:
            self.background_failures.labels(work)
