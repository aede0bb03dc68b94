"""What a running replica of Firebreak tells Prometheus, read through the API server."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from cluster.waiting import wait_until
from installed import Kubectl

PORT = 8080
REPLICAS = "app.kubernetes.io/name=firebreak"


@dataclass(frozen=True)
class Scrape:
    """The samples of one look at /metrics."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 for one that was never counted."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)


def scrape(kubectl: Kubectl, namespace: str, replica: str) -> Scrape:
    """What a replica exposes."""
    return parsed(kubectl("get", "--raw", metrics_of(namespace, replica)))


def metrics_of(namespace: str, replica: str) -> str:
    """Where the API server shows what a replica exposes."""
    return f"/api/v1/namespaces/{namespace}/pods/{replica}:{PORT}/proxy/metrics"


def parsed(text: str) -> Scrape:
    """Read what was exposed."""
    families = text_string_to_metric_families(text)
    return Scrape({(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples})


def resynced(kubectl: Kubectl, firebreak: str) -> None:
    """Return when every incident was looked at again twice, by every replica: the second look began after the first."""

    def looks() -> dict[str, float]:
        names = kubectl("get", "pods", "-n", firebreak, "-l", REPLICAS, "-o", "jsonpath={.items[*].metadata.name}")
        return {name: scrape(kubectl, firebreak, name).value("firebreak_resyncs_total") for name in names.split()}

    before = looks()
    wait_until(
        lambda: all(number >= before.get(name, 0) + 2 for name, number in looks().items()),
        timeout=60,
        otherwise="Firebreak does not look at its incidents again",
    )
