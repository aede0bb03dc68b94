"""The quarantine lock: admission reads `status.held`, so what stands there, and since when, is tested here."""

from typing import Any

import pytest

from cli_harness import UID, condition, pod
from fake_api import FakeApi
from firebreak.api.status import IncidentStatus
from firebreak.cli.recording import released
from firebreak.engine.containment import hold
from firebreak.evidence.store import EvidenceStore
from firebreak.model.incident import Incident, read
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from harness import replica
from world import KEY, incident, web_pod

SHELL = IncidentRef("shop", "shell", UID)
STATUS_PATH = "/apis/firebreak.dev/v1alpha1/namespaces/shop/incidents/shell/status"


def cut_pods(*names: str) -> tuple[Pod, ...]:
    return tuple(Pod(pod(name, labels={KEY: "true", "quarantine": "true"})) for name in names)


def held(*names: str) -> IncidentStatus:
    return IncidentStatus(held=list(names))


async def test_a_pod_is_locked_before_anything_but_the_cut_is_changed(fake: FakeApi) -> None:
    """Detaching, which orphans a pod, comes after it."""
    fake.put(web_pod())
    async with replica(fake, EvidenceStore.open("memory://")) as firebreak:
        fake.put(incident())
        await firebreak.condition("shell", "Contained", "True")
    writes = [call for call in fake.writes if call.resource != "events"]
    locking = next(n for n, call in enumerate(writes) if "held" in (call.body.get("status") or {}))
    assert [call.resource for call in writes[:locking]] == ["pods", "networkpolicies"]
    assert (writes[locking].path, writes[locking].body["status"]["held"]) == (STATUS_PATH, ["web-1"])


def test_pods_that_are_cut_are_held_and_those_that_are_gone_or_free_are_not() -> None:
    free = Pod(pod("sibling"))
    assert hold(held("gone"), SHELL, (*cut_pods("web-2", "web-1"), free)).held == ["web-1", "web-2"]


def test_nobody_crowds_out_a_held_pod_with_pods_of_his_own() -> None:
    crowd = [f"a-{n:03}" for n in range(600)]
    after = hold(held("web"), SHELL, cut_pods("web", *crowd)).held
    assert (len(after), after[:2], after[-1]) == (500, ["web", "a-000"], "a-498")


def closed(**status: Any) -> Incident:
    return read(incident(state="Closed", verdict="Exercise") | {"status": {"held": ["web-1"], **status}})


@pytest.mark.parametrize("contained", ["True", "False", "Unknown"])
def test_a_release_lets_go_of_the_names_whatever_was_claimed_of_the_cut(contained: str) -> None:
    shell = closed(conditions=[condition("Contained", contained, "HostNetwork")])
    after = released(shell.status, shell, network=True, rights=False, now="2026-11-21T12:00:00.000000Z")
    assert after.held == []


def test_giving_rights_back_alone_unlocks_nothing() -> None:
    shell = closed(conditions=[condition("IdentityContained", "True", "Revoked")])
    after = released(shell.status, shell, network=False, rights=True, now="2026-11-21T12:00:00.000000Z")
    assert after.held == ["web-1"]
