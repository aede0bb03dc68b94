"""A capture in the middle: small artifacts have their receipts, the copy of the files is still under way."""

import asyncio
from datetime import UTC, datetime

from cluster.waiting import wait_until
from firebreak.evidence.artifact import Artifact
from firebreak.evidence.bundle import Bundle
from firebreak.evidence.layout import IncidentIdentity
from firebreak.evidence.store import EvidenceStore
from incidents import Place, store_options

MIB = 1024 * 1024
SLOW = "truncate -s 400M /tmp/big; touch /ready; exec sleep 1000000"
EARLY = {"pod.json", "describe.txt", "surroundings.json", "volatile/app.txt", "logs/app.current.log"}


def bundle(where: Place, name: str) -> Bundle:
    """The evidence of an incident that is not sealed yet."""
    uid = where.get("incident", name)["metadata"]["uid"]
    store = EvidenceStore.open("s3://firebreak-evidence", store_options(where.cluster))
    identity = IncidentIdentity(namespace=where.namespace, name=name, uid=uid, cluster="local")
    return Bundle.open(store, identity, clock=lambda: datetime.now(UTC))


def in_the_middle(where: Place, name: str) -> dict[str, Artifact]:
    """Return the receipts when all but the big copy have theirs: it is under way."""
    evidence = bundle(where, name)
    found: dict[str, Artifact] = {}

    def early() -> bool:
        found.update({key.split("/", 2)[2]: value for key, value in asyncio.run(evidence.receipts()).items()})
        return set(found) >= EARLY

    wait_until(early, timeout=60, otherwise=lambda: f"the capture of {name} has receipts for {set(found)} only")
    assert set(found) == EARLY, "the copy was quicker than the test: make it bigger"
    return found
