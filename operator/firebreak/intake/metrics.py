"""What the intake measures, for Prometheus."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from firebreak.detect.correlate import Counts
from firebreak.intake.formats import FORMATS
from firebreak.intake.refusal import SERVERS_FAULT
from firebreak.intake.routes import AUDIT
from firebreak.intake.taken import Outcome
from firebreak.intake.work import Work
from firebreak.outward.sink import counter
from firebreak.service.health import observe_process

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

LEFT_OUT = {
    "repeats": "Audit events that a rule matched and that came again.",
    "unreadable": "Bodies of audit events that a rule asked for and that could not be decoded.",
    "late": "Audit events that came too late for a correlation.",
    "evicted": "Groups of a correlation that were forgotten because there were too many.",
    "misdated": "Audit events whose time was missing or in the future: taken as happening when they came.",
}


class Metrics:
    """The intake's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests that were taken, by path.", "path")
        self.refused = self._counter("refused", "Requests that were refused, by reason.", "reason")
        self.alerts = self._counter("alerts", "Alerts by format and what became of them.", "source", "outcome")
        self.events = self._counter("audit_events", "Audit events that rules looked at.")
        self.malformed = self._counter("audit_malformed", "Audit events that could not be read.")
        self.findings = self._counter("findings", "Findings by level.", "level")
        self.uncounted = self._counter("repeats_uncounted", "Repeats whose count found no room.")
        self.siem_records = counter("firebreak_intake_siem_records_total", self.registry)
        self.background_failures = self._counter(
            "background_failures", "Background work that raised, and was begun again.", "work"
        )
        self.open_seconds = Histogram(
            "firebreak_intake_open_seconds",
            "Seconds from an alert's receipt to its Incident's creation.",
            buckets=FAST,
            registry=self.registry,
        )
        observe_process(self.registry)
        self._begin_at_nothing()

    def _begin_at_nothing(self) -> None:
        """Let what alerts look at be there from the start: an increase from no sample is none to Prometheus."""
        for work in Work:
            self.background_failures.labels(work)
        for source in (*FORMATS, AUDIT):
            self.alerts.labels(source, Outcome.LOST)
        for reason in SERVERS_FAULT:
            self.refused.labels(reason)

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Show a number that somebody else keeps."""
        Gauge(f"firebreak_intake_{name}", words, registry=self.registry).set_function(value)

    def watch_counts(self, counts: Counts) -> None:
        """Show what the rules had to leave out."""
        for name, words in LEFT_OUT.items():
            self.watch(f"audit_{name}", words, partial(getattr, counts, name))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"firebreak_intake_{name}_total", words, labels, registry=self.registry)
