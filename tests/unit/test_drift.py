"""Drift, purely: which events concern an incident, what it watches, and who is said to have undone what."""

from dataclasses import replace
from typing import Any

import pytest

from builders import INCIDENT, account_subject, pod, policy
from firebreak.model.change import Change, Ref, Verb
from firebreak.model.facts import Network
from firebreak.model.names import ORIGINAL_LABELS
from firebreak.model.writers import last_writer
from firebreak.steps import quarantine
from firebreak.steps.drift import ANY, Followed, marks, undone
from world import APP_WEB

Json = dict[str, Any]

POD, POLICY, BINDING = "Pod", "NetworkPolicy", "RoleBinding"
KEY = {INCIDENT.label: "true", "quarantine": "true"}
CUT_AT = "2026-11-21T12:00:00.000000Z"


def followed(target: Json | None = None, *, conditions: dict[str, str] | None = None, **spec: Any) -> Followed:
    """An incident about web-1, cut and on record, that has revoked web's rights."""
    status = {
        "timings": {"cutAt": CUT_AT},
        "held": ["web-1"],
        "pods": {"uid-web-1": {"name": "web-1", "account": "web"}, "uid-old": {"name": "old", "gone": True}},
        "steps": {"revoke": {"state": "Done", "changes": {"x": {"object": "RoleBinding shop/reader"}}}},
        "conditions": [{"type": kind, "reason": reason} for kind, reason in (conditions or {}).items()],
    }
    metadata = {"namespace": "shop", "name": INCIDENT.name, "uid": INCIDENT.uid}
    return Followed.of({"metadata": metadata, "spec": {"target": target or {"pod": "web-1"}, **spec}, "status": status})


def concern(incident: Followed, kind: str, event: str, obj: Json) -> bool:
    """Whether an event concerns an incident; if so, its marks alone have to tell that it may."""
    found = marks(kind, event, obj)
    may = found is None or bool(incident.marks(kind) & {*found, ANY})
    concerns = incident.concerns(kind, event, obj)
    assert may or not concerns
    return concerns


@pytest.mark.parametrize(
    ("event", "labels", "annotations", "concerns"),
    [
        ("MODIFIED", KEY, {}, False),
        ("MODIFIED", {"app": "web"}, {}, True),  # the key was taken off
        ("ADDED", {"app": "web"}, {}, True),  # missed while the watch was broken
        ("MODIFIED", KEY | {"app": "web"}, {ORIGINAL_LABELS: "{}"}, True),  # its own labels were given back
        ("MODIFIED", KEY | {"app": "web"}, {}, False),  # never detached
        ("DELETED", KEY, {}, True),
    ],
)
def test_an_event_of_a_held_pod_concerns_when_the_cut_is_lost(
    event: str, labels: dict[str, str], annotations: dict[str, str], *, concerns: bool
) -> None:
    assert concern(followed(), POD, event, pod(labels=labels, annotations=annotations).raw) is concerns


@pytest.mark.parametrize(
    ("target", "labels", "owner", "concerns"),
    [
        ({"pod": "web-1"}, {"app": "web"}, None, False),
        ({"pod": "late"}, {"app": "web"}, None, True),
        (APP_WEB, {"app": "web"}, None, True),
        (APP_WEB, {"app": "db"}, None, False),
        (APP_WEB, {"app": "web"} | KEY, None, False),
        ({"workload": {"kind": "Deployment", "name": "web"}}, {}, ("ReplicaSet", "web-5d"), True),
        ({"workload": {"kind": "Deployment", "name": "web"}}, {}, None, False),
        ({"serviceAccount": "web"}, {}, None, True),  # metadata alone does not tell the account
    ],
)
def test_a_new_pod_concerns_a_target_that_may_mean_it(
    target: Json, labels: dict[str, str], owner: tuple[str, str] | None, *, concerns: bool
) -> None:
    assert concern(followed(target), POD, "ADDED", pod("late", labels=labels, owner=owner).raw) is concerns


@pytest.mark.parametrize(
    ("event", "name", "spec", "contained", "concerns"),
    [
        ("ADDED", "mine", quarantine.deny_all_spec(INCIDENT), "Enforced", False),
        ("MODIFIED", "mine", {**quarantine.deny_all_spec(INCIDENT), "egress": [{}]}, "Enforced", True),
        ("DELETED", "mine", quarantine.deny_all_spec(INCIDENT), "Enforced", True),
        ("ADDED", "open", {"podSelector": {}, "ingress": [{}]}, "Enforced", True),
        ("ADDED", "closed", {"podSelector": {}, "policyTypes": ["Ingress"]}, "Enforced", False),
        ("MODIFIED", "closed", {"podSelector": {}, "policyTypes": ["Ingress"]}, "Enforced", False),
        ("MODIFIED", "closed", {"podSelector": {}, "policyTypes": ["Ingress"]}, "AllowedByOtherPolicies", True),
        ("DELETED", "open", {"podSelector": {}, "ingress": [{}]}, "AllowedByOtherPolicies", True),
        ("DELETED", "open", {"podSelector": {}, "ingress": [{}]}, "Enforced", False),
    ],
)
def test_an_event_of_a_policy_concerns_when_it_may_change_what_is_allowed(
    event: str, name: str, spec: Json, contained: str, *, concerns: bool
) -> None:
    live = policy(INCIDENT.policy if name == "mine" else name, spec)
    assert concern(followed(conditions={"Contained": contained}), POLICY, event, live) is concerns


@pytest.mark.parametrize(
    ("event", "name", "subjects", "identity", "concerns"),
    [
        ("MODIFIED", "reader", [account_subject()], "Revoked", True),
        ("ADDED", "another", [account_subject()], "Revoked", True),
        ("MODIFIED", "reader", [], "Revoked", False),  # our own revocation
        ("MODIFIED", "reader", [], "RightsRemain", True),
        ("MODIFIED", "another", [{"kind": "User", "name": "ann"}], "RightsRemain", False),
        ("DELETED", "reader", [account_subject()], "Undone", True),
        ("DELETED", "reader", [account_subject()], "Revoked", False),
    ],
)
def test_an_event_of_a_binding_concerns_when_a_right_may_be_back_or_gone(
    event: str, name: str, subjects: list[Json], identity: str, *, concerns: bool
) -> None:
    binding = {"metadata": {"name": name, "namespace": "shop"}, "subjects": subjects}
    assert concern(followed(conditions={"IdentityContained": identity}), BINDING, event, binding) is concerns


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (POD, pod("another", labels={"app": "web"}).raw),
        (POLICY, policy("firebreak-another", quarantine.deny_all_spec(INCIDENT))),
        (
            BINDING,
            {"metadata": {"name": "another", "namespace": "shop"}, "subjects": [{"kind": "User", "name": "ann"}]},
        ),
    ],
)
def test_what_is_about_others_is_not_even_looked_at(kind: str, obj: Json) -> None:
    """Of a thousand incidents in a namespace each would look at each other's pod and policy."""
    found = marks(kind, "MODIFIED", obj)
    assert found is not None
    assert not followed().marks(kind) & {*found, ANY}


def test_a_list_without_our_pod_or_our_policy_says_that_it_was_lost() -> None:
    assert followed().lost(POD, {"uid-other"}, {"web-1"})
    assert not followed().lost(POD, {"uid-web-1"}, {"web-1"})
    assert followed().lost(POLICY, {"u"}, {"allow-web"})
    assert not followed().lost(POLICY, {"u"}, {INCIDENT.policy})


def test_followers_watch_only_for_pods_that_join_and_nobody_watches_for_a_plan() -> None:
    cluster = [("RoleBinding", None), ("ClusterRoleBinding", None)]
    assert [*followed().streams(leading=True)] == [(POD, "shop"), (POLICY, "shop"), *cluster]
    assert [*followed().streams(leading=False)] == []
    assert [*followed(APP_WEB).streams(leading=False)] == [(POD, "shop")]
    assert [*followed(mode="Plan").streams(leading=True)] == []
    assert [*followed(state="Closed").streams(leading=True)] == []


def test_rights_that_another_incident_took_away_are_watched_too() -> None:
    """This one says that they are gone, and shrank nothing itself."""
    by_another = replace(followed(conditions={"IdentityContained": "Revoked"}), revoked=frozenset())
    assert [kind for kind, _ in by_another.streams(leading=True)] == [POD, POLICY, BINDING, "ClusterRoleBinding"]
    waiting = replace(followed(conditions={"IdentityContained": "AwaitingApproval"}), revoked=frozenset())
    assert [kind for kind, _ in waiting.streams(leading=True)] == [POD, POLICY]


@pytest.mark.parametrize("raw", [{}, {"spec": 7, "status": {"held": "x", "pods": [], "conditions": {}}}])
def test_an_incident_that_makes_no_sense_is_followed_without_harm(raw: Json) -> None:
    metadata = {"namespace": "shop", "name": "odd", "uid": "u"}
    assert [*Followed.of({**raw, "metadata": metadata}).streams(leading=True)] == []


def managed(obj: Json, *writers: tuple[str, str, Json]) -> Json:
    entries = [{"manager": m, "time": t, "fieldsV1": fields} for m, t, fields in writers]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def test_the_last_writer_of_a_field_is_named_and_nobody_where_none_is_on_record() -> None:
    spec: Json = {"f:spec": {}}
    live = managed(policy("p", {}), ("helm", "1", spec), ("kubectl-edit", "2", spec), ("x", "3", {"f:metadata": {}}))
    assert last_writer(live, "f:spec") == "kubectl-edit"
    assert last_writer(live, "f:metadata", "f:labels") == "somebody"


def test_what_was_undone_is_said_with_its_author_where_the_server_records_one() -> None:
    live = managed(policy(INCIDENT.policy, {"egress": [{}]}), ("kubectl-edit", "2", {"f:spec": {}}))
    labelled = pod(labels=KEY | {"app": "web"}, owner=("ReplicaSet", "web-5d"))
    labelled = type(labelled)(managed(labelled.raw, ("argocd-controller", "2", {"f:metadata": {"f:labels": {}}})))
    facts = Network(INCIDENT, (labelled,), (live,))
    mend = Change(Verb.PATCH, Ref(POLICY, INCIDENT.policy, "shop"), why="", undo="")
    unlabelled = (
        "label quarantine.firebreak.dev/11111111-aaaa of pod web-1 was taken off, by whom only the audit log knows"
    )
    assert undone(mend, facts) == "policy firebreak-11111111-aaaa was changed by kubectl-edit"
    assert undone(quarantine.deny_all(INCIDENT), facts) == (
        "policy firebreak-11111111-aaaa was deleted, by whom only the audit log knows"
    )
    assert undone(quarantine.label(INCIDENT, labelled.ref), facts) == unlabelled
    assert undone(quarantine.strip(labelled, INCIDENT), facts) == (
        "labels of pod web-1 were given back by argocd-controller"
    )
