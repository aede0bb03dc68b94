"""What happens after a step has ended: pods join late, start late, and people undo what was done."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fake_api import FakeApi, Fault, Hold
from firebreak.evidence.store import EvidenceStore
from harness import PATIENCE, replica
from world import ACCOUNT, ALICE, APP_WEB, OLD_PASSWORD, UID, incident, shop, web_pod

Json = dict[str, Any]

BESIDE = {"events", "subjectaccessreviews.authorization.k8s.io", "selfsubjectaccessreviews.authorization.k8s.io"}
LOOK = "GET /api/v1/namespaces/shop/pods"


async def test_no_rights_are_called_revoked_before_any_account_is_known(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(target={"pod": "web-9"}, playbook="unattended"))
        await firebreak.condition("shell", "IdentityContained", "False", "TargetNotFound")
        assert fake.get("RoleBinding", "shop", "web-reader")["subjects"] == [ACCOUNT, ALICE]
        fake.put(web_pod("web-9"))
        firebreak.controller.wake(UID)
        await firebreak.condition("shell", "IdentityContained", "True", "Revoked")
    assert fake.get("RoleBinding", "shop", "web-reader")["subjects"] == [ALICE]


async def test_the_account_of_a_pod_that_joins_after_the_revocation_is_revoked_too(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": "shop"}})
    binding = fake.get("RoleBinding", "shop", "web-reader")
    subjects = [{"kind": "ServiceAccount", "name": "other", "namespace": "shop"}]
    fake.put({**binding, "metadata": {"name": "other-reader", "namespace": "shop"}, "subjects": subjects})
    async with replica(fake, store) as firebreak:
        fake.put(incident(target=APP_WEB, playbook="unattended"))
        await firebreak.condition("shell", "IdentityContained", "True")
        await firebreak.condition("shell", "EvidencePreserved", "False", "Incomplete")
        late = web_pod("web-3")
        late["spec"]["serviceAccountName"] = "other"
        fake.put(late)
        await firebreak.until("shell", lambda s: s["steps"]["revoke"].get("pods") == 3)
        await firebreak.condition("shell", "IdentityContained", "True", "Revoked")
    assert not fake.get("RoleBinding", "shop", "other-reader").get("subjects")


async def test_a_right_that_somebody_puts_back_is_noticed_named_and_taken_away_again(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        assert fake.get("RoleBinding", "shop", "web-reader")["subjects"] == [ALICE]
        manager = {"manager": "argocd-controller", "time": "2026-11-21T12:00:00Z", "fieldsV1": {"f:subjects": {}}}
        restored = {"subjects": [ACCOUNT], "metadata": {"managedFields": [manager]}}
        fake.update("RoleBinding", "shop", "web-reader", restored)
        words = "takes shop/web out of Role reader, into which argocd-controller had put it back"
        await firebreak.until("shell", lambda s: why(s) == (words, "Done"))
        await firebreak.condition("shell", "IdentityContained", "True", "Revoked")
    assert not fake.get("RoleBinding", "shop", "web-reader").get("subjects")


def questions(fake: FakeApi) -> int:
    return len([call for call in fake.calls if call.resource == "subjectaccessreviews"])


async def test_a_look_under_way_when_the_resync_comes_is_not_made_again(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    answer = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "subjectaccessreviews", how=Hold(answer), times=1))
    async with replica(fake, store) as firebreak:
        runs = partial(
            firebreak.tools.metrics.registry.get_sample_value, "firebreak_step_seconds_count", {"step": "revoke"}
        )
        fake.put(incident(playbook="unattended"))
        async with asyncio.timeout(PATIENCE):
            await fake.called(lambda call: call.resource == "subjectaccessreviews")
            firebreak.controller.wake_all()
            answer.set()
            await firebreak.condition("shell", "IdentityContained", "True", "Revoked")
            while (runs() or 0) < 2:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0)
        assert questions(fake) == 26  # two that the binding gave, and those that are always asked


async def test_what_a_group_may_is_asked_once_for_no_patience_changes_it(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    binding = fake.get("RoleBinding", "shop", "web-reader")
    everybody = {"kind": "Group", "name": "system:serviceaccounts:shop", "apiGroup": "rbac.authorization.k8s.io"}
    fake.put({**binding, "metadata": {"name": "everybody", "namespace": "shop"}, "subjects": [everybody]})
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.condition("shell", "IdentityContained", "False", "RightsRemain")
        assert questions(fake) == 26


async def test_a_right_that_was_put_back_while_nobody_led_is_taken_away_as_soon_as_somebody_does(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """The next leader sees it in its first list, before it has opened the case: it must not wait for the slow look."""
    shop(fake)
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
    fake.update("RoleBinding", "shop", "web-reader", {"subjects": [ACCOUNT]})
    async with replica(fake, store, name="two"), asyncio.timeout(10):
        await fake.until(lambda: not fake.get("RoleBinding", "shop", "web-reader").get("subjects"))


def why(status: Json) -> tuple[str, str]:
    """Why the only Change of the revocation is made, and where it stands."""
    (report,) = status["steps"]["revoke"]["changes"].values()
    return report["why"], report["state"]


async def test_looking_again_at_what_is_done_writes_nothing(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with replica(fake, store, look_again_seconds=0.2) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        before = firebreak.incident("shell")
        seen = len(fake.calls)  # Events of what came before are posted in the background
        asked = len([call for call in fake.calls if call.resource.startswith("subjectaccessreviews")])
        await fake.called(lambda call: call.resource.startswith("subjectaccessreviews"), 2 * asked)
        assert [call.line for call in fake.calls[seen:] if call.is_write and call.resource not in BESIDE] == []
        assert firebreak.incident("shell") == before


async def test_a_pod_that_has_not_started_is_waited_for_and_its_first_start_is_no_restart(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    pod = web_pod("web-1", creationTimestamp=datetime(2026, 11, 21, 12, tzinfo=UTC).isoformat())
    started, pod["status"] = pod["status"], {"phase": "Pending"}
    fake.put(pod)
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.until(
            "shell", lambda s: "not started yet" in s.get("steps", {}).get("capture", {}).get("message", "")
        )
        fake.update("Pod", "shop", "web-1", {"status": started})
        sealed = await firebreak.until("shell", lambda s: bool(s.get("evidence", {}).get("seal")))
    assert [gap for gap in sealed["status"]["evidence"]["gaps"] if "Restarted" in gap or "log" in gap] == []
    kept = [info.key for info in await store.list("incidents") if "/objects/" in info.key]
    assert any("/logs/c.current.log" in key for key in kept)


async def test_while_a_pod_is_about_to_start_the_others_are_sealed_once_and_the_incident_stays_busy(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    soon = web_pod("web-3", creationTimestamp=datetime(2026, 11, 21, 12, tzinfo=UTC).isoformat())
    started, soon["status"] = soon["status"], {"phase": "Pending"}
    fake.put(soon)

    def waits(status: Json) -> bool:
        return bool(status.get("steps", {}).get("capture", {}).get("message") == "not started yet: web-3")

    async with replica(fake, store) as firebreak:
        fake.put(incident(target=APP_WEB))
        found = (await firebreak.until("shell", waits))["status"]
        assert {c["type"]: c["reason"] for c in found["conditions"] if c["type"] in {"Ready", "Reconciling"}} == {
            "Ready": "Responding",
            "Reconciling": "Running",
        }
        seals = [info.key for info in await store.list("incidents") if "/manifest" in info.key]
        before, looks = found["steps"]["capture"], [call for call in fake.calls if call.line == LOOK]
        await fake.called(lambda call: call.line == LOOK, len(looks) + 4)
        assert [info.key for info in await store.list("incidents") if "/manifest" in info.key] == seals
        assert firebreak.incident("shell")["status"]["steps"]["capture"] == before
        fake.update("Pod", "shop", "web-3", {"status": started})
        done = await firebreak.until("shell", lambda s: s["steps"]["capture"]["state"] == "Partial")
    assert {pod["name"]: pod["sealed"] for pod in done["status"]["pods"].values()} == {
        "web-1": True,
        "web-2": True,
        "web-3": True,
    }
    assert done["status"]["steps"]["capture"]["attempts"] == 2


async def test_a_secret_that_a_job_still_uses_is_left_to_a_person(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "report", "uid": "job-uid", "controller": True}
    fake.put(web_pod("report-1", labels={"job-name": "report"}, ownerReferences=[owner]))
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        found = await firebreak.condition("shell", "SecretsRotated", "False", "ByHand")
    change = found["status"]["steps"]["rotate"]["changes"]["patch Secret shop/db"]
    assert "Job report uses it too" in change["why"]
    assert fake.get("Secret", "shop", "db")["data"] == {"password": OLD_PASSWORD}
