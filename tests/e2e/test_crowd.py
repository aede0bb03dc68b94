"""A hundred incidents at once on a real cluster, ten of them about pods whose shell lets nobody in."""

import asyncio
from collections.abc import Iterator

import pytest

from cluster.provider import ClusterInfo
from conftest import Kubectl
from firebreak.api.status import IncidentStatus
from firebreak.kube.client import Api
from incidents import GATED, IDLE, Place, container, place, pod
from shop_objects import incident

pytestmark = pytest.mark.slow

HEALTHY = [f"healthy-{number}" for number in range(90)]
HOSTILE = [f"hostile-{number}" for number in range(10)]


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "crowd") as found:
        # Without a probe: a hundred that exec every second would be the load that is measured.
        found.apply(*(pod(name, container(IDLE, readinessProbe=None)) for name in HEALTHY))
        found.apply(*(pod(name, container(GATED, readinessProbe=None)) for name in HOSTILE))
        for name in HEALTHY + HOSTILE:
            found.wait(f"pod/{name}", "jsonpath={.status.phase}=Running", seconds=300)
        yield found


async def open_all(where: Place, names: list[str], playbook: str) -> None:
    async with await Api.connect(str(where.cluster.kubeconfig)) as api:
        incidents = (incident(name, {"pod": name}, playbook=playbook) for name in names)
        await asyncio.gather(*(api.create("Incident", where.namespace, each) for each in incidents))


def test_all_are_cut_off_and_the_evidence_of_the_healthy_is_whole(where: Place, cut_playbook: str) -> None:
    asyncio.run(open_all(where, HOSTILE + HEALTHY, cut_playbook))
    for name in HOSTILE + HEALTHY:
        where.wait(f"incident/{name}", 'jsonpath={.status.conditions[?(@.type=="Contained")].status}=True', seconds=60)
    for name in HEALTHY:
        where.condition(name, "EvidencePreserved", "True/Sealed", seconds=300)
    for name in HOSTILE:
        where.condition(name, "EvidencePreserved", "False/Incomplete", seconds=120)
    found = {i["metadata"]["name"]: IncidentStatus.model_validate(i["status"]) for i in where.get("incidents")["items"]}
    gaps = {name: status.evidence.gaps for name, status in found.items() if status.evidence and status.evidence.gaps}
    assert sorted(gaps) == sorted(HOSTILE)
