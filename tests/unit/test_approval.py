"""Approval on the fake API server: what waits goes on when enough people said yes to that very plan, and not before."""

import asyncio
import time
from typing import Any

from fake_api import Answer, FakeApi, Fault, Hold, Obj
from firebreak.engine.cases import PLAN_AGE
from firebreak.engine.jobs import JobKey
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.errors import Gone
from harness import PATIENCE, replica
from world import ALICE, BINDING_PATH, UID, approval, incident, shop

REVOKE = "patch RoleBinding shop/web-reader (shop/web)"
ALICE_LEFT = [ALICE]


def playbook(name: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Playbook",
        "metadata": {"name": name},
        "spec": {"approval": "WhenRisky", "steps": [{"revoke": {}}], **spec},
    }


def waits(status: Obj) -> bool:
    return bool(status.get("steps", {}).get("revoke", {}).get("state") == "Waiting")


def revoked(status: Obj) -> bool:
    return bool(status.get("steps", {}).get("revoke", {}).get("state") == "Done")


def subjects(fake: FakeApi) -> list[Obj]:
    found: list[Obj] = fake.get("RoleBinding", "shop", "web-reader")["subjects"]
    return found


def of_revoke(found: Obj) -> Obj:
    step: Obj = found["status"]["steps"]["revoke"]
    return step


async def test_what_waits_goes_on_when_a_person_approved_that_plan(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        before = of_revoke(await firebreak.until("shell", waits))
        assert before["message"] == "1 Change waits for a person: firebreak approve shell revoke -n shop"
        assert len(subjects(fake)) == 2
        fake.put(approval(before["digest"]))
        after = of_revoke(await firebreak.until("shell", revoked))
    assert subjects(fake) == ALICE_LEFT
    assert (after["approvedBy"], after.get("digest"), after["changes"][REVOKE]["approved"]) == (["ann"], None, True)


async def test_what_was_approved_is_never_asked_for_again_while_it_is_done(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        fake.put(approval(digest))
        await firebreak.until("shell", revoked)
    asked = [change.obj.get("status", {}).get("waitingFor", "") for change in fake.history("Incident")]
    begun = [change.obj.get("status", {}).get("steps", {}).get("revoke", {}) for change in fake.history("Incident")]
    at = next(n for n, step in enumerate(begun) if step.get("approvedBy"))
    assert [words for words in asked[at:] if "revoke" in words] == []


async def test_the_plan_has_the_same_digest_however_often_it_is_made(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        before = of_revoke(await firebreak.until("shell", waits))["digest"]
        binding = fake.get("RoleBinding", "shop", "web-reader")
        fake.put({**binding, "metadata": {**binding["metadata"], "labels": {"noise": "yes"}}})
    async with replica(fake, store, name="two") as firebreak:
        fake.put(approval(before))
        await firebreak.until("shell", revoked)
    assert subjects(fake) == ALICE_LEFT


async def test_a_plan_that_changed_since_waits_again_and_says_what_differs(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        before = of_revoke(await firebreak.until("shell", waits))["digest"]
        binding = fake.get("RoleBinding", "shop", "web-reader")
        fake.put({**binding, "subjects": [*binding["subjects"], {"kind": "User", "name": "late"}]})
        fake.put(approval(before))
        now = of_revoke(await firebreak.until("shell", lambda s: "another plan" in s["steps"]["revoke"]["message"]))
        assert now["message"] == (
            "1 Change waits for a person: firebreak approve shell revoke -n shop; "
            f"the plan is another than before (altered: {REVOKE}); "
            f"the approval of ann is for another plan (altered: {REVOKE})"
        )
        assert (now["superseded"], len(subjects(fake))) == (before, 3)
        fake.put(approval(now["digest"]))
        await firebreak.until("shell", revoked)
    assert subjects(fake) == [*ALICE_LEFT, {"kind": "User", "name": "late"}]


async def test_a_plan_that_waits_is_made_anew_at_the_resync_when_it_is_old_or_an_approval_may_have_been_missed(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """A thousand incidents that wait would keep a core busy with plans that nobody asked for."""
    shop(fake)
    async with replica(fake, store) as firebreak, asyncio.timeout(PATIENCE):
        jobs, cases, key = firebreak.controller.jobs, firebreak.controller.cases, JobKey(UID, "revoke")

        def made_anew() -> bool:
            firebreak.controller.wake(UID, resync=True)
            return key in jobs

        async def waiting(age: float) -> None:
            while key in jobs:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0)
            case = cases.get(UID)
            assert case
            case.waiting["revoke"] = time.monotonic() - age

        fake.put(incident())
        await firebreak.until("shell", waits)
        await waiting(-PATIENCE)  # made just now, however slow the machine is
        assert not made_anew()
        cases.approvals(Gone("WATCH", "the watch broke"))
        assert made_anew()
        await waiting(-PATIENCE)
        cases.approvals(None)  # it is followed again, but not from where it broke
        assert made_anew()
        await waiting(-PATIENCE)
        cases.approvals(None)
        assert not made_anew()
        await waiting(PLAN_AGE * 2)
        assert made_anew()


async def test_killed_between_yes_and_done_it_goes_on_without_asking_again(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.faults.add(Fault(when=lambda call: (call.method, call.path) == ("PATCH", BINDING_PATH), how=Answer(500)))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        fake.put(approval(digest))
        begun = of_revoke(
            await firebreak.until("shell", lambda s: s["steps"]["revoke"]["changes"][REVOKE]["state"] == "Intended")
        )
        assert begun["changes"][REVOKE]["approved"] is True
        assert len(subjects(fake)) == 2
    fake.delete("Approval", "shop", f"shell-revoke-ann-{digest[7:15]}")
    fake.faults.clear()
    async with replica(fake, store, name="two") as firebreak:
        await firebreak.until("shell", revoked)
    assert subjects(fake) == ALICE_LEFT


async def test_two_persons_are_two_names(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(playbook("two", approvers={"persons": 2}))
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="two"))
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        fake.put(approval(digest))
        fake.put(approval(digest) | {"metadata": {"name": "again", "namespace": "shop"}})
        half = of_revoke(await firebreak.until("shell", lambda s: "approved by ann" in s["steps"]["revoke"]["message"]))
        assert half["message"] == (
            "1 Change waits for a person: firebreak approve shell revoke -n shop; "
            "approved by ann, and one more person has to"
        )
        assert len(subjects(fake)) == 2
        fake.put(approval(digest, "ben"))
        done = of_revoke(await firebreak.until("shell", revoked))
    assert done["approvedBy"] == ["ann", "ben"]


async def test_who_opened_it_does_not_approve_where_the_playbook_says_so(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(playbook("other", approvers={"notOpener": True}))
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="other", openedBy="ann"))
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        fake.put(approval(digest))
        await firebreak.until("shell", lambda s: "ann, who opened" in s["steps"]["revoke"]["message"])
        assert len(subjects(fake)) == 2
        fake.put(approval(digest, "ben"))
        await firebreak.until("shell", revoked)


async def test_without_a_name_of_who_opened_it_nobody_is_known_to_be_another(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.put(playbook("other", approvers={"notOpener": True}))
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="other"))
        found = of_revoke(await firebreak.until("shell", waits))
        fake.put(approval(found["digest"], "ben"))
        await firebreak.controller.relist()
    assert found["message"] == (
        "1 Change waits for a person: firebreak approve shell revoke -n shop; the playbook wants another person than "
        "who opened the incident, and spec.openedBy does not say who did: open a new one with `firebreak contain`, "
        "which sets it"
    )
    assert len(subjects(fake)) == 2


async def test_the_account_of_the_incident_approves_nothing(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        for suspect in ("system:serviceaccount:shop:web", "system:serviceaccount:firebreak:firebreak"):
            fake.put(approval(digest, suspect))
        fake.put(approval(digest, "ann", about="shell", step="rotate"))
        fake.put(approval("sha256:" + "0" * 64, "ben"))
        await firebreak.until("shell", lambda s: "approval of ben" in s["steps"]["revoke"]["message"])
    assert len(subjects(fake)) == 2


async def test_an_approval_of_an_earlier_incident_of_the_same_name_counts_for_nothing(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(uid="99999999-2222-3333-4444-555555555555"))
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
    fake.delete("Incident", "shop", "shell")
    fake.put(approval(digest))
    async with replica(fake, store, name="two") as firebreak:
        fake.put(incident(uid=UID))
        now = of_revoke(await firebreak.until("shell", waits))
    assert now["digest"] != digest
    assert len(subjects(fake)) == 2


async def test_a_crowd_of_large_approvals_does_not_keep_a_good_one_from_being_counted(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """More than one answer may hold, of the very plan and of others, before and behind the good one by name."""
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        for n in range(60):
            one = approval(digest if n % 2 else "sha256:" + "0" * 64, "system:serviceaccount:shop:web")
            one["metadata"] |= {"name": f"{'az'[n // 30]}-{n}", "annotations": {"large": "x" * 2**20}}
            fake.put(one)
        fake.put(approval(digest))
        found = of_revoke(await firebreak.until("shell", revoked))
    assert (subjects(fake), found["approvedBy"]) == (ALICE_LEFT, ["ann"])


async def test_the_watch_of_approvals_begins_with_one_of_those_that_exist_and_outlives_a_break(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    for n in range(60):  # more than may be read at once
        large = {"name": f"old-{n}", "namespace": "shop", "annotations": {"large": "x" * 2**20}}
        fake.put(approval("sha256:" + "0" * 64, about="other") | {"metadata": large})
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        digest = of_revoke(await firebreak.until("shell", waits))["digest"]
        fake.drop_watches("approvals")
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.verb == "watch" and c.resource == "approvals", times=2)
        fake.put(approval(digest))
        await firebreak.until("shell", revoked)
    begun = [call for call in fake.calls if call.resource == "approvals" and not call.namespace]
    assert [(c.verb, c.query.get("limit")) for c in begun] == [("list", "1"), ("watch", None), ("watch", None)]


# --- from Plan to Respond


async def planned(fake: FakeApi, store: EvidenceStore, name: str) -> Obj:
    """Show the plan, and stop."""
    async with replica(fake, store) as firebreak:
        fake.put(incident(mode="Plan", playbook=name))
        return await firebreak.until("shell", lambda s: s.get("phase") == "Planned")


async def test_the_plan_that_was_shown_is_carried_out_by_the_playbook_s_rule(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    shown = of_revoke(await planned(fake, store, "unattended"))["shown"]
    fake.update("Incident", "shop", "shell", {"spec": {"mode": "Respond"}})
    async with replica(fake, store, name="two") as firebreak:
        found = await firebreak.until("shell", lambda s: revoked(s) and s.get("phase") == "Responded")
    assert shown.startswith("sha256:")
    assert subjects(fake) == ALICE_LEFT
    steps = found["status"]["steps"]
    assert [steps[name].get("shown") for name in ("revoke", "rotate", "replace")] == [None] * 3


async def test_a_plan_other_than_the_one_shown_stops_and_says_what_differs(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    await planned(fake, store, "unattended")
    late = {**fake.get("RoleBinding", "shop", "web-reader")}
    late["metadata"] = {"name": "late", "namespace": "shop"}
    fake.put(late)
    fake.update("Incident", "shop", "shell", {"spec": {"mode": "Respond"}})
    async with replica(fake, store, name="two") as firebreak:
        found = await firebreak.condition("shell", "Contained", "True")
        found = await firebreak.until("shell", waits)
        assert of_revoke(found)["message"] == (
            "2 Changes wait for a person: firebreak approve shell revoke -n shop; this is not the plan that mode Plan "
            "showed (new: patch RoleBinding shop/late (shop/web))"
        )
        assert len(subjects(fake)) == 2
        fake.put(approval(of_revoke(found)["digest"]))
        done = of_revoke(await firebreak.until("shell", revoked))
    assert subjects(fake) == ALICE_LEFT
    assert (done.get("shown"), done["approvedBy"]) == (None, ["ann"])


async def test_a_step_that_was_not_shown_asks_whatever_the_new_playbook_says(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.put(playbook("cut-only", steps=[{"quarantine": {}}]))
    await planned(fake, store, "cut-only")
    fake.update("Incident", "shop", "shell", {"spec": {"mode": "Respond", "playbook": "unattended"}})
    async with replica(fake, store, name="two") as firebreak:
        found = of_revoke(await firebreak.until("shell", waits))
    assert f"showed (new: {REVOKE})" in found["message"]
    assert len(subjects(fake)) == 2


async def test_a_plan_may_be_approved_before_it_is_to_be_carried_out(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    digest = of_revoke(await planned(fake, store, "standard"))["digest"]
    fake.put(approval(digest))
    fake.update("Incident", "shop", "shell", {"spec": {"mode": "Respond"}})
    async with replica(fake, store, name="two") as firebreak:
        found = await firebreak.until("shell", revoked)
    assert of_revoke(found)["approvedBy"] == ["ann"]


async def test_a_plan_that_is_still_being_made_when_people_say_respond_is_not_written(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    gate = asyncio.Event()
    fake.faults.add(Fault(when=lambda c: c.verb == "list" and c.resource == "secrets", how=Hold(gate), times=1))
    async with replica(fake, store) as firebreak:
        fake.put(incident(mode="Plan", playbook="unattended"))
        await fake.called(lambda c: c.verb == "list" and c.resource == "secrets")
        fake.update("Incident", "shop", "shell", {"spec": {"mode": "Respond"}})
        await firebreak.condition("shell", "Contained", "True")
        gate.set()
        found = await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
    assert {
        name: step["state"] for name, step in found["status"]["steps"].items() if name != "capture"
    } == dict.fromkeys(("quarantine", "revoke", "rotate", "replace"), "Done")
