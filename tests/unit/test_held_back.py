"""Guard rails in the engine, on the fake API server: nothing is cut, evidence is preserved, and a person decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fake_api import Answer, FakeApi, Fault, Obj
from firebreak.evidence.store import EvidenceStore
from harness import Replica, replica
from world import (
    APP_WEB,
    BINDING_PATH,
    KEY,
    POD_PATH,
    POLICIES_PATH,
    UID,
    approval,
    incident,
    playbook,
    service,
    shop,
    web_pod,
)


def webhook(namespace: str, name: str) -> Obj:
    hook = {"name": "policy.example.com", "clientConfig": {"service": {"namespace": namespace, "name": name}}}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": "policy"}, "webhooks": [hook]}


@asynccontextmanager
async def guarding(fake: FakeApi, store: EvidenceStore, **selector: str) -> AsyncIterator[Replica]:
    """A replica that has read which pods stand behind a webhook: those with these labels."""
    fake.put(service("policy", **selector))
    fake.put(webhook("shop", "policy"))
    async with replica(fake, store) as firebreak:
        await firebreak.tools.rails.refresh(firebreak.tools.api)
        yield firebreak


def cuts(fake: FakeApi) -> list[str]:
    """What was done to the network and to pods."""
    return [c.line for c in fake.writes if "/pods/" in c.path or c.path == POLICIES_PATH]


async def sealed(firebreak: Replica, name: str = "shell", namespace: str = "shop") -> Obj:
    return await firebreak.until(name, lambda s: bool((s.get("evidence") or {}).get("seal")), namespace)


async def test_a_pod_of_kube_system_is_preserved_and_not_cut(fake: FakeApi, store: EvidenceStore) -> None:
    pod = web_pod("coredns-1")
    fake.put({**pod, "metadata": {**pod["metadata"], "namespace": "kube-system"}})
    fake.put(playbook("unattended"))
    async with replica(fake, store) as firebreak:
        raw = incident(target={"pod": "coredns-1"}, playbook="unattended")
        fake.put({**raw, "metadata": {**raw["metadata"], "namespace": "kube-system"}})
        found = (await sealed(firebreak, namespace="kube-system"))["status"]
    (contained,) = [c for c in found["conditions"] if c["type"] == "Contained"]
    assert (contained["status"], contained["reason"]) == ("False", "Protected")
    assert "kubectl patch incident shell -n kube-system" in contained["message"]
    assert found["heldBack"] == "Protected"
    assert set(found["steps"]) == {"quarantine", "capture"}  # nothing is revoked, rotated or replaced
    assert found["waitingFor"].startswith("decide about what is protected")
    assert {c["type"]: c["status"] for c in found["conditions"]}["Ready"] == "True"
    assert cuts(fake) == []


async def test_who_stands_behind_a_webhook_is_spared_by_name_without_a_read_before_the_cut(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with guarding(fake, store, app="web") as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "False", "Protected")
        assert cuts(fake) == []
        fake.update("Incident", "shop", "shell", {"spec": {"overrides": ["Protected"]}})
        found = await firebreak.condition("shell", "Contained", "True", "Enforced")
    assert "heldBack" not in found["status"]
    assert cuts(fake)[:2] == [f"PATCH {POD_PATH}", f"POST {POLICIES_PATH}"]


async def test_of_a_target_that_grows_the_protected_pods_are_left_and_named(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.put(web_pod("policy-1", labels={"app": "web", "role": "policy"}))
    async with guarding(fake, store, role="policy") as firebreak:
        fake.put(incident(target=APP_WEB, playbook="unattended"))
        await firebreak.condition("shell", "Contained", "False", "Protected")
        found = (await sealed(firebreak))["status"]
    assert sorted(found["held"]) == ["web-1", "web-2"]
    assert sorted(pod["name"] for pod in found["pods"].values()) == ["policy-1", "web-1", "web-2"]
    assert KEY not in fake.get("Pod", "shop", "policy-1")["metadata"]["labels"]
    assert [c.line for c in fake.writes if c.path == BINDING_PATH] == []


async def test_what_cannot_be_read_about_webhooks_stops_nothing_and_keeps_what_was_known(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with guarding(fake, store, app="web") as firebreak:
        rails = firebreak.tools.rails
        assert set(rails.known.pods) == {("shop", "web-1"), ("shop", "web-2")}
        fake.faults.add(Fault(when=lambda c: c.resource == "services", how=Answer(403)))
        await rails.refresh(firebreak.tools.api)
    assert set(rails.known.pods) == {("shop", "web-1"), ("shop", "web-2")}


async def test_an_empty_service_waits_for_a_person_and_evidence_does_not(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(service("web", app="web"))
    async with replica(fake, store) as firebreak:
        fake.put(incident(target=APP_WEB))
        found = (await firebreak.condition("shell", "Contained", "False", "AwaitingApproval"))["status"]
        await sealed(firebreak)
        assert cuts(fake) == []
        step = found["steps"]["quarantine"]
        assert step["message"] == (
            "every pod behind Service web would be cut off; 1 Change waits for a person: "
            "firebreak approve shell quarantine -n shop"
        )
        assert [c["state"] for c in step["changes"].values()] == ["Waiting"]
        fake.put(web_pod("web-3"))  # pods come and go: what was approved is the cut of all that the target means
        fake.put(approval(step["digest"], step="quarantine"))
        found = (await firebreak.condition("shell", "Contained", "True", "Enforced"))["status"]
    assert (found["held"], found["steps"]["quarantine"]["approvedBy"]) == (["web-1", "web-2", "web-3"], ["ann"])
    assert {c["state"] for c in found["steps"]["quarantine"]["changes"].values()} == {"Done"}
    assert not {"digest", "heldBack"} & {*found["steps"]["quarantine"], *found}


async def test_a_service_that_keeps_a_pod_a_playbook_that_asks_nobody_and_a_named_pod_wait_for_nobody(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.put(service("web", app="web"))
    async with replica(fake, store) as firebreak:
        fake.put(incident("named", "named-uid"))
        await firebreak.condition("named", "Contained", "True")
        fake.put(incident("unattended", "unattended-uid", target=APP_WEB, playbook="unattended"))
        await firebreak.condition("unattended", "Contained", "True")
        fake.put(web_pod("db-1", labels={"app": "db"}))
        fake.put(web_pod("db-2", labels={"app": "db", "canary": "yes"}))
        fake.put(service("db", app="db"))
        fake.put(incident("canary", "canary-uid", target={"selector": {"matchLabels": {"canary": "yes"}}}))
        await firebreak.condition("canary", "Contained", "True")


def storm(fake: FakeApi, number: int, **spec: object) -> None:
    for n in range(number):
        fake.put(web_pod(f"storm-{n}", labels={"app": "storm"}))
        fake.put(incident(f"alert-{n}", f"alert-uid-{n}", target={"pod": f"storm-{n}"}, source="falco", **spec))


async def test_a_storm_of_alerts_is_cut_off_at_the_bound_and_a_person_never(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with replica(fake, store, breaker_namespace=2, breaker_reserve=1) as firebreak:
        storm(fake, 3)
        await firebreak.condition("alert-1", "Contained", "True")
        found = (await firebreak.condition("alert-2", "Contained", "False", "BreakerOpen"))["status"]
        await sealed(firebreak, "alert-2")
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        fake.put(web_pod("critical-1", labels={}))
        raw = incident("critical", "c-uid", target={"pod": "critical-1"}, source="falco", severity="Critical")
        fake.put(raw)
        await firebreak.condition("critical", "Contained", "True")
        held_back = firebreak.tools.metrics.registry.get_sample_value(
            "firebreak_held_back_total", {"rail": "BreakerOpen"}
        )
        async with asyncio.timeout(5):
            await fake.called(lambda c: bool(c.body) and "BreakerOpen" in str((c.body or {}).get("message")))
    assert found["waitingFor"].startswith("decide whether to cut: the breaker is open")
    assert KEY not in fake.get("Pod", "shop", "storm-2")["metadata"]["labels"]
    assert held_back == 1


async def test_what_the_breaker_decided_outlives_a_restart_and_a_person_may_override_it(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with replica(fake, store, breaker_namespace=1) as first:
        storm(fake, 2)
        before = (await first.condition("alert-1", "Contained", "False", "BreakerOpen"))["status"]["conditions"]
    async with replica(fake, store, breaker_namespace=100) as second:  # decided is decided
        second.controller.wake_all()
        await second.condition("alert-1", "Contained", "False", "BreakerOpen")
        fake.put(incident())
        await second.condition("shell", "Contained", "True")
        assert second.incident("alert-1")["status"]["conditions"] == before
        fake.update("Incident", "shop", "alert-1", {"spec": {"overrides": ["BreakerOpen"]}})
        await second.condition("alert-1", "Contained", "True")


async def test_what_another_replica_has_let_pass_is_not_said_to_be_held_back(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """Each replica counts for itself, and the quicker one's pod is cut: the status has to say so."""
    shop(fake)
    async with replica(fake, store, breaker_namespace=0) as firebreak:
        fake.update("Pod", "shop", "web-1", {"metadata": {"labels": {KEY: "true"}}})
        fake.put(incident(source="falco"))
        await firebreak.condition("shell", "Contained", "True")


async def test_a_follower_holds_back_what_the_leader_would(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(service("web", app="web"))
    async with replica(fake, store, leading=False, breaker_namespace=0) as follower:
        fake.put(incident("alert", "alert-uid", source="falco"))
        fake.put(incident("all", "all-uid", target=APP_WEB))
        fake.put(incident("shell", UID, target={"pod": "web-2"}))
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.line == f"PATCH {POD_PATH.replace('web-1', 'web-2')}")
            await fake.called(lambda c: c.resource == "services")
            await follower.controller.close()
    assert sorted(cuts(fake)) == [f"PATCH {POD_PATH.replace('web-1', 'web-2')}", f"POST {POLICIES_PATH}"]


async def test_a_plan_says_what_would_hold_the_cut_back(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.put(service("web", app="web"))
    async with replica(fake, store) as firebreak:
        fake.put(incident(mode="Plan", target=APP_WEB))
        found = await firebreak.until("shell", lambda s: s.get("phase") == "Planned")
    words = found["status"]["steps"]["quarantine"]["message"]
    assert words.startswith("a guard rail would hold it back (AwaitingApproval): every pod behind Service web")
