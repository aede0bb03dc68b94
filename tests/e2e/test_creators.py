"""Who may open which incident, with real tokens bound to the sample roles; every refusal by its message."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, own_namespace
from people import Person, Registry, sample_roles
from shop_objects import incident

MANIFESTS = Path(__file__).parents[2] / "manifests"
NOBODY = {"pod": "nobody"}
BUILT_IN = ("view", "edit", "admin")
ALL_PLAYBOOKS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "all-playbooks"},
    "rules": [{"apiGroups": ["firebreak.dev"], "resources": ["playbooks"], "verbs": ["use"]}],
}


@pytest.fixture(scope="module")
def people(
    firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Person]]:
    """One person for each sample role, bound in one namespace."""
    kubectl("apply", "--kustomize", str(MANIFESTS / "playbooks"))
    with sample_roles(kubectl), own_namespace(kubectl, "creators") as namespace:
        registry = Registry(cluster, kubectl, namespace, tmp_path_factory.mktemp("people"))
        parts = ("viewer", "alert-source", "responder", "approver", "releaser")
        yield {part: registry.person(part, f"firebreak-{part}") for part in parts}


def manifest(name: str, spec: dict[str, Any]) -> str:
    return json.dumps(incident(name, NOBODY, **{"source": "falco", **spec}))


def open_as(person: Person, name: str, **spec: Any) -> str:
    return person("create", "--filename", "-", stdin=manifest(name, spec))


def refused_to_open(person: Person, name: str, **spec: Any) -> str:
    return person.refused("create", "--filename", "-", stdin=manifest(name, spec))


def patch(**spec: Any) -> tuple[str, ...]:
    return ("--type=merge", "--patch", json.dumps({"spec": spec}))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"annotations": {"payload": "x" * 1025}}, "at most 16 annotations of 1024 characters"),
        ({"annotations": {f"a{number}": "" for number in range(17)}}, "at most 16 annotations of 1024 characters"),
        ({"labels": {f"l{number}": "" for number in range(33)}}, "at most 32 labels"),
        ({"finalizers": [f"example.com/{number}" for number in range(9)]}, "8 finalizers"),
    ],
    ids=["long annotation", "many annotations", "many labels", "many finalizers"],
)
def test_an_alert_source_cannot_fill_our_memory_with_what_no_incident_needs(
    people: dict[str, Person], metadata: dict[str, Any], words: str
) -> None:
    opened = incident("fat", NOBODY, source="falco", playbook="contain")
    opened["metadata"] |= metadata
    assert words in people["alert-source"].refused("create", "--filename", "-", stdin=json.dumps(opened))


def test_an_alert_source_opens_incidents_that_contain_and_preserve_and_nothing_else(people: dict[str, Person]) -> None:
    source = people["alert-source"]
    assert "created" in open_as(source, "alert", playbook="contain")
    assert "created" in open_as(source, "quiet", playbook="contain", mode="Preserve")
    for verb in ("get", "list", "update", "patch", "delete", "respond", "release"):
        assert not source.may(verb, "incidents.firebreak.dev"), verb


def test_nobody_takes_the_name_of_an_alert_s_incident_before_the_intake_does(people: dict[str, Person]) -> None:
    source = people["alert-source"]
    for name in ("falco-0123456789abcdef0123", "audit-0123456789abcdef0123-2"):
        assert f"{name} is the name that the intake would give" in refused_to_open(source, name, playbook="contain")
    assert "created" in open_as(source, "falco-0123456789abcdef012", playbook="contain")


@pytest.mark.parametrize("spec", [{}, {"mode": "Plan"}, {"playbook": "unattended"}, {"playbook": "contain-more"}])
def test_a_playbook_that_the_creator_may_not_use_is_refused_by_name(
    people: dict[str, Person], spec: dict[str, str]
) -> None:
    source, playbook = people["alert-source"], spec.get("playbook", "standard")
    assert (
        f"firebreak: {source.user} may not use playbook {playbook} in namespace {source.namespace}; name another one, "
        "or ask for the verb use on playbooks of this name (manifests/samples/roles.yaml has roles)"
    ) in refused_to_open(source, "misuse", **spec)


def test_who_may_not_respond_is_told_which_playbook_to_use(people: dict[str, Person], kubectl: Kubectl) -> None:
    source, where = people["alert-source"], ("--namespace", people["alert-source"].namespace)
    kubectl("apply", "--filename", "-", *where, stdin=json.dumps(ALL_PLAYBOOKS))
    account = f"--serviceaccount={source.namespace}:alert-source"
    kubectl("create", "rolebinding", "all-playbooks", *where, "--role=all-playbooks", account)
    try:
        wait_until(lambda: source.may("use", "playbooks.firebreak.dev"), timeout=10, otherwise="no right to use")
        for playbook in ("standard", "unattended", "not-there-yet"):
            assert (
                f"firebreak: playbook {playbook} may do more than contain and preserve, for which {source.user} needs "
                f"the verb respond on incidents in namespace {source.namespace}; without it write playbook: contain "
                "(firebreak contain --playbook contain), which cuts the pods off and preserves the evidence"
            ) in refused_to_open(source, "too-much", playbook=playbook)
        for name, spec in (("planned", {"mode": "Plan"}), ("kept", {"mode": "Preserve"})):
            assert "created" in open_as(source, name, **spec), "neither changes anything beyond evidence"
    finally:
        kubectl("delete", "rolebinding", "all-playbooks", *where)


def test_a_responder_opens_steers_and_closes(people: dict[str, Person]) -> None:
    responder = people["responder"]
    open_as(responder, "full")
    open_as(responder, "first-look", mode="Plan")
    responder("patch", "incident", "first-look", *patch(mode="Respond"))
    open_as(responder, "grows", playbook="contain")
    responder("patch", "incident", "grows", *patch(playbook="standard"))
    responder("patch", "incident", "full", *patch(state="Closed", verdict="Exercise", ticket="SEC-7"))
    assert "may not use playbook unattended" in responder.refused(
        "patch", "incident", "grows", *patch(playbook="unattended")
    )


def test_an_update_does_not_go_around_what_a_creation_is_asked(people: dict[str, Person]) -> None:
    """Who may update incidents and neither use nor respond can write the ticket and close; no more."""
    responder, releaser = people["responder"], people["releaser"]
    open_as(responder, "look", mode="Plan")
    open_as(responder, "small", playbook="contain")
    words = f"firebreak: {releaser.user} may not use playbook standard in namespace {releaser.namespace}"
    assert words in releaser.refused("patch", "incident", "look", *patch(mode="Respond"))
    assert words in releaser.refused("patch", "incident", "small", *patch(playbook="standard"))
    releaser("patch", "incident", "small", *patch(ticket="SEC-8", severity="Low"))
    releaser("annotate", "incident", "look", "team=blue")
    releaser("patch", "incident", "small", *patch(state="Closed", verdict="FalsePositive"))


@pytest.mark.parametrize("part", ["viewer", "approver", "releaser"])
def test_the_other_roles_open_nothing(people: dict[str, Person], part: str) -> None:
    assert 'cannot create resource "incidents"' in refused_to_open(people[part], "not-mine", playbook="contain")
    assert people[part].may("list", "incidents.firebreak.dev")


def test_nobody_opens_an_incident_in_somebody_elses_name(people: dict[str, Person]) -> None:
    source, responder = people["alert-source"], people["responder"]
    assert (
        f"firebreak: spec.openedBy names {responder.user}, and {source.user} is asking; nobody opens an incident in "
        "the name of somebody else: leave openedBy out"
    ) in refused_to_open(source, "blamed", playbook="contain", openedBy=responder.user)
    open_as(source, "honest", playbook="contain", openedBy=source.user)
    for name, value in (("honest", responder.user), ("honest", None), ("full", responder.user)):
        words = responder.refused("patch", "incident", name, *patch(openedBy=value))
        assert "spec.openedBy is set at creation or never" in words


def test_the_command_says_who_opened_an_incident(people: dict[str, Person]) -> None:
    responder = people["responder"]
    target = ["contain", "serviceaccount/default", "--reason", "a drill", "--name", "by-command", "--no-wait"]
    responder.firebreak(*target)
    opened_by = responder("get", "incident", "by-command", "--output", "jsonpath={.spec.openedBy}")
    assert opened_by == responder.user


def test_no_role_of_kubernetes_includes_any_of_it(people: dict[str, Person], kubectl: Kubectl) -> None:
    for role in BUILT_IN:
        rules = json.loads(kubectl("get", "clusterrole", role, "--output", "json"))["rules"]
        assert rules, role
        assert [rule for rule in rules if "firebreak.dev" in rule.get("apiGroups", [])] == [], role


@pytest.mark.parametrize("name", ["contain", "contain-databases"])
def test_a_playbook_that_is_named_for_containing_cannot_do_more(
    people: dict[str, Person], kubectl: Kubectl, name: str
) -> None:
    playbook = {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Playbook",
        "metadata": {"name": name},
        "spec": {"steps": [{"quarantine": {}}, {"revoke": {}}]},
    }
    with pytest.raises(ClusterError) as refusal:
        kubectl("apply", "--dry-run=server", "--filename", "-", stdin=json.dumps(playbook))
    words = "a playbook named contain or contain-... only contains and preserves: steps quarantine and capture"
    assert words in str(refusal.value)
