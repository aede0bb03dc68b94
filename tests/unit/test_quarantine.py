"""Quarantine: what cuts a pod off, what is still missing, and what may be said of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import INCIDENT, NOW, OTHER_INCIDENT, applied, pod, policy, unhurried
from firebreak.api.playbook import Detach
from firebreak.model.change import Change, Ref, Verb, holds
from firebreak.model.enforcement import Enforcement, State
from firebreak.model.facts import Network
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.verdict import Verdict
from firebreak.steps import quarantine
from firebreak.steps.quarantine import allowed_by, as_detached, denies_all, detachable, first_cut, judge, plan, selects

Json = dict[str, Any]

KEY = "quarantine.firebreak.dev/11111111-aaaa"
OTHER_KEY = "quarantine.firebreak.dev/22222222-bbbb"
STAY = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
OURS = policy(
    "firebreak-11111111-aaaa",
    {"podSelector": {"matchLabels": {KEY: "true"}}, "policyTypes": ["Ingress", "Egress"]},
)
PROVEN = Enforcement(State.PROVEN, NOW, "cut")
UNPROVEN = Enforcement()
NOT_ENFORCED = Enforcement(State.NOT_ENFORCED, NOW, "still got through")


def cut_pod(name: str = "web-1", **fields: Any) -> Pod:
    return pod(name, labels={"app": "web", KEY: "true", "quarantine": "true"}, annotations=STAY, **fields)


def network(
    *pods: Pod, policies: tuple[Json, ...] = (OURS,), foreign: tuple[str, ...] = (), gone: tuple[str, ...] = ()
) -> Network:
    return Network(INCIDENT, pods, policies, foreign, gone)


def after(facts: Network, changes: list[Change]) -> Network:
    """The facts once the API server has carried the Changes out."""
    pods = {p.uid: p for p in facts.pods}
    policies = {p["metadata"]["name"]: p for p in facts.policies}
    for change in changes:
        if change.target.kind == "Pod":
            uid = str(change.target.uid)
            pods[uid] = Pod(applied(change, pods[uid].raw) or {})
        else:
            name = change.target.name
            policies[name] = applied(change, policies.get(name)) or {}
    return Network(facts.incident, tuple(pods.values()), tuple(policies.values()), facts.foreign)


# --- the first cut


def test_two_calls_that_need_no_facts_cut_a_pod() -> None:
    label, deny = first_cut(INCIDENT, Ref("Pod", "web-1", "shop", "uid-web-1"))
    assert (label.verb, label.target) == (Verb.PATCH, Ref("Pod", "web-1", "shop", "uid-web-1"))
    assert label.body == {
        "metadata": {"labels": {KEY: "true", "quarantine": "true"}, "annotations": STAY},
    }
    assert (deny.verb, deny.target) == (Verb.CREATE, Ref("NetworkPolicy", "firebreak-11111111-aaaa", "shop"))
    assert deny.body == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "firebreak-11111111-aaaa",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "firebreak"},
            "annotations": {"firebreak.dev/incident": "web-shell"},
        },
        "spec": {"podSelector": {"matchLabels": {KEY: "true"}}, "policyTypes": ["Ingress", "Egress"]},
    }


def test_the_cut_is_safe_and_says_how_to_undo_it() -> None:
    for change in first_cut(INCIDENT, pod().ref):
        assert change.risk.safe
        assert change.refusal is None
        assert change.undo == "firebreak release web-shell -n shop"


# --- what is missing


def test_nothing_is_planned_when_all_of_it_holds() -> None:
    assert list(plan(network(cut_pod()), detach=Detach.NEVER)) == []


def test_a_pod_that_appeared_later_gets_the_key() -> None:
    changes = list(plan(network(cut_pod(), pod("web-2")), detach=Detach.NEVER))
    assert [change.id for change in changes] == ["patch Pod shop/web-2 (quarantine)"]


def test_a_deleted_policy_is_created_again() -> None:
    assert [c.id for c in plan(network(cut_pod(), policies=()), detach=Detach.NEVER)] == [
        "create NetworkPolicy shop/firebreak-11111111-aaaa"
    ]


@pytest.mark.parametrize(
    "edit",
    [
        {"ingress": [{}]},
        {"egress": [{"to": [{"podSelector": {}}]}]},
        {"policyTypes": ["Ingress"]},
        {"policyTypes": []},
        {"podSelector": {"matchLabels": {KEY: "true", "app": "web"}}},
        {"podSelector": {"matchLabels": {"app": "other"}}},
        {"podSelector": {"matchLabels": {KEY: "true"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}},
        {"podSelector": {}},
    ],
)
def test_a_policy_that_somebody_edited_is_mended_whatever_was_made_of_it(edit: Json) -> None:
    edited = policy("firebreak-11111111-aaaa", {**OURS["spec"], **edit})
    (change,) = plan(network(cut_pod(), policies=(edited,)), detach=Detach.NEVER)
    assert (change.verb, change.before) == (Verb.PATCH, {"spec": edited["spec"]})
    mended = applied(change, edited)
    assert mended is not None
    assert denies_all(mended, INCIDENT)
    assert holds(change, mended)


def test_an_empty_list_of_rules_allows_nothing() -> None:
    assert denies_all(policy("p", {**OURS["spec"], "ingress": [], "egress": []}), INCIDENT)


def test_a_policy_of_another_incident_does_not_cut_for_this_one() -> None:
    assert not denies_all(OURS, OTHER_INCIDENT)


# --- detaching


def test_a_pod_of_a_replicaset_is_detached_after_the_cut_with_its_labels_on_record() -> None:
    facts = network(pod(labels={"app": "web", "tier": "front"}, owner=("ReplicaSet", "web-7d9")))
    label, strip = plan(facts, detach=Detach.AUTO)
    assert (label.id, strip.id) == ("patch Pod shop/web-1 (quarantine)", "patch Pod shop/web-1 (detach)")
    assert strip.body == {
        "metadata": {
            "labels": {"app": None, "tier": None},
            "annotations": {"firebreak.dev/original-labels": '{"app": "web", "tier": "front"}'},
        }
    }
    assert strip.before == {"labels": {"app": "web", "tier": "front"}}
    assert strip.risk.safe


@pytest.mark.parametrize("owner", [None, ("StatefulSet", "db"), ("DaemonSet", "agent"), ("Job", "batch")])
def test_pods_of_other_kinds_are_detached_only_if_asked(owner: tuple[str, str] | None) -> None:
    assert list(plan(network(cut_pod(owner=owner)), detach=Detach.AUTO)) == []
    (strip,) = plan(network(cut_pod(owner=owner)), detach=Detach.ALWAYS)
    assert strip.id == "patch Pod shop/web-1 (detach)"


def test_detaching_leaves_the_keys_of_every_incident_on_the_pod() -> None:
    labels = {"app": "web", KEY: "true", OTHER_KEY: "true", "quarantine": "true"}
    held = pod(labels=labels, annotations=STAY, owner=("ReplicaSet", "web-7d9"))
    (strip,) = plan(network(held), detach=Detach.AUTO)
    assert strip.body is not None
    assert strip.body["metadata"]["labels"] == {"app": None}


def test_an_annotation_that_a_pod_brought_along_does_not_keep_it_from_being_detached() -> None:
    planted = {**STAY, "firebreak.dev/original-labels": "{}"}
    held = pod(labels={"app": "web", KEY: "true", "quarantine": "true"}, annotations=planted, owner=("ReplicaSet", "w"))
    (strip,) = plan(network(held), detach=Detach.AUTO)
    assert strip.body is not None
    assert strip.body["metadata"]["annotations"] == {"firebreak.dev/original-labels": '{"app": "web"}'}


def test_detaching_again_keeps_the_labels_that_the_first_time_recorded() -> None:
    recorded = {**STAY, "firebreak.dev/original-labels": '{"app": "web", "tier": "front"}'}
    labels = {"app": "web", "x": "y", KEY: "true", "quarantine": "true"}
    held = pod(labels=labels, annotations=recorded, owner=("ReplicaSet", "web-7d9"))
    (strip,) = plan(network(held), detach=Detach.AUTO)
    assert strip.body == {
        "metadata": {
            "labels": {"app": None, "x": None},
            "annotations": {"firebreak.dev/original-labels": '{"app": "web", "tier": "front", "x": "y"}'},
        }
    }
    assert strip.before == {"labels": {"app": "web", "tier": "front", "x": "y"}}


@pytest.mark.parametrize(
    "planted", ["", "[]", "null", '{"app": 1}', '{"app": "no label"}', '{"quarantine": "true"}', "[" * 100_000]
)
def test_a_record_of_labels_that_cannot_be_read_adds_nothing(planted: str) -> None:
    held = pod(labels={"app": "web"}, annotations={"firebreak.dev/original-labels": planted})
    assert quarantine.strip(held, INCIDENT).before == {"labels": {"app": "web"}}


def test_a_pod_without_labels_of_its_own_is_detached_once() -> None:
    held = pod(labels={KEY: "true", "quarantine": "true"}, annotations=STAY, owner=("ReplicaSet", "web-7d9"))
    facts = network(held)
    (strip,) = plan(facts, detach=Detach.AUTO)
    assert list(plan(after(facts, [strip]), detach=Detach.AUTO)) == []


def test_a_plan_of_what_comes_later_sees_the_pod_as_it_will_be_once_detached() -> None:
    later = as_detached(pod(labels={"app": "web", "tier": "front"}, owner=("ReplicaSet", "web-7d9")))
    assert later.detached
    assert not detachable(later, Detach.ALWAYS)
    assert later.controller is None
    assert later.annotations == {"firebreak.dev/original-labels": '{"app": "web", "tier": "front"}'}


# --- doing it twice, and two incidents

label_sets = st.dictionaries(
    st.sampled_from(["app", "tier", "uid", KEY, OTHER_KEY, "quarantine"]), st.sampled_from(["", "true", "web"])
)
annotation_sets = st.dictionaries(
    st.sampled_from(["firebreak.dev/original-labels", *STAY]), st.sampled_from(["", "true", "false", "{}"])
)
owners = st.none() | st.sampled_from([("ReplicaSet", "web-7d9"), ("StatefulSet", "db")])
any_pods = st.builds(
    lambda name, labels, annotations, owner: pod(name, labels=labels, annotations=annotations, owner=owner),
    st.sampled_from(["web-1", "web-2", "web-3"]),
    label_sets,
    annotation_sets,
    owners,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "podSelector": st.sampled_from([{}, {"matchLabels": {KEY: "true"}}, {"matchLabels": {KEY: "", "app": "web"}}]),
        "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True),
        "ingress": st.sampled_from([None, [], [{}]]),
        "egress": st.sampled_from([None, [], [{}]]),
    },
)
any_networks = st.builds(
    lambda pods, spec: network(*pods, policies=() if spec is None else (policy("firebreak-11111111-aaaa", spec),)),
    st.lists(any_pods, max_size=3, unique_by=lambda p: p.name),
    st.none() | specs,
)


@unhurried
@given(facts=any_networks, detach=st.sampled_from(Detach))
def test_planning_again_after_carrying_out_yields_nothing(*, facts: Network, detach: Detach) -> None:
    done = after(facts, list(plan(facts, detach=detach)))
    assert list(plan(done, detach=detach)) == []


@unhurried
@given(facts=any_networks, detach=st.sampled_from(Detach), first=st.booleans())
def test_of_two_incidents_on_one_pod_neither_undoes_the_other(*, facts: Network, detach: Detach, first: bool) -> None:
    order = (INCIDENT, OTHER_INCIDENT) if first else (OTHER_INCIDENT, INCIDENT)
    current = facts
    for incident in order:
        current = Network(incident, current.pods, current.policies)
        current = after(current, list(plan(current, detach=detach)))
    for incident in order:
        assert [p.name for p in current.pods if p.labels.get(incident.label) != "true"] == []
        assert list(plan(Network(incident, current.pods, current.policies), detach=detach)) == []


# --- the verdict


def test_a_cut_pod_on_a_proven_cluster_is_contained() -> None:
    assert judge(network(cut_pod()), PROVEN) == Verdict(
        "Contained", "True", "Enforced", f"web-1; enforcement proven {NOW}"
    )


def test_a_pod_that_left_the_api_beside_one_that_is_cut_is_a_doubt_that_names_both() -> None:
    assert judge(network(cut_pod(), gone=("web-2",)), PROVEN) == Verdict(
        "Contained",
        "Unknown",
        "TargetGone",
        "web-2 left the API: a forced deletion leaves processes running, look at the node; "
        f"web-1 cut off, enforcement proven {NOW}",
    )


def test_a_plain_no_is_said_before_the_doubt_about_who_is_gone() -> None:
    assert judge(network(pod(), gone=("web-2",)), PROVEN).reason == "NotCut"
    assert judge(network(cut_pod(), gone=("web-2",)), NOT_ENFORCED).reason == "NotEnforced"


def test_an_accepted_policy_on_an_unproven_cluster_is_not_a_packet_dropped() -> None:
    verdict = judge(network(cut_pod()), UNPROVEN)
    assert (verdict.status, verdict.reason) == ("Unknown", "EnforcementUnproven")
    assert "run `firebreak preflight`" in verdict.message


def test_a_cluster_that_drops_nothing_contains_nothing() -> None:
    verdict = judge(network(cut_pod()), NOT_ENFORCED)
    assert (verdict.status, verdict.reason) == ("False", "NotEnforced")
    assert "web-1" in verdict.message


def test_a_target_that_is_not_there_is_not_contained() -> None:
    verdict = judge(network(), PROVEN)
    assert (verdict.status, verdict.reason) == ("False", "TargetNotFound")


def test_a_pod_without_the_key_is_not_cut() -> None:
    verdict = judge(network(cut_pod(), pod("web-2")), PROVEN)
    assert (verdict.status, verdict.reason) == ("False", "NotCut")
    assert verdict.message == "label or policy is not in place for web-2"


def test_an_edited_policy_of_ours_is_not_cut() -> None:
    edited = policy("firebreak-11111111-aaaa", {**OURS["spec"], "egress": [{}]})
    verdict = judge(network(cut_pod(), policies=(edited,)), PROVEN)
    assert (verdict.status, verdict.reason) == ("False", "NotCut")
    assert "firebreak-11111111-aaaa" in verdict.message


def test_no_policy_applies_to_a_pod_on_the_network_of_its_node() -> None:
    verdict = judge(network(cut_pod(hostNetwork=True)), PROVEN)
    assert (verdict.status, verdict.reason) == ("False", "HostNetwork")
    assert "web-1 uses the node's network" in verdict.message


@pytest.mark.parametrize(
    "selector", [{}, {"matchLabels": {"app": "web"}}, {"matchExpressions": [{"key": "app", "operator": "Exists"}]}]
)
def test_policies_that_still_allow_something_are_named(selector: Json) -> None:
    other = policy("allow-monitoring", {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{}]})
    verdict = judge(network(cut_pod(), policies=(OURS, other)), PROVEN)
    assert verdict == Verdict(
        "Contained",
        "False",
        "AllowedByOtherPolicies",
        "policies are additive and these still allow traffic: allow-monitoring",
    )


def test_detaching_escapes_a_policy_by_label_but_not_one_that_selects_every_pod() -> None:
    by_label = policy("by-label", {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]})
    every = policy("every-pod", {"podSelector": {}, "ingress": [{}]})
    detached = pod(labels={KEY: "true", "quarantine": "true"}, annotations=STAY)
    assert list(allowed_by(detached, (by_label, every))) == ["every-pod"]
    assert list(allowed_by(cut_pod(), (by_label, every))) == ["by-label", "every-pod"]


@pytest.mark.parametrize(
    ("spec", "allows"),
    [
        ({"ingress": [{}]}, True),
        ({"ingress": []}, False),
        ({}, False),
        ({"egress": [{}]}, True),  # without policyTypes, rules for egress make it speak of egress
        ({"policyTypes": ["Ingress"], "egress": [{}]}, False),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, False),
        ({"policyTypes": ["Ingress", "Egress"], "egress": [{}]}, True),
    ],
)
def test_a_policy_allows_by_rules_in_a_direction_that_it_speaks_of(spec: Json, *, allows: bool) -> None:
    assert list(allowed_by(pod(), (policy("other", {"podSelector": {}, **spec}),))) == (["other"] if allows else [])


def test_other_policy_engines_are_a_doubt_that_names_their_objects() -> None:
    verdict = judge(network(cut_pod(), foreign=("ciliumnetworkpolicies allow-dns",)), PROVEN)
    assert (verdict.status, verdict.reason) == ("Unknown", "OtherPolicyEngines")
    assert "ciliumnetworkpolicies allow-dns" in verdict.message


def test_a_cluster_that_drops_nothing_is_a_plain_no_whatever_other_engines_there_are() -> None:
    assert judge(network(cut_pod(), foreign=("globalnetworkpolicies x",)), NOT_ENFORCED).reason == "NotEnforced"


# --- label selectors, against an oracle of another make

keys, some_values = st.sampled_from(["app", "tier", "x"]), st.sampled_from(["", "web", "db"])
pod_labels = st.dictionaries(keys, some_values, max_size=3)
requirements = st.builds(
    lambda key, operator, values: {"key": key, "operator": operator, "values": values},
    keys,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(some_values, min_size=1, max_size=2),
)
selectors = st.fixed_dictionaries(
    {},
    optional={"matchLabels": pod_labels, "matchExpressions": st.lists(requirements, max_size=2)},
)


def oracle(selector: Json, labels: dict[str, str]) -> bool:
    """Kubernetes' words: every requirement must be met; NotIn also selects pods that lack the key."""
    wanted = [{"key": k, "operator": "In", "values": [v]} for k, v in selector.get("matchLabels", {}).items()]
    for need in [*wanted, *selector.get("matchExpressions", [])]:
        present = need["key"] in labels
        among = present and labels[need["key"]] in need["values"]
        met = {"In": among, "NotIn": not among, "Exists": present, "DoesNotExist": not present}
        if not met[need["operator"]]:
            return False
    return True


@unhurried
@given(selectors, pod_labels)
def test_a_selector_selects_as_kubernetes_says(selector: Json, labels: dict[str, str]) -> None:
    assert selects(selector, pod(labels=labels)) == oracle(selector, labels)


def test_an_unknown_operator_is_taken_to_select_so_that_the_policy_is_named() -> None:
    assert selects({"matchExpressions": [{"key": "app", "operator": "Resembles"}]}, pod())


# --- names


def test_the_name_of_the_policy_and_the_key_come_from_the_uid_alone() -> None:
    renamed = IncidentRef("shop", "another-name", INCIDENT.uid)
    assert quarantine.deny_all_spec(renamed) == quarantine.deny_all_spec(INCIDENT)
    assert quarantine.deny_all(renamed).target == quarantine.deny_all(INCIDENT).target


def test_the_recorded_labels_are_the_same_text_for_the_same_labels() -> None:
    one = quarantine.strip(pod(labels={"b": "2", "a": "1"}), INCIDENT)
    assert one.body is not None
    assert json.loads(one.body["metadata"]["annotations"]["firebreak.dev/original-labels"]) == {"a": "1", "b": "2"}
