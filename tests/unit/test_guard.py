"""The guard: whether the API server fences Firebreak's own account, and what is not done where it does not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from fake_api import Answer, Call, FakeApi, Fault, always
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden
from firebreak.kube.guard import Guards, trials, trials_of_people
from firebreak.model.policies import PEOPLE
from firebreak.model.shipped import SHIPPED
from firebreak.model.tiers import CONTAIN, ERADICATE, PRESERVE, TIERS, Tier
from harness import connect, replica
from test_tiers import Clock
from world import BINDING_PATH, POD_PATH, SECRET_PATH, incident, shop

MANIFESTS = Path(__file__).parents[2] / "manifests"
STRONG = ("firebreak-preserve-exec", "firebreak-eradicate-bindings", "firebreak-eradicate-secrets")


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[Api]:
    async with connect(fake) as connected:
        yield connected


def guards(api: Api, clock: Clock | None = None) -> Guards:
    return Guards(api, "firebreak", clock or Clock())


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
async def test_nothing_is_missing_where_every_policy_refuses_its_trial(fake: FakeApi, api: Api, tier: Tier) -> None:
    assert await guards(api).missing(tier) == ""
    assert fake.writes == ()


@pytest.mark.parametrize(
    ("tier", "policy"),
    [(tier, trial.policy) for tier in TIERS for trial in trials(tier, "firebreak", "firebreak-0", "n")],
)
async def test_a_policy_that_is_not_in_force_is_named_with_the_manifest_that_brings_it(
    fake: FakeApi, api: Api, tier: Tier, policy: str
) -> None:
    fake.fences -= {policy}
    assert await guards(api).missing(tier) == (
        f"the API server does not fence Firebreak's own account in tier {tier.name} (not seen in force: {policy}): "
        f"kubectl apply -k manifests/components/tier-{tier.name} && "
        f"kubectl replace -k manifests/components/tier-{tier.name}"
    )


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_every_policy_of_a_tier_is_tried_but_the_one_that_takes_an_incident(tier: Tier) -> None:
    text = (MANIFESTS.parent / tier.manifest / "admission.yaml").read_text()
    kinds = [d for d in yaml.safe_load_all(text) if d["kind"] == "ValidatingAdmissionPolicy"]
    tried = {trial.policy for trial in trials(tier, "firebreak", "firebreak-0", "n")}
    assert {d["metadata"]["name"] for d in kinds} - tried == (
        {"firebreak-contain-incidents"} if tier is CONTAIN else set()
    )


def test_the_trials_of_people_are_of_policies_about_people_and_each_of_another_one() -> None:
    tried = [trial.policy for trial in trials_of_people("firebreak")]
    assert tried == ["firebreak-approvals", "firebreak-creators", "firebreak-quarantine-forgery"]
    assert set(tried) < set(SHIPPED[PEOPLE])


async def test_what_the_account_may_not_do_needs_no_fence(fake: FakeApi, api: Api) -> None:
    words = 'secrets is forbidden: User "system:serviceaccount:firebreak:firebreak" cannot patch resource "secrets"'
    fake.faults.add(Fault(when=always, how=Answer(403, message=words)))
    assert await guards(api).missing(ERADICATE) == ""


async def test_a_refusal_by_somebody_else_proves_nothing(fake: FakeApi, api: Api) -> None:
    fake.faults.add(Fault(when=always, how=Answer(403, message='admission webhook "x" denied the request')))
    assert "not seen in force: firebreak-preserve-exec" in await guards(api).missing(PRESERVE)


async def test_who_may_not_act_as_the_account_is_told_so(fake: FakeApi, api: Api) -> None:
    words = 'users "firebreak" is forbidden: User "eve" cannot impersonate resource "users"'
    fake.faults.add(Fault(when=always, how=Answer(403, message=words)))
    with pytest.raises(Forbidden, match="cannot impersonate"):
        await guards(api).missing(PRESERVE)


async def test_a_fence_that_was_seen_is_tried_again_after_five_minutes_and_a_missing_one_after_ten_seconds(
    fake: FakeApi, api: Api
) -> None:
    clock = Clock()
    asking = guards(api, clock)
    assert await asking.missing(PRESERVE) == ""
    fake.fences -= {"firebreak-preserve-exec"}
    clock.now += 299.9
    assert await asking.missing(PRESERVE) == ""
    clock.now += 0.1
    assert await asking.missing(PRESERVE) != ""
    fake.fences |= {"firebreak-preserve-exec"}
    clock.now += 9.9
    assert await asking.missing(PRESERVE) != ""
    clock.now += 0.1
    assert await asking.missing(PRESERVE) == ""


def strong(call: Call) -> bool:
    """What is done only behind a fence: exec, and changes of bindings, Secrets and workloads."""
    real = call.is_write and call.path in {BINDING_PATH, SECRET_PATH}
    return real or call.path == f"{POD_PATH}/exec"


async def test_without_guards_the_pod_is_cut_and_nothing_strong_is_done(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.fences -= set(STRONG)
    fake.put(incident(playbook="unattended"))
    async with replica(fake, store) as one:
        await one.condition("shell", "Contained", "True", "Enforced")
        await one.condition("shell", "EvidencePreserved", "False", "GuardMissing")
        await one.condition("shell", "IdentityContained", "False", "GuardMissing")
        found = await one.condition("shell", "Stalled", "True", "GuardMissing")
    steps = found["status"]["steps"]
    assert (steps["capture"]["state"], steps["revoke"]["state"]) == ("Blocked", "Blocked")
    (stalled,) = (c["message"] for c in found["status"]["conditions"] if c["type"] == "Stalled")
    assert "kubectl apply -k manifests/components/tier-preserve" in stalled
    assert "kubectl apply -k manifests/components/tier-eradicate" in stalled
    assert [call.line for call in fake.calls if strong(call)] == []


async def test_without_the_guard_of_containing_the_cut_goes_on_and_says_so(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.fences -= {"firebreak-contain-pods"}
    fake.put(incident(playbook="unattended"))
    async with replica(fake, store) as one:
        await one.condition("shell", "Contained", "True", "Enforced")
        await one.condition("shell", "Stalled", "True", "GuardMissing")
        await one.condition("shell", "IdentityContained", "True", "Revoked")
