"""The tiers of rights, as data and as asked of the API server."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fake_api import Answer, FakeApi, Fault, always
from firebreak.api.playbook import STEP_NAMES
from firebreak.kube.client import Api
from firebreak.kube.configuration import Configuration
from firebreak.kube.tiers import Tiers
from firebreak.model.tiers import CONTAIN, ERADICATE, PRESERVE, TIERS, Right, Tier, needed


def rights_of(tier: Tier) -> list[Right]:
    return [*tier.everywhere, *tier.own]


@pytest.mark.parametrize("step", STEP_NAMES)
def test_every_step_of_a_playbook_has_a_tier(step: str) -> None:
    assert needed(step) in TIERS


def test_cutting_off_needs_the_smallest_tier_and_destroying_the_largest() -> None:
    assert needed("quarantine") is CONTAIN
    assert needed("capture") is PRESERVE
    assert [needed(step) for step in ("revoke", "rotate", "replace")] == [ERADICATE] * 3


def test_no_tier_but_eradicate_touches_secrets() -> None:
    assert [t.name for t in TIERS if any(r.resource.startswith("secrets") for r in rights_of(t))] == ["eradicate"]


def test_no_right_grants_access_or_creates_bindings_or_tokens() -> None:
    for tier in TIERS:
        for right in rights_of(tier):
            assert not {"*", "escalate", "impersonate"} & set(right.verbs)
            assert right.resource != "serviceaccounts/token"
            if "bindings" in right.resource:
                assert not {"create", "update", "delete"} & set(right.verbs)


def holders(verb: str) -> set[str]:
    return {right.resource for tier in TIERS for right in rights_of(tier) if verb in right.verbs}


def test_only_what_is_followed_is_watched_and_only_the_lease_is_replaced_whole() -> None:
    assert holders("watch") == {
        "approvals",
        "incidents",
        "pods",
        "networkpolicies",
        "rolebindings",
        "clusterrolebindings",
    }
    assert holders("update") == {"leases"}


def test_other_engines_policies_are_listed_and_nothing_else() -> None:
    engines = {"policy.networking.k8s.io", "cilium.io", "crd.projectcalico.org"}
    assert {right.verbs for right in CONTAIN.everywhere if right.group in engines} == {("list",)}


def test_roles_are_read_one_by_one_and_bindings_are_searched() -> None:
    rbac = {right.resource: right.verbs for right in PRESERVE.everywhere if right.group == "rbac.authorization.k8s.io"}
    assert rbac == {
        "roles": ("get",),
        "clusterroles": ("get",),
        "rolebindings": ("list",),
        "clusterrolebindings": ("list",),
    }


def test_no_right_stands_twice_in_a_tier() -> None:
    for tier in TIERS:
        for rights in (tier.everywhere, tier.own):
            expanded = [(r.group, r.resource, r.name, verb) for r in rights for verb in r.verbs]
            assert len(expanded) == len(set(expanded))


def test_a_right_is_asked_with_its_subresource_apart() -> None:
    right = Right("", "pods/exec", ("get",))
    assert right.attributes("get", "shop") == {
        "verb": "get",
        "resource": "pods",
        "subresource": "exec",
        "namespace": "shop",
    }
    assert right.in_words("get", "shop") == "get pods/exec in shop"


def test_a_right_of_a_group_everywhere_reads_as_people_write_it() -> None:
    right = Right("apps", "deployments", ("patch",))
    assert right.attributes("patch", None) == {"verb": "patch", "group": "apps", "resource": "deployments"}
    assert right.in_words("patch", None) == "patch deployments.apps in all namespaces"


def test_what_has_no_namespace_is_asked_without_one() -> None:
    assert Right("", "nodes", ("get",)).attributes("get", "shop") == {"verb": "get", "resource": "nodes"}


def test_a_tier_names_the_command_that_grants_it() -> None:
    assert ERADICATE.remedy == "kubectl apply -k manifests/components/tier-eradicate"


class Clock:
    """A clock that moves when told, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[Api]:
    async with Api(Configuration(fake.url)) as connected:
        yield connected


def refuse(*refused: tuple[str, str]) -> Callable[[dict[str, Any]], tuple[bool, str]]:
    """Refuse these (verb, resource), allow the rest."""

    def authorize(spec: dict[str, Any]) -> tuple[bool, str]:
        asked = spec["resourceAttributes"]
        return (asked["verb"], asked["resource"]) not in refused, ""

    return authorize


async def test_nothing_is_missing_when_the_api_server_allows_everything(fake: FakeApi, api: Api) -> None:
    assert await Tiers(api).missing(ERADICATE, "shop") == []


async def test_what_is_missing_is_named_in_words_in_the_order_of_the_tier(fake: FakeApi, api: Api) -> None:
    fake.authorize("SelfSubjectAccessReview", refuse(("patch", "secrets"), ("bind", "clusterroles"), ("get", "pods")))
    assert await Tiers(api).missing(ERADICATE, "shop") == [
        "bind clusterroles.rbac.authorization.k8s.io in all namespaces",
        "patch secrets in shop",
    ]


async def test_rights_in_firebreaks_own_namespace_are_not_asked_for_an_incident(fake: FakeApi, api: Api) -> None:
    fake.authorize("SelfSubjectAccessReview", refuse(("patch", "configmaps"), ("create", "pods")))
    assert await Tiers(api).missing(CONTAIN, "shop") == []


async def test_an_answer_is_asked_for_again_after_ten_seconds(fake: FakeApi, api: Api) -> None:
    clock = Clock()
    tiers = Tiers(api, clock)
    fake.authorize("SelfSubjectAccessReview", refuse(("list", "events")))
    assert await tiers.missing(PRESERVE, "shop") == ["list events in shop"]
    fake.authorize("SelfSubjectAccessReview", refuse())
    clock.now = 109.9
    assert await tiers.missing(PRESERVE, "shop") == ["list events in shop"]
    clock.now = 110.0
    assert await tiers.missing(PRESERVE, "shop") == []


async def test_whether_a_right_is_there_is_unknown_when_nobody_may_ask(fake: FakeApi, api: Api) -> None:
    fake.faults.add(Fault(when=always, how=Answer(403, message="no reviews for you")))
    assert await Tiers(api).missing(PRESERVE, "shop") == [
        "unknown whether the rights of tier preserve are there: the API server refuses to say (no reviews for you)"
    ]
