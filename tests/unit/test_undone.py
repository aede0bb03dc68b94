"""What others undo is met within one event, no resync needed: done again, or reported where the playbook says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fake_api import Answer, Call, FakeApi, Fault, Obj
from firebreak.engine.undone import EAGER, Fights
from firebreak.evidence.store import EvidenceStore
from harness import Replica, replica
from world import ACCOUNT, ALICE, APP_WEB, BINDING_PATH, KEY, POD_PATH, POLICIES_PATH, UID, incident, shop, web_pod

POLICY = f"firebreak-{UID}"


def reporting(*steps: str) -> Obj:
    """A playbook that asks nobody and reports drift only."""
    spec = {"approval": "Never", "drift": "Report", "steps": [{step: {}} for step in steps]}
    kind = {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Playbook"}
    return {**kind, "metadata": {"name": "reporting"}, "spec": spec}


def written_by(manager: str, fields: Obj) -> list[Obj]:
    return [{"manager": manager, "time": "2026-11-21T13:00:00Z", "fieldsV1": fields}]


@asynccontextmanager
async def contained(fake: FakeApi, store: EvidenceStore, ecs_file: str = "", **spec: Any) -> AsyncIterator[Replica]:
    """A replica whose incident about the shop is done with all that it does by itself, its watches running."""
    shop(fake)
    async with replica(fake, store, ecs_file=ecs_file) as firebreak:
        fake.put(incident(**spec))
        await firebreak.until("shell", lambda s: s.get("phase") in {"Responded", "Waiting"} and "evidence" in s)
        async with asyncio.timeout(5):
            await fake.watched("pods")
            await fake.watched("networkpolicies")
        yield firebreak


def take_off(fake: FakeApi) -> None:
    """Take the incident's key off its pod."""
    fake.update("Pod", "shop", "web-1", {"metadata": {"labels": {KEY: None}}})


async def put_on(fake: FakeApi, since: int) -> None:
    """Wait until the pod is patched, after that many calls."""
    async with asyncio.timeout(5):
        await fake.called(lambda c: c.n > since and c.line == f"PATCH {POD_PATH}")


async def event(fake: FakeApi, words: str) -> Obj:
    """Wait for an Event with these words."""

    def holds(call: Call) -> bool:
        return call.resource == "events" and words in str((call.body or {}).get("message"))

    async with asyncio.timeout(5):
        (call, *_) = await fake.called(holds)
    return call.body


def condition(firebreak: Replica, kind: str) -> Obj:
    found: Obj = next(c for c in firebreak.incident("shell")["status"]["conditions"] if c["type"] == kind)
    return found


async def test_a_label_that_is_taken_off_comes_back_and_an_event_says_so(fake: FakeApi, store: EvidenceStore) -> None:
    async with contained(fake, store) as firebreak:
        before = len(fake.calls)
        take_off(fake)
        await put_on(fake, before)
        told = await event(fake, "was taken off")
        await firebreak.condition("shell", "Contained", "True")
    assert fake.get("Pod", "shop", "web-1")["metadata"]["labels"][KEY] == "true"
    assert (told["type"], told["reason"]) == ("Warning", "Undone")
    assert told["message"] == (
        f"label {KEY} of pod web-1 was taken off, by whom only the audit log knows; it is done again"
    )


async def test_a_policy_that_is_deleted_or_edited_comes_back_and_its_editor_is_named(
    fake: FakeApi, store: EvidenceStore
) -> None:
    async with contained(fake, store):
        before = len(fake.calls)
        fake.delete("NetworkPolicy", "shop", POLICY)
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.n > before and c.line == f"GET {POLICIES_PATH}/{POLICY}")  # read back
        await event(fake, f"policy {POLICY} was deleted")
        spec = {"spec": {"egress": [{}]}, "metadata": {"managedFields": written_by("kubectl-edit", {"f:spec": {}})}}
        fake.update("NetworkPolicy", "shop", POLICY, spec)
        await event(fake, f"policy {POLICY} was changed by kubectl-edit")
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.line == f"PATCH {POLICIES_PATH}/{POLICY}")
            await fake.called(lambda c: c.line == f"GET {POLICIES_PATH}/{POLICY}", 2)
    assert "egress" not in fake.get("NetworkPolicy", "shop", POLICY)["spec"]


async def test_a_policy_that_allows_turns_contained_false_and_its_removal_true(
    fake: FakeApi, store: EvidenceStore
) -> None:
    async with contained(fake, store) as firebreak:
        metadata = {"name": "open", "namespace": "shop", "managedFields": written_by("kubectl", {"f:spec": {}})}
        spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        fake.put({**kind, "metadata": metadata, "spec": spec})
        await firebreak.condition("shell", "Contained", "False", "AllowedByOtherPolicies")
        assert condition(firebreak, "Contained")["message"].endswith("open (written by kubectl)")
        fake.delete("NetworkPolicy", "shop", "open")
        await firebreak.condition("shell", "Contained", "True", "Enforced")


async def test_where_drift_is_reported_nothing_is_done_again_and_a_person_is_waited_for(
    fake: FakeApi, store: EvidenceStore
) -> None:
    fake.put(reporting("quarantine", "capture", "revoke"))
    async with contained(fake, store, playbook="reporting") as firebreak:
        before = len(fake.calls)
        take_off(fake)
        found = await firebreak.condition("shell", "Contained", "False", "Undone")
        restored = {"subjects": [ACCOUNT], "metadata": {"managedFields": written_by("helm", {"f:subjects": {}})}}
        fake.update("RoleBinding", "shop", "web-reader", restored)
        await firebreak.condition("shell", "IdentityContained", "False", "Undone")
        words = condition(firebreak, "IdentityContained")["message"]
        writes = [c.line for c in fake.calls[before:] if c.is_write and c.path in {POD_PATH, BINDING_PATH}]
        fake.update("Pod", "shop", "web-1", {"metadata": {"labels": {KEY: "true"}}})
        await firebreak.condition("shell", "Contained", "True", "Enforced")
        fake.update("RoleBinding", "shop", "web-reader", {"subjects": [ALICE]})
        await firebreak.condition("shell", "IdentityContained", "True", "Revoked")
    assert found["status"]["waitingFor"] == "do again what was undone"
    assert "helm had put it back (the playbook says drift: Report)" in words
    assert writes == []
    (change,) = firebreak.incident("shell")["status"]["steps"]["revoke"]["changes"].values()
    assert (change["state"], change["before"]["subjects"]) == ("Done", [ACCOUNT, ALICE])  # what a release gives back


async def test_where_drift_is_reported_a_pod_that_joins_is_named_and_not_cut(
    fake: FakeApi, store: EvidenceStore
) -> None:
    fake.put(reporting("quarantine", "capture"))
    async with contained(fake, store, playbook="reporting", target=APP_WEB) as firebreak:
        fake.put(web_pod("web-3"))
        await firebreak.condition("shell", "Contained", "False", "Undone")
    assert "pod web-3" in condition(firebreak, "Contained")["message"]
    assert KEY not in fake.get("Pod", "shop", "web-3")["metadata"]["labels"]


async def test_a_watch_that_may_not_be_had_stops_nothing(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.faults.add(Fault(when=lambda c: c.verb == "watch" and c.resource == "pods", how=Answer(403)))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        take_off(fake)
        before = len(fake.calls)
        firebreak.controller.wake(UID)  # as the resync does
        await put_on(fake, before)


async def test_what_was_missed_while_a_watch_was_broken_is_seen_in_the_list_after_it(
    fake: FakeApi, store: EvidenceStore
) -> None:
    async with contained(fake, store) as firebreak:
        before = len(fake.calls)
        fake.update("Incident", "shop", "shell", {"metadata": {"annotations": {"seen": "again"}}})
        fake.expire_watches("pods")
        take_off(fake)
        await put_on(fake, before)
        await firebreak.condition("shell", "Contained", "True")


async def test_incidents_of_one_namespace_share_their_watches_and_the_last_one_ends_them(
    fake: FakeApi, store: EvidenceStore
) -> None:
    async with contained(fake, store) as firebreak:
        fake.put(incident("other", "other-uid", target={"pod": "web-2"}))
        await firebreak.until("other", lambda s: bool((s.get("evidence") or {}).get("seal")))
        watches = [c.path for c in fake.calls if c.verb == "watch"]
        running = [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")]
        for name in ("shell", "other"):
            fake.update("Incident", "shop", name, {"spec": {"state": "Closed", "verdict": "Exercise"}})
            await firebreak.until(name, lambda s: s.get("phase") == "Closed")
        async with asyncio.timeout(5):
            await asyncio.gather(*running, return_exceptions=True)  # they end by themselves
    assert len(running) == 4  # pods, policies, both kinds of bindings
    pods = "/api/v1/namespaces/shop/pods"
    assert sorted(path for path in watches if path in {pods, POLICIES_PATH}) == [pods, POLICIES_PATH]


async def test_at_rest_nothing_is_written_and_nothing_is_asked(fake: FakeApi, store: EvidenceStore) -> None:
    async with contained(fake, store, playbook="unattended") as firebreak:
        fake.put(web_pod("beside", labels={"app": "other"}))  # somebody else's, and nothing to us
        fake.update("Pod", "shop", "web-1", {"status": {"phase": "Running", "podIP": "10.0.0.7"}})
        fake.put(incident("marker", "marker-uid", mode="Plan"))
        before = len(fake.calls)
        await firebreak.until("marker", lambda s: s.get("phase") == "Planned")
        after = fake.calls[before:]
    assert [c.line for c in after if c.is_write and "/incidents/shell" in c.path] == []
    assert [c.line for c in after if "Lease" not in c.line and KEY in c.line] == []


async def test_a_fight_is_taken_up_less_and_less_eagerly() -> None:
    fights = Fights()
    assert [fights.again("x", 10.0) for _ in range(EAGER - 1)] == [1, 2, 3, 4, 5]
    assert fights.wait("x", 10.0) == 0
    fights.again("x", 10.0)
    assert 0 < fights.wait("x", 10.0) <= 0.5
    for _ in range(20):
        fights.again("x", 10.0)
    assert 9 < fights.wait("x", 10.0) <= 10
    assert fights.wait("another", 10.0) == 0


async def test_an_endless_fight_is_named_and_gets_slower(fake: FakeApi, store: EvidenceStore) -> None:
    async with contained(fake, store) as firebreak:
        case = firebreak.controller.cases.get(UID)
        assert case
        for _ in range(EAGER + 8):
            case.fights.again("patch Pod shop/web-1 (quarantine)", 10.0)
        take_off(fake)
        found = await firebreak.condition("shell", "Contained", "False", "KeepsChanging")
    (needs,) = [c["message"] for c in found["status"]["conditions"] if c["type"] == "ActionRequired"]
    assert "find out who keeps undoing the cut" in needs
    assert KEY not in fake.get("Pod", "shop", "web-1")["metadata"]["labels"]
