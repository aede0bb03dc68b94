"""The tiers of rights, as data and as asked of the API server."""

import pytest

from firebreak.api.playbook import STEP_NAMES
from firebreak.model.tiers import CONTAIN, ERADICATE, PRESERVE, TIERS, Right, Tier, lacking, needed


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


def test_a_missing_tier_is_named_with_the_command_that_grants_it() -> None:
    missing = [f"patch things{number} in shop" for number in range(7)]
    assert lacking(ERADICATE, missing) == (
        "the operator lacks rights of tier eradicate: patch things0 in shop, patch things1 in shop, "
        "patch things2 in shop, patch things3 in shop, patch things4 in shop and 2 more; "
        "grant them with `kubectl apply -k manifests/components/tier-eradicate`"
    )
