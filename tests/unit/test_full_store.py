"""A store without room: said by its name, tried again, and nothing is called preserved meanwhile."""

from fake_api import FakeApi
from faulty_store import faulty_store
from firebreak.evidence.errors import StoreFull
from harness import replica
from world import incident, shop

FULL = StoreFull("cannot create 'x' in s3://evidence: the store is full (507 InsufficientStorage); make room there")


async def test_a_full_store_is_asked_once_and_said_to_be_full(fake: FakeApi) -> None:
    shop(fake)
    store, backend = faulty_store()
    backend.fail("create", times=1_000_000, error=FULL)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await firebreak.condition("shell", "EvidencePreserved", "False", "StoreFull")
    (said,) = (c["message"] for c in found["status"]["conditions"] if c["type"] == "EvidencePreserved")
    assert said.startswith("tried again until there is room: cannot create 'x' in s3://evidence: the store is full")
    assert backend.calls["create"] == 1, "trying again at once is in vain"


async def test_evidence_follows_when_there_is_room_again(fake: FakeApi) -> None:
    shop(fake)
    store, backend = faulty_store()
    backend.fail("create", call=4, error=FULL)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "EvidencePreserved", "False", "StoreFull")
        fake.update("Incident", "shop", "shell", {"spec": {"reason": "room was made"}, "metadata": {"generation": 2}})
        await firebreak.until("shell", lambda status: bool(status.get("evidence")))
