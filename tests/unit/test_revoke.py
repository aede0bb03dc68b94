"""Revoke: bindings are shrunk, never deleted; and what is asked of the API server afterwards."""

from itertools import product
from typing import Any

import pytest

from builders import INCIDENT, WEB, account_subject, applied, grant
from firebreak.model.change import Ref, Risk, Verb, holds
from firebreak.model.facts import Account, Answer, Grant, Rights
from firebreak.model.verdict import Verdict
from firebreak.steps.cloud import CloudIdentity, Kind
from firebreak.steps.revoke import MOST_QUESTIONS, harmless, in_words, judge, names, plan, questions

Json = dict[str, Any]

USER = {"kind": "User", "name": "system:serviceaccount:shop:web", "apiGroup": "rbac.authorization.k8s.io"}
OPS = {"kind": "Group", "name": "ops", "apiGroup": "rbac.authorization.k8s.io"}
ALICE = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}
SIBLING = {"kind": "ServiceAccount", "name": "api", "namespace": "shop"}


def rights(*grants: Grant, account: Account = WEB, sharers: tuple[str, ...] = ()) -> Rights:
    return Rights(INCIDENT, account, grants, sharers)


def resources(**attributes: Any) -> Json:
    return {
        "user": "system:serviceaccount:shop:web",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        "resourceAttributes": attributes,
    }


# --- shrinking


def test_only_the_account_leaves_a_binding_and_the_others_keep_their_order() -> None:
    (change,) = plan(rights(grant("web", OPS, account_subject(), SIBLING, ALICE)))
    assert (change.verb, change.target) == (Verb.PATCH, Ref("RoleBinding", "web", "shop", "uid-web"))
    assert change.body == {"metadata": {"resourceVersion": "7"}, "subjects": [OPS, SIBLING, ALICE]}
    role = {"kind": "Role", "name": "reader"}
    assert change.before == {"subjects": [OPS, account_subject(), SIBLING, ALICE], "roleRef": role}
    assert change.why == "takes shop/web out of Role reader"
    assert change.undo == "firebreak release web-shell -n shop --rights"
    assert change.risk == Risk()


@pytest.mark.parametrize(
    ("subject", "binding_namespace", "is_it"),
    [
        (account_subject(), "shop", True),
        (account_subject(), "bank", True),
        (account_subject(), None, True),
        ({"kind": "ServiceAccount", "name": "web"}, "shop", True),
        ({"kind": "ServiceAccount", "name": "web"}, "bank", False),
        ({"kind": "ServiceAccount", "name": "web"}, None, False),
        ({"kind": "ServiceAccount", "name": "web", "namespace": "bank"}, "shop", False),
        (SIBLING, "shop", False),
        (USER, "shop", True),
        (USER, None, True),
        (ALICE, "shop", False),
        ({"kind": "Group", "name": "system:serviceaccounts:shop"}, "shop", False),
        ({"kind": "Group", "name": "system:serviceaccount:shop:web"}, "shop", False),
    ],
)
def test_an_account_is_known_by_name_and_namespace_or_as_the_user_behind_it(
    subject: Json, binding_namespace: str | None, *, is_it: bool
) -> None:
    assert names(subject, WEB, grant("b", namespace=binding_namespace).binding) is is_it


def test_an_account_that_stands_twice_leaves_twice() -> None:
    (change,) = plan(rights(grant("web", USER, account_subject(), OPS)))
    assert change.body is not None
    assert change.body["subjects"] == [OPS]


def test_the_last_subject_leaves_an_empty_list_for_deleting_needs_no_right_to_bind() -> None:
    binding = grant("web", account_subject())
    (change,) = plan(rights(binding))
    assert change.body is not None
    assert change.body["subjects"] == []
    stored = {k: v for k, v in (applied(change, binding.binding) or {}).items() if k != "subjects"}
    assert holds(change, stored)  # the API server leaves an empty list out


def test_groups_are_left_alone_and_a_binding_that_names_only_them_needs_no_change() -> None:
    group = {"kind": "Group", "name": "system:serviceaccounts:shop"}
    assert list(plan(rights(grant("everyone", group)))) == []


def test_a_binding_without_subjects_needs_no_change() -> None:
    shrunk = grant("web")
    del shrunk.binding["subjects"]
    assert list(plan(rights(shrunk))) == []


def test_planning_again_after_carrying_out_yields_nothing() -> None:
    facts = [grant("a", account_subject(), OPS), grant("b", USER, namespace=None)]
    changes = list(plan(rights(*facts)))
    after = [Grant(applied(c, g.binding) or {}, ()) for c, g in zip(changes, facts, strict=True)]
    assert list(plan(rights(*after))) == []


@pytest.mark.parametrize(("namespace", "beyond"), [("shop", False), ("bank", True), (None, True)])
def test_what_reaches_beyond_the_namespace_and_who_shares_the_account_is_risk(
    namespace: str | None, *, beyond: bool
) -> None:
    facts = rights(grant("web", account_subject(), namespace=namespace), sharers=("Pod web-2",))
    (change,) = plan(facts)
    assert change.risk == Risk(reversible=True, beyond=beyond, touches=("Pod web-2",))


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_accounts_of_the_cluster_itself_are_refused_with_words(namespace: str) -> None:
    account = Account(namespace, "coredns")
    (change,) = plan(rights(grant("dns", account_subject(account), namespace=None), account=account))
    assert change.refusal == (f"accounts of {namespace} are never revoked automatically; do it by hand if you must")


# --- questions

ALWAYS = 24  # questions that are asked whatever the bindings say: ten in the namespace and everywhere, four everywhere


def test_what_the_bindings_gave_is_asked_as_the_account_with_its_groups() -> None:
    rule = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"], "resourceNames": ["web"]}
    first = questions(rights(grant("web", rules=(rule,))))[0]
    assert first == resources(
        verb="patch", group="apps", resource="deployments", subresource="scale", namespace="shop", name="web"
    )


def test_a_cluster_wide_binding_is_asked_over_all_namespaces_and_paths_are_asked_as_such() -> None:
    rules = (
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    )
    first, second = questions(rights(grant("web", namespace=None, rules=rules)))[:2]
    assert first == resources(verb="list", resource="nodes")
    assert second["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
    assert second["user"] == "system:serviceaccount:shop:web"


def test_every_combination_of_a_rule_is_asked_once() -> None:
    rule = {"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get", "list"]}
    asked = questions(rights(grant("a", rules=(rule,)), grant("b", rules=(rule,))))
    given = [q["resourceAttributes"] for q in asked[:8]]
    assert {(a.get("group", ""), a["resource"], a["verb"]) for a in given} == set(
        product(("", "apps"), ("pods", "deployments"), ("get", "list"))
    )
    assert len(asked) == 8 + ALWAYS


def test_the_staples_are_asked_in_the_namespace_and_everywhere_whatever_the_bindings_said() -> None:
    asked = questions(rights())
    assert len(asked) == ALWAYS
    assert resources(verb="get", resource="secrets", namespace="shop") in asked
    assert resources(verb="get", resource="secrets") in asked
    assert resources(verb="create", resource="serviceaccounts", subresource="token", namespace="shop") in asked
    assert resources(verb="get", resource="nodes", subresource="proxy") in asked
    assert resources(verb="get", resource="nodes", subresource="proxy", namespace="shop") not in asked


def bound(name: str, role: str, kind: str = "ClusterRole", namespace: str | None = None) -> Grant:
    """A binding of every account that lets it read a path, ask about itself, and read secrets."""
    rules: tuple[Json, ...] = (
        {"nonResourceURLs": ["/api"], "verbs": ["get"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["db"]},
    )
    found = grant(name, namespace=namespace, rules=rules)
    return Grant({**found.binding, "roleRef": {"kind": kind, "name": role}}, rules)


def test_what_everybody_has_and_reads_nothing_is_not_asked_and_all_else_of_such_a_role_is() -> None:
    shared = (bound("system:discovery", "system:discovery"),)
    asked = questions(Rights(INCIDENT, WEB, shared=shared))
    assert asked[0] == resources(verb="get", resource="secrets", name="db")
    assert len(asked) == 1 + ALWAYS


@pytest.mark.parametrize(
    "like_it",
    [
        bound("discovery", "system:discovery"),
        bound("system:discovery", "discovery"),
        bound("system:discovery", "system:discovery", kind="Role"),
        bound("system:discovery", "system:discovery", namespace="shop"),
    ],
)
def test_what_another_binding_gives_as_well_is_asked(like_it: Grant) -> None:
    shared = (bound("system:discovery", "system:discovery"), like_it)
    assert len(questions(Rights(INCIDENT, WEB, shared=shared))) >= 3 + ALWAYS


def test_what_a_binding_of_the_account_itself_gives_is_asked_whatever_its_name() -> None:
    assert len(questions(rights(bound("system:discovery", "system:discovery")))) == 3 + ALWAYS


def test_a_role_that_multiplies_to_billions_is_bounded_and_leaves_room_for_the_staples() -> None:
    words = [f"x{n}" for n in range(5000)]
    rule = {"apiGroups": words, "resources": words, "verbs": words, "resourceNames": words}
    asked = questions(rights(grant("huge", rules=(rule,))))
    assert len(asked) == MOST_QUESTIONS == 200
    assert resources(verb="get", resource="secrets", namespace="shop") in asked


def test_a_role_that_repeats_itself_without_end_is_read_in_bounded_time() -> None:
    rule = {"apiGroups": [""] * 5000, "resources": ["pods"] * 5000, "verbs": ["get"] * 5000}
    assert len(questions(rights(grant("same", rules=(rule,))))) == 1 + ALWAYS


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (resources(verb="get", resource="secrets", namespace="shop"), "get secrets in shop"),
        (resources(verb="create", resource="pods", subresource="exec"), "create pods/exec in all namespaces"),
        (resources(verb="get", resource="secrets", namespace="shop", name="db"), "get secrets db in shop"),
        ({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}, "get /metrics"),
    ],
)
def test_a_question_reads_as_words(question: Json, words: str) -> None:
    assert in_words(question) == words


def test_a_rule_of_empty_words_can_be_said() -> None:
    rule = {"apiGroups": [""], "resources": [""], "verbs": [""]}
    assert in_words(questions(rights(grant("odd", rules=(rule,))))[0]) == "  in shop"


# --- what everybody has

DISCOVERY: Json = {"nonResourceAttributes": {"path": "/api", "verb": "get"}}
SELF_REVIEW: Json = {
    "resourceAttributes": {
        "verb": "create",
        "group": "authorization.k8s.io",
        "resource": "selfsubjectaccessreviews",
    }
}
SECRETS: Json = {"resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "shop"}}

# As API server 1.35 says it.
BY_DISCOVERY = (
    'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" '
    'to Group "system:authenticated"'
)
BY_BASIC_USER = BY_DISCOVERY.replace("system:discovery", "system:basic-user")
BY_ISSUER_DISCOVERY = (
    'RBAC: allowed by ClusterRoleBinding "system:service-account-issuer-discovery" '
    'of ClusterRole "system:service-account-issuer-discovery" to Group "system:serviceaccounts"'
)
KEYS: Json = {"nonResourceAttributes": {"path": "/openid/v1/jwks", "verb": "get"}}


@pytest.mark.parametrize(
    ("question", "reason"),
    [(DISCOVERY, BY_DISCOVERY), (SELF_REVIEW, BY_BASIC_USER), (KEYS, BY_ISSUER_DISCOVERY)],
)
def test_what_every_identity_has_does_not_count_as_left(question: Json, reason: str) -> None:
    assert harmless(question, reason)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (SECRETS, BY_DISCOVERY),
        (SECRETS, BY_ISSUER_DISCOVERY),
        (SELF_REVIEW | {"resourceAttributes": {"verb": "*", "resource": "selfsubjectaccessreviews"}}, BY_BASIC_USER),
        (DISCOVERY, BY_DISCOVERY.replace("ClusterRoleBinding", "RoleBinding")),
        (DISCOVERY, BY_DISCOVERY.replace("of ClusterRole", "of Role")),
        (DISCOVERY, BY_DISCOVERY.replace('Binding "system:discovery"', 'Binding "mine"')),
        (DISCOVERY, BY_DISCOVERY.replace('Role "system:discovery"', 'Role "cluster-admin"')),
        (DISCOVERY, BY_DISCOVERY.replace('Group "system:authenticated"', 'User "system:serviceaccount:shop:web"')),
        (DISCOVERY, BY_DISCOVERY.replace("system:authenticated", "ops")),
        (DISCOVERY, f"{BY_DISCOVERY} "),
        (DISCOVERY, f"see {BY_DISCOVERY}"),
        (DISCOVERY, ""),
    ],
)
def test_a_name_like_a_harmless_ones_makes_nothing_harmless(question: Json, reason: str) -> None:
    assert not harmless(question, reason)


# --- what may be said of it


ROLE = CloudIdentity(Kind.IRSA, WEB, "arn:aws:iam::123456789012:role/shop")
PRINCIPAL = CloudIdentity(Kind.GOOGLE_DIRECT, WEB)


def test_rights_are_gone_when_nothing_is_allowed_that_not_everybody_may_do() -> None:
    answers = [Answer(SECRETS, allowed=False, reason=""), Answer(DISCOVERY, allowed=True, reason=BY_DISCOVERY)]
    said = Verdict(
        "IdentityContained", "True", "Revoked", "shop/web: the API server refused all 2 requests asked about"
    )
    assert judge([WEB], answers, []) == said


def test_what_is_left_is_named_with_its_source_and_comes_before_the_cloud() -> None:
    reason = 'RBAC: allowed by RoleBinding "ops/shop" of Role "ops" to Group "system:serviceaccounts:shop"'
    verdict = judge([WEB], [Answer(SECRETS, allowed=True, reason=reason)], [ROLE])
    assert (verdict.status, verdict.reason) == ("False", "RightsRemain")
    assert verdict.message == f"still allowed: get secrets in shop ({reason}); {ROLE.words}"


@pytest.mark.parametrize(
    ("subjects", "settled"),
    [
        (('Group "system:serviceaccounts:shop"', 'Group "system:authenticated"'), True),
        (('Group "system:serviceaccounts:shop"', 'ServiceAccount "web/shop"'), False),
        (('User "system:serviceaccount:shop:web"',), False),
    ],
)
def test_only_what_groups_give_is_no_answer_from_before_the_revocation(
    subjects: tuple[str, ...], *, settled: bool
) -> None:
    reason = 'RBAC: allowed by RoleBinding "ops/shop" of Role "ops" to '
    answers = [Answer(SECRETS, allowed=True, reason=f"{reason}{subject}") for subject in subjects]
    assert judge([WEB], [*answers, Answer(SECRETS, allowed=False, reason="")]).settled is settled


def test_a_live_cloud_identity_and_no_account_at_all_are_not_contained() -> None:
    assert judge([WEB], [], [ROLE]).reason == "CloudCredentialsLive"
    assert judge([], [], []).reason == "TargetNotFound"


def test_what_a_hook_says_it_revoked_is_said_as_what_the_hook_says() -> None:
    verdict = judge([WEB], [], [ROLE], {ROLE.change.id})
    assert (verdict.status, verdict.reason) == ("Unknown", "RevokedByHook")
    assert verdict.message == (
        "AWS role arn:aws:iam::123456789012:role/shop of account shop/web: revoked, says the hook; "
        "Firebreak cannot look into the cloud"
    )


def test_what_only_the_cloud_knows_is_unknown() -> None:
    verdict = judge([WEB], [], [PRINCIPAL])
    assert (verdict.status, verdict.reason) == ("Unknown", "CloudUnknown")
    assert verdict.message.startswith("Google principal of account shop/web may hold roles; gcloud asset ")
