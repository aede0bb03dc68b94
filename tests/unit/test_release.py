"""What releasing decides: only this incident's own marks go, and only what it took is given back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_harness import ANN, BINDING, KEY, OTHER, OTHER_KEY, UID, WEB_ACCOUNT, cut_pod, pod, policy
from firebreak.model.change import Ref, Verb, holds
from firebreak.model.facts import Account
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps import release
from firebreak.steps.release import Quarantined, Revoked

SHELL = IncidentRef("shop", "shell", UID)
WEB = Account("shop", "web")


def versioned(raw: dict[str, Any]) -> Pod:
    raw["metadata"]["resourceVersion"] = "7"
    return Pod(raw)


def network(*pods: dict[str, Any], keep_detached: bool = False, lifted: bool = False) -> list[release.Change]:
    stored = {**policy(), "metadata": {**policy()["metadata"]}}
    facts = Quarantined(SHELL, tuple(versioned(p) for p in pods), None if lifted else stored)
    return list(release.network(facts, keep_detached=keep_detached))


def rights(before: dict[str, Any], now: dict[str, Any] | None, name: str = "RoleBinding shop/edit") -> list[Any]:
    live = {name: {**now, "metadata": {**now["metadata"], "resourceVersion": "7"}}} if now else {}
    return list(release.rights(Revoked(SHELL, (WEB,), {name: before}, live)))


def test_the_last_key_takes_every_mark_with_it_and_gives_the_labels_back() -> None:
    free, lift = network(cut_pod())
    assert free.target == Ref("Pod", "web", "shop", "uid-web")
    assert free.body == {
        "metadata": {
            "resourceVersion": "7",
            "labels": {KEY: None, "quarantine": None, "app": "web"},
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": None,
                "karpenter.sh/do-not-disrupt": None,
                "firebreak.dev/original-labels": None,
            },
        }
    }
    assert (lift.verb, str(lift.target), lift.target.uid) == (
        Verb.DELETE,
        f"NetworkPolicy shop/firebreak-{UID}",
        "policy-of-shell",
    )


def test_giving_labels_back_is_said_to_endanger_the_pod() -> None:
    free, _ = network(cut_pod())
    assert free.why == (
        "lets traffic through again and gives its labels back (app=web): its Services may send it requests, "
        "and its ReplicaSet may adopt it and delete a surplus pod, this one or another"
    )
    assert not free.risk.safe


def test_a_pod_that_another_incident_holds_loses_this_key_only() -> None:
    free, _ = network(cut_pod(**{OTHER_KEY: "true"}))
    assert free.body == {"metadata": {"resourceVersion": "7", "labels": {KEY: None}, "annotations": {}}}
    assert free.why == f"takes this incident's key off; the pod stays cut by 1 other incident(s): {OTHER}"


def test_a_pod_may_stay_detached() -> None:
    free, _ = network(cut_pod(), keep_detached=True)
    labels, annotations = free.body["metadata"]["labels"], free.body["metadata"]["annotations"]
    assert labels == {KEY: None, "quarantine": None}
    assert "firebreak.dev/original-labels" not in annotations
    assert free.why == "lets traffic through again; it stays detached, without its own labels"


def test_a_label_that_somebody_set_meanwhile_is_not_overwritten() -> None:
    free, _ = network(cut_pod(app="isolated-by-hand"))
    assert free.body["metadata"]["labels"] == {KEY: None, "quarantine": None}


def test_of_a_record_only_what_is_given_back_is_named_and_no_more_than_a_person_reads() -> None:
    raw = cut_pod(app="isolated-by-hand")
    labels = {"app": "web", **{f"tier-{number}": "gold" for number in range(8)}}
    raw["metadata"]["annotations"]["firebreak.dev/original-labels"] = json.dumps(labels)
    free, _ = network(raw)
    named = "tier-0=gold, tier-1=gold, tier-2=gold, tier-3=gold, tier-4=gold and 3 more"
    assert free.why.startswith(f"lets traffic through again and gives its labels back ({named}): ")
    assert release.labels_back(free) == {f"tier-{number}": "gold" for number in range(8)}


def test_a_pod_that_never_had_labels_gets_none_back() -> None:
    raw = cut_pod()
    raw["metadata"]["annotations"]["firebreak.dev/original-labels"] = "{}"
    free, _ = network(raw)
    assert free.why == "lets traffic through again"


def test_an_annotation_of_the_owner_that_says_something_else_stays() -> None:
    raw = cut_pod()
    raw["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] = "weekends"
    free, _ = network(raw)
    assert "karpenter.sh/do-not-disrupt" not in free.body["metadata"]["annotations"]


@pytest.mark.parametrize(
    "record", ["", "no json", "[]", '{"app": 1}', '{"x\\u001b[2Jy": "\\u202egold"}', "[" * 100_000]
)
def test_a_record_of_labels_that_was_tampered_with_is_kept_and_named(record: str) -> None:
    raw = cut_pod()
    raw["metadata"]["annotations"]["firebreak.dev/original-labels"] = record
    free, _ = network(raw)
    assert free.body["metadata"]["labels"] == {KEY: None, "quarantine": None}
    assert free.why == (
        "lets traffic through again; its own labels cannot be given back, the record of them cannot be read"
    )


def test_a_record_of_labels_cannot_put_a_pod_under_quarantine() -> None:
    raw = cut_pod()
    raw["metadata"]["annotations"]["firebreak.dev/original-labels"] = f'{{"quarantine": "true", "{OTHER_KEY}": "true"}}'
    free, _ = network(raw)
    assert free.body["metadata"]["labels"] == {KEY: None, "quarantine": None}


def test_nothing_is_left_to_do_when_the_quarantine_is_lifted() -> None:
    assert network(lifted=True) == []


@given(keys=st.sets(st.sampled_from([KEY, OTHER_KEY])), detached=st.booleans(), keep=st.booleans())
def test_a_freed_pod_carries_no_key_of_this_incident_and_every_other_key(
    keys: set[str], *, detached: bool, keep: bool
) -> None:
    raw = cut_pod() if detached else pod(labels={"app": "web", "quarantine": "true"})
    raw["metadata"]["labels"] = {**raw["metadata"]["labels"], KEY: "true", **dict.fromkeys(keys, "true")}
    free = network(raw, keep_detached=keep)[0]
    labels = {**raw["metadata"]["labels"], **free.body["metadata"]["labels"]}
    left = {key for key, value in labels.items() if value is not None}
    assert left & {KEY, OTHER_KEY} == keys - {KEY}
    assert ("quarantine" in left) == (OTHER_KEY in keys)


def test_an_account_is_added_beside_whoever_is_there_now() -> None:
    (change,) = rights({"subjects": [WEB_ACCOUNT, ANN]}, BINDING)
    late = BINDING["subjects"][0]
    assert change.body == {"metadata": {"resourceVersion": "7"}, "subjects": [late, WEB_ACCOUNT]}
    assert change.target == Ref("RoleBinding", "edit", "shop", "uid-edit")
    assert change.why == "gives web the rights of ClusterRole edit again"


def test_a_subject_that_somebody_else_took_out_is_not_given_back() -> None:
    (change,) = rights({"subjects": [WEB_ACCOUNT, ANN]}, {**BINDING, "subjects": None})
    assert change.body["subjects"] == [WEB_ACCOUNT]


def test_an_account_that_is_there_again_needs_nothing() -> None:
    assert rights({"subjects": [WEB_ACCOUNT]}, {**BINDING, "subjects": [WEB_ACCOUNT]}) == []


def test_an_account_without_a_namespace_in_the_record_is_the_bindings_own() -> None:
    subject = {"kind": "ServiceAccount", "name": "web"}
    assert [c.body["subjects"][-1] for c in rights({"subjects": [subject]}, BINDING)] == [subject]
    assert rights({"subjects": [subject]}, BINDING, name="RoleBinding other/edit") == []


def test_a_binding_that_is_gone_is_named_and_left_to_a_person() -> None:
    (change,) = rights({"subjects": [WEB_ACCOUNT]}, None)
    assert change.refusal == (
        "the binding is not there any more; create it anew by hand if web is to have the right again"
    )


def test_a_binding_made_anew_for_another_role_is_not_extended() -> None:
    was = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "view"}
    (change,) = rights({"subjects": [WEB_ACCOUNT], "roleRef": was}, BINDING)
    assert change.refusal == (
        "it was made anew since and now binds ClusterRole edit, not Role view: giving back would grant what was never "
        "taken"
    )


def test_giving_back_holds_when_the_world_has_the_subjects() -> None:
    (change,) = rights({"subjects": [WEB_ACCOUNT]}, BINDING)
    after = {**BINDING, "subjects": change.body["subjects"]}
    assert holds(change, after)
    assert not holds(change, BINDING)


@pytest.mark.parametrize("name", ["Pod shop/web", "RoleBinding edit", "ClusterRoleBinding shop/edit", "RoleBinding /x"])
def test_only_bindings_names_are_read_from_the_record(name: str) -> None:
    with pytest.raises(ValueError, match="names no"):
        release.ref(name)
