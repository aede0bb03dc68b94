"""Containment, call by call, on an API server that writes down what it is asked."""

import asyncio
import json

import pytest

from fake_api import Answer, Call, FakeApi, Fault, Hold
from firebreak.evidence.store import EvidenceStore
from harness import replica
from world import KEY, POD_PATH, POLICIES_PATH, UID, incident, web_pod


def of(fake: FakeApi, since: int = 0) -> list[str]:
    return [call.line for call in fake.calls[since:] if call.verb != "watch"]


async def test_the_first_two_calls_contain(fake: FakeApi, store: EvidenceStore) -> None:
    """Nothing is read and nothing is written elsewhere before the label and the policy are on their way."""
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        before = len(fake.calls)
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
    label, policy = _first(fake, before)
    assert (label.line, policy.line) == (f"PATCH {POD_PATH}", f"POST {POLICIES_PATH}")
    assert label.body == {
        "metadata": {
            "labels": {KEY: "true", "quarantine": "true"},
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                "karpenter.sh/do-not-disrupt": "true",
            },
        }
    }
    assert policy.body["spec"] == {"podSelector": {"matchLabels": {KEY: "true"}}, "policyTypes": ["Ingress", "Egress"]}


def _first(fake: FakeApi, since: int) -> tuple[Call, Call]:
    first, second, *_ = [call for call in fake.calls[since:] if call.verb != "watch"]
    return first, second


async def test_the_two_calls_run_at_the_same_time_and_nothing_else_does(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    release = asyncio.Event()
    async with replica(fake, store) as firebreak:
        before = len(fake.calls)
        fake.faults.add(
            Fault(when=lambda c: c.path in {POD_PATH, POLICIES_PATH} and c.is_write, how=Hold(release), times=2)
        )
        fake.put(incident())
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.line == f"POST {POLICIES_PATH}")
        assert of(fake, before) == [f"PATCH {POD_PATH}", f"POST {POLICIES_PATH}"]
        release.set()
        await firebreak.condition("shell", "Contained", "True")


async def test_the_pod_is_detached_after_the_cut_and_its_labels_are_on_record(
    fake: FakeApi, store: EvidenceStore
) -> None:
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        status = (await firebreak.condition("shell", "Contained", "True"))["status"]
    pod = fake.get("Pod", "shop", "web-1")
    assert pod["metadata"]["labels"] == {KEY: "true", "quarantine": "true"}
    original = json.loads(pod["metadata"]["annotations"]["firebreak.dev/original-labels"])
    assert original == {"app": "web", "pod-template-hash": "5d"}
    detached = status["steps"]["quarantine"]["changes"]["patch Pod shop/web-1 (detach)"]
    assert (detached["state"], detached["before"]) == ("Done", {"labels": {"app": "web", "pod-template-hash": "5d"}})
    assert status["held"] == ["web-1"]


async def test_a_pod_that_was_detached_when_firebreak_died_is_on_record_as_detached(
    fake: FakeApi, store: EvidenceStore
) -> None:
    fake.put(web_pod())
    detach = "patch Pod shop/web-1 (detach)"
    died = asyncio.Event()
    async with replica(fake, store) as firebreak:
        fake.crash_after(2, lambda _: died.set(), counting=lambda call: call.line == f"PATCH {POD_PATH}")
        fake.faults.add(Fault(when=lambda _: died.is_set(), how=Answer(503)))
        fake.put(incident())
        async with asyncio.timeout(5):
            await died.wait()
        status = firebreak.incident("shell")["status"]
        assert status["steps"]["quarantine"]["changes"][detach]["state"] == "Intended"
    fake.faults.clear()
    async with replica(fake, store, name="two") as second:
        status = (await second.condition("shell", "Contained", "True"))["status"]
    detached = status["steps"]["quarantine"]["changes"][detach]
    assert (detached["state"], detached["before"]) == ("Done", {"labels": {"app": "web", "pod-template-hash": "5d"}})


async def test_a_pod_that_is_not_there_is_never_called_contained(fake: FakeApi, store: EvidenceStore) -> None:
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await firebreak.condition("shell", "Contained", "False", "TargetNotFound")
    assert "held" not in found["status"]


async def test_a_namesake_of_the_pinned_pod_is_left_alone(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod(uid="another"))
    async with replica(fake, store) as firebreak:
        fake.put(incident(podUID="the-compromised-one"))
        await firebreak.condition("shell", "Contained", "False", "TargetNotFound")
    assert fake.get("Pod", "shop", "web-1")["metadata"]["labels"] == {"app": "web", "pod-template-hash": "5d"}


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ('User "system:serviceaccount:firebreak:firebreak" cannot patch resource "pods"', True),
        ("ValidatingAdmissionPolicy 'firebreak-contain-pods' denied request: firebreak: not in this namespace", False),
    ],
)
async def test_a_refused_cut_is_said_loudly_and_a_right_is_asked_for_only_where_it_is_missing(
    fake: FakeApi, store: EvidenceStore, refusal: str, *, remedy: bool
) -> None:
    fake.put(web_pod())
    fake.faults.add(Fault(when=lambda c: c.line == f"PATCH {POD_PATH}", how=Answer(403, message=refusal)))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await firebreak.condition("shell", "Contained", "False", "Refused")
    words = next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Contained")
    assert refusal in words
    assert ("manifests/components/tier-contain" in words) is remedy


async def test_a_cut_that_stays_refused_is_no_crash(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    fake.faults.add(Fault(when=lambda c: c.line == f"POST {POLICIES_PATH}", how=Answer(403), times=2))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "False", "Refused")
        before = len(fake.calls)
        firebreak.controller.wake(UID)
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.n > before and c.line == f"POST {POLICIES_PATH}")
        firebreak.controller.wake(UID)
        await firebreak.condition("shell", "Contained", "True", "Enforced")
        results = firebreak.controller.tools.metrics.registry
        crashes = results.get_sample_value("firebreak_step_results_total", {"step": "quarantine", "result": "error"})
    assert crashes is None


async def test_a_pod_that_is_not_there_is_not_called_cut_until_it_is(fake: FakeApi, store: EvidenceStore) -> None:
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        missing = await firebreak.condition("shell", "Contained", "False", "TargetNotFound")
        fake.put(web_pod())
        firebreak.controller.wake(UID)
        there = await firebreak.condition("shell", "Contained", "True", "Enforced")
    assert "cutAt" not in missing["status"]["timings"]
    assert there["status"]["timings"]["cutAt"]


async def test_an_overloaded_server_is_asked_again_until_it_gives_way(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    fake.faults.add(Fault(when=lambda c: c.line == f"PATCH {POD_PATH}", how=Answer(429, retry_after=0), times=3))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True", "Enforced")


async def test_an_api_server_that_just_started_and_cannot_judge_yet_is_asked_again(
    fake: FakeApi, store: EvidenceStore
) -> None:
    fake.put(web_pod())
    words = "denied request: failed to configure policy: failed to find resource referenced by paramKind"
    fake.faults.add(Fault(when=lambda c: c.line == f"POST {POLICIES_PATH}", how=Answer(422, message=words), times=2))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True", "Enforced")
    assert len([call for call in fake.writes if call.line == f"POST {POLICIES_PATH}"]) == 3


async def test_a_follower_contains_when_the_leader_does_not(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    async with replica(fake, store, leading=False):
        fake.put(incident())
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.line == f"POST {POLICIES_PATH}")
            await fake.called(lambda c: c.line == f"PATCH {POD_PATH}")
    assert not [call for call in fake.calls if call.resource == "incidents/status"]


async def test_labels_without_the_policy_are_no_cut_and_a_follower_makes_up_for_it(
    fake: FakeApi, store: EvidenceStore
) -> None:
    """Whoever began may have died, or been refused, between the two; and nobody may lead for long."""
    fake.put(web_pod())
    fake.faults.add(Fault(when=lambda c: c.line == f"POST {POLICIES_PATH}", how=Answer(403), times=1))
    async with replica(fake, store, leading=False) as firebreak, asyncio.timeout(10):
        fake.put(incident(target={"selector": {"matchLabels": {"app": "web"}}}))
        await fake.until(lambda: KEY in fake.get("Pod", "shop", "web-1")["metadata"]["labels"])
        await fake.called(lambda c: c.line == f"POST {POLICIES_PATH}")
        firebreak.controller.wake(UID)
        await fake.until(lambda: fake.find("NetworkPolicy", "shop", f"firebreak-{UID}") is not None)


async def test_a_follower_leaves_alone_what_the_leader_has_on_record(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    fake.put(incident() | {"status": {"timings": {"cutAt": "2026-11-21T12:00:00.000000Z"}}})
    async with replica(fake, store, leading=False):
        fake.update("Incident", "shop", "shell", {"metadata": {"labels": {"seen": "again"}}})
        async with asyncio.timeout(5):
            await fake.watched("incidents")
    assert not fake.writes


async def test_an_edited_policy_is_put_back(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        name = f"firebreak-{UID}"
        fake.update("NetworkPolicy", "shop", name, {"spec": {"egress": [{}]}})
        before = len(fake.calls)
        firebreak.controller.wake(UID)
        async with asyncio.timeout(5):
            await fake.called(lambda c: c.n > before and c.line == f"PATCH {POLICIES_PATH}/{name}")
        await firebreak.condition("shell", "Contained", "True")
    assert "egress" not in fake.get("NetworkPolicy", "shop", name)["spec"]


async def test_two_incidents_on_one_pod_do_not_undo_each_other(fake: FakeApi, store: EvidenceStore) -> None:
    other = "99999999-2222-3333-4444-555555555555"
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        fake.put(incident("miner", other))
        await firebreak.condition("miner", "Contained", "True")
    labels = fake.get("Pod", "shop", "web-1")["metadata"]["labels"]
    assert labels == {KEY: "true", f"quarantine.firebreak.dev/{other}": "true", "quarantine": "true"}


async def test_later_pods_of_a_selector_are_cut_as_they_come(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        fake.put(incident(target={"selector": {"matchLabels": {"app": "web"}}}))
        await firebreak.condition("shell", "Contained", "True")
        async with asyncio.timeout(5):
            await fake.watched("pods")
        fake.put(web_pod("web-2"))
        await firebreak.until("shell", lambda s: s.get("held") == ["web-1", "web-2"])
    assert fake.get("Pod", "shop", "web-2")["metadata"]["labels"][KEY] == "true"


async def test_deleting_the_incident_lifts_nothing(fake: FakeApi, store: EvidenceStore) -> None:
    fake.put(web_pod())
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
        before = len(fake.calls)
        fake.delete("Incident", "shop", "shell")
        fake.put(incident("marker", "77777777-2222-3333-4444-555555555555", mode="Plan"))
        await firebreak.until("marker", lambda s: s.get("phase") == "Planned")
    deletions = [call.line for call in fake.calls[before:] if call.verb == "delete"]
    assert deletions == []
    assert fake.get("Pod", "shop", "web-1")["metadata"]["labels"][KEY] == "true"
