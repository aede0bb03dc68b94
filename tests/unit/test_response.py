"""The whole response on the fake API server: order, restarts, modes, and what never happens."""

import asyncio
import base64
from typing import Any

import pytest

from fake_api import Answer, Call, ExecSession, FakeApi, Fault, Obj, Stale, running_fake
from firebreak.engine.journal import SupersededError
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.errors import NotFound
from firebreak.kube.surroundings import surroundings
from firebreak.model.pod import Pod
from harness import replica
from world import (
    BINDING_PATH,
    KEY,
    OLD_PASSWORD,
    POD_PATH,
    POLICIES_PATH,
    SECRET_PATH,
    UID,
    incident,
    playbook,
    shop,
    web_pod,
)

LAST_WRITE = 26  # a whole response makes about as many; beyond the last one nobody dies, and nothing changes
CUT = {"timings": {"cutAt": "2026-11-21T11:59:00.000000Z"}, "pods": {}}
STATUS = "/apis/firebreak.dev/v1alpha1/namespaces/shop/incidents/shell/status"


def responded(status: Obj) -> bool:
    return status.get("phase") in {"Responded", "Waiting"}


def indices(fake: FakeApi, line: str) -> list[int]:
    return [call.n for call in fake.calls if call.line == line and call.status == 200]


def intent_of(change: str, step: str) -> Any:
    def holds(call: Call) -> bool:
        if call.path != STATUS or not call.body:
            return False
        changes = call.body["status"].get("steps", {}).get(step, {}).get("changes", {})
        return bool(changes.get(change, {}).get("state") == "Intended")

    return holds


async def test_what_overwrites_is_on_record_before_it_is_sent(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", responded)
    written = [
        call.n for call in fake.calls if intent_of("patch RoleBinding shop/web-reader (shop/web)", "revoke")(call)
    ]
    (sent,) = indices(fake, f"PATCH {BINDING_PATH}")
    assert written[0] < sent
    kept = fake.get("RoleBinding", "shop", "web-reader")["subjects"]
    assert kept == [{"kind": "User", "name": "alice"}]
    before = fake.get("Incident", "shop", "shell")["status"]["steps"]["revoke"]["changes"][
        "patch RoleBinding shop/web-reader (shop/web)"
    ]["before"]
    assert before["subjects"] == [
        {"kind": "ServiceAccount", "name": "web", "namespace": "shop"},
        {"kind": "User", "name": "alice"},
    ]


async def test_what_is_risky_waits_and_nothing_is_sent(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await firebreak.condition("shell", "ActionRequired", "True")
        await firebreak.condition("shell", "SecretsRotated", "False", "AwaitingApproval")
        await firebreak.condition("shell", "Ready", "True")
    assert indices(fake, f"PATCH {BINDING_PATH}") == []
    assert indices(fake, f"PATCH {SECRET_PATH}") == []
    assert "revoke" in fake.get("Incident", "shop", "shell")["status"]["waitingFor"]
    assert (
        found["status"]["steps"]["revoke"]["changes"]["patch RoleBinding shop/web-reader (shop/web)"]["state"]
        == "Waiting"
    )


async def test_no_secret_is_touched_before_the_seal(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", responded)
    sealed = [
        c.n for c in fake.calls if c.path == STATUS and c.body and c.body["status"].get("evidence", {}).get("seal")
    ]
    (rotated,) = indices(fake, f"PATCH {SECRET_PATH}")
    assert sealed[0] < rotated


async def test_no_secret_value_stands_in_status_events_or_evidence(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", responded)
    new = fake.get("Secret", "shop", "db")["data"]["password"]
    assert new != OLD_PASSWORD
    public = str(fake.get("Incident", "shop", "shell")) + str(fake.list("Event"))
    objects = [await store.read(info.key) for info in await store.list("incidents")]
    for value in (new, OLD_PASSWORD, base64.b64decode(new).decode(), "old-password", "literal-value-to-leave-out"):
        assert value not in public
        assert not any(value.encode() in data for data in objects)


async def test_plan_touches_nothing_but_its_own_status(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(mode="Plan"))
        found = (await firebreak.until("shell", lambda s: s.get("phase") == "Planned"))["status"]
    assert {call.path for call in fake.writes if call.resource != "events"} == {STATUS}
    planned = {name: sorted(step["changes"]) for name, step in found["steps"].items() if step.get("changes")}
    assert planned == {
        "quarantine": [
            f"create NetworkPolicy shop/firebreak-{UID}",
            "patch Pod shop/web-1 (detach)",
            "patch Pod shop/web-1 (quarantine)",
        ],
        "revoke": ["patch RoleBinding shop/web-reader (shop/web)"],
        "rotate": ["patch Deployment shop/web", "patch Secret shop/db"],
    }
    assert found["steps"]["revoke"]["changes"]["patch RoleBinding shop/web-reader (shop/web)"]["state"] == "Waiting"


async def test_preserve_changes_nothing_about_the_pod(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(mode="Preserve"))
        await firebreak.until("shell", lambda s: bool(s.get("evidence", {}).get("seal")))
        await firebreak.condition("shell", "Contained", "False", "NotRequested")
    assert {call.path for call in fake.writes if call.resource != "events"} == {STATUS}


async def test_closing_ends_the_work_and_keeps_the_quarantine(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        await firebreak.until("shell", lambda s: s.get("phase") == "Closed")
    assert fake.get("Pod", "shop", "web-1")["metadata"]["labels"][KEY] == "true"
    assert fake.find("NetworkPolicy", "shop", f"firebreak-{UID}")


async def test_a_spec_that_got_past_the_schema_stalls_with_the_fields_name(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(target={"pod": "web-1", "serviceAccount": "web"}, severity="Terrible"))
        found = (await firebreak.condition("shell", "Stalled", "True", "InvalidSpec"))["status"]
    assert "spec.severity" in found["message"]
    assert "spec.target" in found["message"]


async def test_an_unknown_playbook_still_contains_and_preserves(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="standrad"))
        await firebreak.condition("shell", "Contained", "True")
        found = await firebreak.condition("shell", "Stalled", "True")
        await firebreak.until("shell", lambda s: bool(s.get("evidence", {}).get("seal")))
    words = next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Stalled")
    assert "playbook 'standrad' does not exist" in words


async def test_one_incidents_failure_does_not_delay_anothers(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    broken = {"kind": "Incident", "apiVersion": "firebreak.dev/v1alpha1", "spec": {"target": 7}}
    broken["metadata"] = {"name": "broken", "namespace": "shop", "uid": "broken-uid"}
    async with replica(fake, store) as firebreak:
        fake.put(broken)
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")


async def run_until_dead_then_restart(n: int, *, effect: bool) -> Obj:
    """The whole playbook, the operator dead at the n-th write, another one started; the end state."""
    store = EvidenceStore.open("memory://")
    async with running_fake() as fake:
        shop(fake)
        dead = asyncio.Event()
        fake.crash_after(n, lambda _: dead.set(), effect=effect, counting=lambda call: call.is_write)
        async with replica(fake, store) as first:
            fake.put(incident(playbook="unattended"))
            done = asyncio.create_task(first.until("shell", responded))
            died = asyncio.create_task(dead.wait())
            await asyncio.wait({done, died}, return_when=asyncio.FIRST_COMPLETED)
            for task in (done, died):
                task.cancel()
            await asyncio.gather(done, died, return_exceptions=True)
        fake.faults.clear()
        async with replica(fake, store, name="two") as second:
            await second.until("shell", responded)
        rotations = {call.body["stringData"]["password"] for call in fake.writes if call.path == SECRET_PATH}
        status = fake.get("Incident", "shop", "shell")["status"]
        return {
            "conditions": {c["type"]: c["status"] for c in status["conditions"]},
            "steps": {name: step["state"] for name, step in status["steps"].items()},
            "labels": fake.get("Pod", "shop", "web-1")["metadata"]["labels"],
            "subjects": fake.get("RoleBinding", "shop", "web-reader")["subjects"],
            "values made for the secret": len(rotations) if effect else 1,
        }


@pytest.mark.parametrize("effect", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("n", range(1, LAST_WRITE + 1))
def test_killed_at_any_write_it_continues_to_the_same_end(n: int, *, effect: bool) -> None:
    end = asyncio.run(run_until_dead_then_restart(n, effect=effect))
    assert end == {
        "conditions": {
            "ActionRequired": "False",
            "Contained": "True",
            "EvidencePreserved": "False",
            "IdentityContained": "True",
            "NodeSuspect": "False",
            "Ready": "True",
            "Reconciling": "False",
            "Recovered": "True",
            "SecretsRotated": "True",
            "Stalled": "False",
        },
        "steps": {"quarantine": "Done", "capture": "Partial", "revoke": "Done", "rotate": "Done", "replace": "Done"},
        "labels": {KEY: "true", "quarantine": "true"},
        "subjects": [{"kind": "User", "name": "alice"}],
        "values made for the secret": 1,
    }


async def test_a_secret_that_reads_back_as_before_is_not_rotated_twice(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.settle()
    fake.faults.add(
        Fault(when=lambda call: call.verb == "get" and call.path == SECRET_PATH and rotated(fake), how=Stale(), times=1)
    )
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.condition("shell", "SecretsRotated", "True")
    assert [change.type for change in fake.history("Secret")] == ["ADDED", "MODIFIED"]


async def test_nobody_is_asked_to_bring_back_by_hand_what_is_back(fake: FakeApi, store: EvidenceStore) -> None:
    """Where the pod is detached while the replacing is planned, the plan says by hand and the look afterwards: back."""
    shop(fake)

    def plans_to_replace(call: Call) -> bool:
        steps = (fake.find("Incident", "shop", "shell") or {}).get("status", {}).get("steps", {})
        return call.line == "GET /api/v1/namespaces/shop/pods" and steps.get("rotate", {}).get("state") == "Done"

    fake.faults.add(Fault(when=lambda call: call.verb == "list" and plans_to_replace(call), how=Stale(), times=1))
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        found = (await firebreak.until("shell", responded))["status"]
    assert (found["steps"]["replace"]["state"], found["steps"]["replace"]["changes"]) == ("Done", {})
    assert "waitingFor" not in found


def rotated(fake: FakeApi) -> bool:
    return bool(fake.get("Secret", "shop", "db")["data"]["password"] != OLD_PASSWORD)


async def test_calls_of_a_whole_response_are_few(fake: FakeApi, store: EvidenceStore) -> None:
    """Numbers to watch: writes of one unattended response, all kinds, and what is read of the whole cluster."""
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", responded)
    assert len(indices(fake, f"PATCH {POD_PATH}")) == 2
    assert len([call for call in fake.writes if call.line == f"POST {POLICIES_PATH}"]) == 1
    assert len([call for call in fake.writes if call.path == STATUS]) <= 16
    bindings = [call for call in fake.calls if call.line == "GET /apis/rbac.authorization.k8s.io/v1/rolebindings"]
    listed = [call for call in bindings if call.verb == "list"]
    assert len(listed) <= 4  # to plan and to verify the revocation, to plan the rotation, and to begin the watch


async def test_naming_another_playbook_lets_what_waited_go_on(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "SecretsRotated", "False", "AwaitingApproval")
        fake.update("Incident", "shop", "shell", {"spec": {"playbook": "unattended"}})
        await firebreak.condition("shell", "SecretsRotated", "True")
        await firebreak.condition("shell", "IdentityContained", "True")
    assert fake.get("Incident", "shop", "shell")["status"]["playbook"]["name"] == "unattended"


async def test_a_playbook_that_appears_later_is_taken(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="late"))
        await firebreak.condition("shell", "Stalled", "True")
        fake.put(playbook("late"))
        firebreak.controller.wake(UID)
        await firebreak.condition("shell", "IdentityContained", "True")
        await firebreak.condition("shell", "Stalled", "False")


async def test_writing_the_status_asks_nothing_again(fake: FakeApi, store: EvidenceStore) -> None:
    """Our own status writes come back as events: they must not make a settled incident look at the world again."""
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", responded)
        before = len(fake.calls)
        fake.update("Incident", "shop", "shell", {"status": {"message": "written"}})
        marker = incident("marker", "77777777-2222-3333-4444-555555555555", mode="Plan")
        marker["metadata"]["namespace"] = "elsewhere"
        fake.put(marker)
        await firebreak.until("marker", lambda s: s.get("phase") == "Planned", namespace="elsewhere")
    asked = [call for call in fake.calls[before:] if call.namespace == "shop" and call.verb != "watch"]
    assert [call.line for call in asked if call.resource != "events"] == []


async def test_a_forged_owner_reference_reaches_no_other_object(fake: FakeApi, store: EvidenceStore) -> None:
    """The API server does not check an ownerReference's name: it is anybody's text, and no path."""
    shop(fake)
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bank"}})
    fake.put({**fake.get("Secret", "shop", "db"), "metadata": {"name": "victim", "namespace": "bank"}})
    for name in ("../../../../../../api/v1/namespaces/bank/secrets/victim", "web-5d", "..", ""):
        owner = {"apiVersion": "x/v1", "kind": "ReplicaSet", "name": name, "uid": "forged", "controller": True}
        fake.update("Pod", "shop", "web-1", {"metadata": {"ownerReferences": [owner]}})
        async with replica(fake, store) as firebreak:
            pod = Pod(fake.get("Pod", "shop", "web-1"))
            found = await surroundings(firebreak.tools.bindings, pod, {})
        assert found["owners"] == []
    assert not [call for call in fake.calls if call.namespace == "bank"]


async def test_a_binding_with_a_name_full_of_signs_is_revoked_like_any_other(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """RBAC allows names that mean something in a URL."""
    shop(fake)
    binding = fake.get("RoleBinding", "shop", "web-reader")
    for name in ("plain?dryRun=All", "gone#x", "a:b 100%"):
        fake.put({**binding, "metadata": {"name": name, "namespace": "shop"}})
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.condition("shell", "IdentityContained", "True")
    assert {b["metadata"]["name"]: b["subjects"] for b in fake.list("RoleBinding")} == {
        name: [{"kind": "User", "name": "alice"}] for name in ("plain?dryRun=All", "gone#x", "a:b 100%", "web-reader")
    }


async def test_hostile_containers_that_never_end_delay_nobody_elses_first_evidence(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """Copies of files have few slots; what vanishes first waits for none of them."""
    shop(fake)
    never = asyncio.Event()

    async def stall(session: ExecSession) -> None:
        await never.wait()

    fake.containers.on_exec = stall
    async with replica(fake, store, captures=1):
        fake.put(incident())
        async with asyncio.timeout(10):
            await fake.called(lambda call: call.resource == "pods/exec" and call.name == "web-1")
        fake.put(incident("second", "22222222-2222-3333-4444-555555555555", target={"pod": "web-2"}))
        async with asyncio.timeout(10):
            await fake.called(lambda call: call.resource == "pods/exec" and call.name == "web-2")


async def test_a_leader_never_cuts_again_what_was_closed_while_its_watch_was_broken(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        stale = fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        await firebreak.until("shell", lambda s: s.get("phase") == "Closed")
    fake.update("Pod", "shop", "web-1", {"metadata": {"labels": {KEY: None, "quarantine": None}}})
    async with replica(fake, store, leading=False, name="two") as late:
        late.controller.seen(stale, deleted=False)
        late.controller.lead(True)
        resync = asyncio.create_task(late.controller.resync(60))
        fake.put(incident("marker", "77777777-2222-3333-4444-555555555555", mode="Plan"))
        await late.until("marker", lambda s: s.get("phase") == "Planned")
        resync.cancel()
    assert KEY not in fake.get("Pod", "shop", "web-1")["metadata"].get("labels", {})


async def test_a_status_is_never_written_into_a_namesakes(fake: FakeApi, store: EvidenceStore) -> None:
    """A real API server does not refuse a status patch for a wrong uid; only the resourceVersion guards it."""
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        case = firebreak.controller.cases.get(UID)
        assert case
        fake.put(incident(uid="88888888-2222-3333-4444-555555555555", mode="Preserve"))
        with pytest.raises((NotFound, SupersededError)):
            await case.journal.write(lambda s: s.model_copy(update={"held": ["web-1", "web-9"]}))
    assert "web-9" not in fake.get("Incident", "shop", "shell").get("status", {}).get("held", [])


@pytest.mark.parametrize("path", ["networkpolicies", "rolebindings"])
async def test_a_right_taken_away_in_the_middle_is_said_and_no_last_true_stays(
    fake: FakeApi, store: EvidenceStore, path: str
) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        if path == "rolebindings":
            fake.faults.add(Fault(when=lambda c: c.resource == path, how=Answer(403)))
            fake.put(incident(playbook="unattended"))
            await firebreak.condition("shell", "IdentityContained", "False", "Refused")
        else:
            fake.put(incident())
            await firebreak.condition("shell", "Contained", "True")
            fake.faults.add(Fault(when=lambda c: c.resource == path, how=Answer(403)))
            firebreak.controller.wake(UID)
            await firebreak.condition("shell", "Contained", "Unknown", "CannotVerify")
        await firebreak.condition("shell", "Stalled", "True")


async def test_a_selector_is_cut_while_playbooks_cannot_be_read(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.faults.add(Fault(when=lambda c: c.resource == "playbooks", how=Answer(503)))
    async with replica(fake, store) as firebreak:
        fake.put(incident(target={"selector": {"matchLabels": {"app": "web"}}}))
        await firebreak.condition("shell", "Contained", "True")
        await firebreak.condition("shell", "Stalled", "True")


async def test_later_pods_are_cut_without_a_leader(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(incident(target={"selector": {"matchLabels": {"app": "web"}}}) | {"status": CUT})
    async with replica(fake, store, leading=False):
        async with asyncio.timeout(10):
            await fake.watched("pods")
        fake.put(web_pod("web-3"))
        async with asyncio.timeout(10):
            await fake.called(lambda call: call.verb == "patch" and call.name == "web-3")
    assert not [call for call in fake.calls if call.resource == "incidents/status"]
