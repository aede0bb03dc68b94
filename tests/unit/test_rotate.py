"""Rotate: values only where owners opted in, old tokens deleted, everything else named; no value ever in sight."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import INCIDENT, applied, pod, unhurried, workload
from firebreak.model.change import Change, Generated, Ref, Risk, Verb, holds
from firebreak.model.facts import Secrets, SecretUse
from firebreak.steps.rotate import ALPHABETS, BadAnnotation, consumed, owns, plan, recipe

Json = dict[str, Any]

ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WAY = "env PW of container web"
OPTED_IN = '{"password": {"length": 24, "alphabet": "hex"}}'


MARK = "rotated.firebreak.dev/11111111-aaaa"


def use(
    name: str = "db",
    annotation: str | None = None,
    *,
    owner: Json | None = None,
    token: bool = False,
    version: str = "7",
    rotated: str = "",
    by: str = INCIDENT.uid,
    keys: Iterable[str] = ("password",),
) -> SecretUse:
    fields = {"f:data": {f"f:{key}": {} for key in keys}}
    metadata: Json = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "resourceVersion": version,
        "managedFields": [{"manager": "kubectl", "fieldsV1": fields}],
    }
    if annotation is not None:
        metadata["annotations"] = {"firebreak.dev/rotate": annotation}
    if rotated:
        metadata["annotations"] |= {f"rotated.firebreak.dev/{by}": rotated}
    if owner:
        metadata["ownerReferences"] = [owner]
    return SecretUse("shop", name, (WAY,), metadata, token)


def consumer(name: str = "web", uses: str = "db", *, kind: str = "Deployment") -> Json:
    env = [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": uses, "key": "password"}}}]
    return workload(name, kind=kind, containers=[{"name": "web", "env": env}])


def planned(*uses: SecretUse, **facts: Any) -> list[Change]:
    """Plan for uses; where one carries our mark, our record says so too unless `begun` is given."""
    marked = frozenset(each.name for each in uses if MARK in ((each.metadata or {}).get("annotations") or {}))
    return list(plan(Secrets(INCIDENT, uses, **{"begun": marked, **facts})))


# --- a value where the owner opted in


def test_a_secret_whose_owner_opted_in_gets_values_that_come_into_being_when_sent() -> None:
    (change,) = planned(use(annotation=OPTED_IN))
    assert (change.verb, change.target) == (Verb.PATCH, Ref("Secret", "db", "shop", "uid-db"))
    assert change.body == {
        "metadata": {"annotations": {MARK: "7"}},
        "stringData": {"password": Generated(24, "0123456789abcdef")},
    }
    assert change.why == "in reach (env PW of container web); its owner opted in for password"
    assert change.undo == "none: the old values are gone, on purpose"
    assert (change.once, change.metadata_only, change.refusal) == (True, True, None)


@pytest.mark.parametrize(
    ("annotation", "keys", "named"),
    [
        ('{"pasword": {}}', ("password",), "pasword"),
        ('{"password": {}, "b": {}, "a": {}}', ("password",), "a, b"),
        ('{"password": {}}', (), "password"),
    ],
)
def test_a_key_that_the_secret_does_not_have_is_a_mistake_and_rotates_nothing(
    annotation: str, keys: tuple[str, ...], named: str
) -> None:
    (change,) = planned(use(annotation=annotation, keys=keys))
    assert (change.body, change.refusal) == (None, "a person must rotate it")
    assert change.why == (
        f"annotation firebreak.dev/rotate names {named}, which the secret has no value for by its managedFields: "
        "a new key would rotate nothing; correct the annotation"
    )


def test_keys_that_were_applied_as_text_count() -> None:
    applied_as_text = use(annotation=OPTED_IN, keys=())
    assert applied_as_text.metadata is not None
    fields = {"f:stringData": {"f:password": {}}}
    applied_as_text.metadata["managedFields"] = ["odd", {"manager": "kubectl", "fieldsV1": fields}, {"fieldsV1": 1}]
    assert planned(applied_as_text)[0].refusal is None


def test_rotating_is_not_reversible_and_touches_whoever_uses_the_secret() -> None:
    users = (consumer("web"), consumer("db", kind="StatefulSet"), consumer("other", "tls"))
    change = planned(use(annotation=OPTED_IN), workloads=users)[0]
    assert change.risk == Risk(reversible=False, touches=("Deployment web", "StatefulSet db"))


@pytest.mark.parametrize(
    ("annotation", "keys"),
    [
        ('{"password": {}}', {"password": Generated(32, ALPHANUMERIC)}),
        ('{"pin": {"length": 8, "alphabet": "digits"}}', {"pin": Generated(8, "0123456789")}),
        (
            '{"a": {"length": 1024}, "b": {"alphabet": "hex"}}',
            {"a": Generated(1024, ALPHANUMERIC), "b": Generated(32, "0123456789abcdef")},
        ),
    ],
)
def test_an_opt_in_says_length_and_alphabet_for_each_key(annotation: str, keys: dict[str, Generated]) -> None:
    assert recipe(annotation) == keys


def test_no_alphabet_repeats_a_letter_or_breaks_a_line() -> None:
    for letters in ALPHABETS.values():
        assert len(set(letters)) == len(letters)
        assert letters.isascii()
        assert letters.isprintable()
        assert not set(letters) & set(" \"'\\`")


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        ("", "it is not JSON"),
        ("yes", "it is not JSON"),
        pytest.param("[" * 100_000, "it is not JSON", id="deep"),
        pytest.param("1" * 10_000, "it is not JSON", id="long"),
        ("{}", "it names no data key"),
        ("[]", "it names no data key"),
        ("null", "it names no data key"),
        ('["password"]', "it names no data key"),
        ('{"password": null}', "takes length and alphabet only"),
        ('{"password": "new-password"}', "takes length and alphabet only"),
        ('{"password": {"value": "hunter2"}}', "takes length and alphabet only"),
        ('{"password": {"length": 7}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": 1025}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": -1}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": 16.5}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": true}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": "32"}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": NaN}}', "a whole number from 8 to 1024"),
        ('{"password": {"length": 1e400}}', "a whole number from 8 to 1024"),
        ('{"password": {"alphabet": "emoji"}}', "is one of alphanumeric, hex, digits, printable"),
        ('{"password": {"alphabet": ["hex"]}}', "is one of alphanumeric, hex, digits, printable"),
        ('{"password": {"alphabet": {}}}', "is one of alphanumeric, hex, digits, printable"),
        ('{"../../etc": {}}', "a data key has at most 253 letters"),
        ('{".": {}}', "a data key has at most 253 letters"),
        ('{"..": {}}', "does not begin with '..'"),
        ('{"..password": {}}', "does not begin with '..'"),
        ('{"": {}}', "a data key has at most 253 letters"),
        ('{"line\\nfeed": {}}', "a data key has at most 253 letters"),
    ],
)
def test_an_opt_in_that_cannot_be_understood_leaves_the_secret_to_a_person(hostile: str, words: str) -> None:
    with pytest.raises(BadAnnotation, match=words):
        recipe(hostile)
    (change,) = planned(use(annotation=hostile))
    assert change.refusal == "a person must rotate it"
    assert change.why.startswith("annotation firebreak.dev/rotate: ")
    assert words in change.why
    assert change.body is None


@unhurried
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_an_opt_in_says_it_is_understood_or_refused(annotation: str) -> None:
    (change,) = planned(use(annotation=annotation))
    assert (change.refusal is None) == (change.body is not None)


# --- what a person must do


def test_a_secret_without_opt_in_is_named_with_the_ways_to_it() -> None:
    (change,) = planned(use())
    assert change.refusal == "a person must rotate it"
    assert change.why == (
        "in reach (env PW of container web); its owner did not opt in with the annotation firebreak.dev/rotate: "
        "rotate it where it is issued"
    )
    assert (change.body, change.undo, change.risk) == (None, "", Risk())


def test_a_secret_that_something_else_makes_is_rotated_at_its_source_even_with_an_opt_in() -> None:
    owner = {"kind": "ExternalSecret", "name": "db", "controller": True}
    (change,) = planned(use(annotation=OPTED_IN, owner=owner))
    assert change.refusal == "a person must rotate it"
    assert change.why == "ExternalSecret db owns it; rotate at the source, it would be overwritten here"


def test_an_owner_that_does_not_control_the_secret_does_not_overwrite_it() -> None:
    (change,) = planned(use(annotation=OPTED_IN, owner={"kind": "Release", "name": "shop"}))
    assert change.refusal is None


def test_a_secret_that_is_gone_may_still_have_leaked() -> None:
    (change,) = planned(SecretUse("shop", "db", (WAY,), None))
    assert change.refusal == "a person must rotate it"
    assert change.why == "named by the pod (env PW of container web) but not there now; rotate what it held"
    assert change.target == Ref("Secret", "db", "shop")


def test_secrets_beyond_the_namespace_are_named_and_never_touched() -> None:
    (change,) = planned(elsewhere=("every secret in bank (RBAC by ClusterRoleBinding web)",))
    assert change.refusal == "a person must rotate it"
    assert change.target == Ref("Secret", "every secret in bank (RBAC by ClusterRoleBinding web)")
    assert change.risk.beyond


# --- tokens of the old kind


def test_a_token_of_the_old_kind_is_deleted_and_no_namesake_of_it() -> None:
    (change,) = planned(use("web-token", token=True))
    assert (change.verb, change.target) == (Verb.DELETE, Ref("Secret", "web-token", "shop", "uid-web-token"))
    assert change.risk == Risk(reversible=False)
    assert (change.once, change.body, change.refusal) == (True, None, None)


def test_nobody_is_restarted_for_a_deleted_token() -> None:
    changes = planned(use("web-token", token=True), workloads=(consumer(uses="web-token"),))
    assert [change.id for change in changes] == ["delete Secret shop/web-token"]


# --- restarts


def test_whoever_uses_a_rotated_secret_is_restarted_after_it() -> None:
    users = (consumer("web"), consumer("db", kind="StatefulSet"), consumer("agent", kind="DaemonSet"))
    changes = planned(use(annotation=OPTED_IN), workloads=users)
    assert [change.id for change in changes] == [
        "patch Secret shop/db",
        "patch Deployment shop/web",
        "patch StatefulSet shop/db",
        "patch DaemonSet shop/agent",
    ]
    assert changes[1].body == {
        "spec": {
            "template": {"metadata": {"annotations": {"restarted.firebreak.dev/11111111-aaaa": "1f3395c638b4ce0d"}}}
        }
    }
    assert changes[1].after == ("patch Secret shop/db",)
    assert changes[1].why == "its pods must start with the new db"
    assert changes[1].undo == "kubectl rollout undo deployment/web -n shop"
    assert changes[1].risk == Risk(touches=("Deployment web",))
    assert holds(changes[1], applied(changes[1], users[0]))


def restarts(*uses: SecretUse, users: tuple[Json, ...]) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """For each restart that is planned: the value that its annotation gets, and what must be done before."""
    return {
        change.id: (change.body, change.after)
        for change in planned(*uses, workloads=users)
        if change.target.kind != "Secret"
    }


def test_the_same_restart_is_planned_before_and_after_its_secrets_were_rotated() -> None:
    users = (consumer(),)
    before = restarts(use(annotation=OPTED_IN, version="7"), users=users)
    after = restarts(use(annotation=OPTED_IN, version="9", rotated="7"), users=users)
    assert before == after


def test_a_secret_that_was_rotated_keeps_its_mark_whoever_touches_it_later() -> None:
    (change,) = planned(use(annotation=OPTED_IN, version="33", rotated="7"))
    assert (change.body or {})["metadata"] == {"annotations": {MARK: "7"}}


def test_a_mark_that_our_record_knows_nothing_of_was_forged_and_saves_nobody() -> None:
    forged = use(annotation=OPTED_IN, version="33", rotated="7")
    (change,) = planned(forged, begun=frozenset())
    assert (change.body or {})["metadata"] == {"annotations": {MARK: "33"}}
    assert [change.refusal for change in planned(forged, begun=frozenset(), others=(JOB,))] == [
        "a person must rotate it"
    ]


def test_a_mark_is_believed_when_the_record_had_no_room_for_all() -> None:
    (change,) = planned(use(annotation=OPTED_IN, version="33", rotated="7"), begun=None)
    assert (change.body or {})["metadata"] == {"annotations": {MARK: "7"}}


def test_the_mark_of_another_incident_is_not_taken_for_ours() -> None:
    (change,) = planned(use(annotation=OPTED_IN, version="33", rotated="7", by="22222222-bbbb"))
    assert (change.body or {})["metadata"] == {"annotations": {MARK: "33"}}


def test_a_restart_for_other_rotations_is_another_restart() -> None:
    users = (workload("web", volumes=[{"name": n, "secret": {"secretName": n}} for n in ("db", "tls")]),)
    first = restarts(use("db", OPTED_IN), users=users)
    more = restarts(use("db", OPTED_IN), use("tls", OPTED_IN), users=users)
    anew = restarts(use("db", OPTED_IN, version="8"), users=users)
    bodies = [str(each["patch Deployment shop/web"][0]) for each in (first, more, anew)]
    assert len(set(bodies)) == 3


def test_users_of_a_rotated_secret_do_not_wait_for_one_that_failed() -> None:
    users = (workload("web", volumes=[{"name": n, "secret": {"secretName": n}} for n in ("db", "tls")]),)
    found = restarts(use("db", OPTED_IN, rotated="7"), use("tls", OPTED_IN), users=users)
    assert {key: after for key, (_, after) in found.items()} == {
        "patch Deployment shop/web (rotated before)": ("patch Secret shop/db",),
        "patch Deployment shop/web": ("patch Secret shop/db", "patch Secret shop/tls"),
    }


def test_whoever_uses_only_what_was_left_to_a_person_is_not_restarted() -> None:
    changes = planned(use("db"), use("tls", OPTED_IN), workloads=(consumer("web", "db"), consumer("edge", "tls")))
    assert [change.id for change in changes] == [
        "patch Secret shop/db",
        "patch Secret shop/tls",
        "patch Deployment shop/edge",
    ]


def test_one_restart_serves_all_the_secrets_of_a_workload() -> None:
    volumes = [{"name": name, "secret": {"secretName": name}} for name in ("tls", "db")]
    changes = planned(use("db", OPTED_IN), use("tls", OPTED_IN), workloads=(workload("web", volumes=volumes),))
    assert changes[-1].why == "its pods must start with the new db, tls"
    assert len(changes) == 3


HELD = pod("web-7d9-x2x9k", owner=("ReplicaSet", "web-7d9"))


def test_a_secret_is_not_rotated_while_a_user_of_it_cannot_be_restarted() -> None:
    users = (consumer("web"), consumer("worker"))
    changes = planned(use(annotation=OPTED_IN), use("tls", OPTED_IN), workloads=users, held=(HELD,))
    assert [(change.id, change.refusal) for change in changes] == [
        ("patch Secret shop/db", "a person must rotate it"),
        ("patch Secret shop/tls", None),
    ]
    assert changes[0].body is None
    assert changes[0].why == (
        "in reach (env PW of container web); Deployment web owns the quarantined pod web-7d9-x2x9k, which a restart "
        "would delete, and without one it would go on with the old value; close the incident, delete the pod, then "
        "rotate and restart"
    )


JOB = pod("report-1", owner=("Job", "report"), containers=consumer()["spec"]["template"]["spec"]["containers"])


def test_a_secret_is_not_rotated_while_a_pod_that_nothing_restarts_uses_it() -> None:
    (change,) = planned(use(annotation=OPTED_IN), others=(JOB, pod("innocent")))
    assert change.refusal == "a person must rotate it"
    assert change.why == (
        "in reach (env PW of container web); Job report uses it too, cannot be restarted from here and would go on "
        "with the old value; rotate it by hand, and start that anew"
    )


def test_a_token_that_this_incident_deleted_is_not_missed() -> None:
    gone = SecretUse("shop", "old-token", (WAY,))
    assert planned(gone, deleted=frozenset({"old-token"})) == []
    assert [change.refusal for change in planned(gone)] == ["a person must rotate it"]


def test_a_restart_that_would_delete_a_quarantined_pod_is_refused_when_the_secret_was_rotated_before() -> None:
    rotated = use(annotation=OPTED_IN, rotated="7")
    change = planned(rotated, workloads=(consumer("web"),), held=(HELD,))[-1]
    assert change.refusal == (
        "a restart would delete the quarantined pod web-7d9-x2x9k; close the incident and delete the pod, then restart"
    )


def test_a_detached_pod_outlives_a_restart() -> None:
    held = pod("web-7d9-x2x9k", labels={}, annotations={"firebreak.dev/original-labels": '{"app": "web"}'})
    assert planned(use(annotation=OPTED_IN), workloads=(consumer("web"),), held=(held,))[-1].refusal is None


@pytest.mark.parametrize(
    ("controller", "owner", "is_its"),
    [
        (workload("db", kind="StatefulSet"), ("StatefulSet", "db"), True),
        (workload("web"), ("ReplicaSet", "web-7d9"), True),
        (workload("web"), ("ReplicaSet", "api-7d9"), False),
        (workload("web", kind="StatefulSet"), ("ReplicaSet", "web-7d9"), False),
        (workload("web"), None, False),
        (workload("web"), ("ReplicaSet", "web-api-7d9"), True),  # of web-api: better a refusal than a lost pod
    ],
)
def test_a_pod_belongs_to_its_controller_directly_or_through_a_replicaset(
    controller: Json, owner: tuple[str, str] | None, *, is_its: bool
) -> None:
    assert owns(controller, pod(owner=owner)) is is_its


def test_the_secrets_of_a_workload_are_those_of_its_template() -> None:
    assert consumed(consumer()) == {"db"}
    assert consumed({}) == set()


# --- values


def test_no_value_stands_in_any_change() -> None:
    changes = planned(
        use("db", OPTED_IN), use("web-token", token=True), use("tls"), workloads=(consumer("web"),), elsewhere=("x",)
    )
    for change in changes:
        assert "Generated" not in repr(change)
        assert "stringData" not in repr(change)
        assert change.before is None
