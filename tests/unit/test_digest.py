"""The digest of a plan: the same for the same plan, another for any other, whatever time and order do to it."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import INCIDENT, WEB, account_subject, grant, pod, unhurried, workload
from firebreak.model.change import Change, Generated, Ref, Risk, Verb
from firebreak.model.digest import differences, digest_of, digests, plan_digest
from firebreak.model.facts import Rights, Secrets, SecretUse, Workload
from firebreak.steps import replace as replacing
from firebreak.steps import revoke, rotate

SHRINK = Change(
    Verb.PATCH,
    Ref("RoleBinding", "web-reader", "shop", "uid-1"),
    body={"metadata": {"resourceVersion": "7"}, "subjects": [{"kind": "User", "name": "alice"}]},
    before={"subjects": [{"kind": "User", "name": "alice"}, {"kind": "User", "name": "web"}]},
    part="shop/web",
    why="takes shop/web out of Role reader",
    undo="firebreak release",
    risk=Risk(touches=("Deployment web",)),
)


def test_a_digest_is_a_sha_256_and_stays_the_same_from_release_to_release() -> None:
    assert digest_of(SHRINK) == "sha256:e25e4d039473cfde78cf1f16a75d7c0b76aeccc9bdf7394d08a452916a2eece5"


@pytest.mark.parametrize(
    "noise",
    [
        replace(SHRINK, why="takes shop/web out of Role reader, into which somebody had put it back"),
        replace(SHRINK, undo="by hand"),
        replace(SHRINK, body={**(SHRINK.body or {}), "metadata": {"resourceVersion": "8", "uid": "uid-1"}}),
        replace(SHRINK, before={"subjects": list(reversed((SHRINK.before or {})["subjects"]))}),
    ],
    ids=["why", "undo", "version", "order of subjects"],
)
def test_words_versions_and_order_change_nothing(noise: Change) -> None:
    assert digest_of(noise) == digest_of(SHRINK)


@pytest.mark.parametrize(
    "other",
    [
        replace(SHRINK, verb=Verb.DELETE),
        replace(SHRINK, target=Ref("RoleBinding", "web-reader", "shop", "uid-2")),
        replace(SHRINK, target=Ref("RoleBinding", "web-writer", "shop", "uid-1")),
        replace(SHRINK, part="shop/db"),
        replace(SHRINK, body={"metadata": {}, "subjects": []}),
        replace(SHRINK, before={"subjects": []}),
        replace(SHRINK, risk=Risk(touches=("Deployment web", "Deployment db"))),
        replace(SHRINK, risk=Risk(touches=("Deployment web",), beyond=True)),
        replace(SHRINK, risk=Risk(touches=("Deployment web",), put_back="Flux will put it back")),
        replace(SHRINK, after=("patch Secret shop/db",)),
        replace(SHRINK, refusal="by hand"),
    ],
)
def test_what_is_done_to_whom_and_at_what_risk_changes_it(other: Change) -> None:
    assert digest_of(other) != digest_of(SHRINK)


def test_the_order_of_strings_in_a_list_matters() -> None:
    one, two = ({"spec": {"args": args}} for args in (["rm", "-r"], ["-r", "rm"]))
    assert digest_of(replace(SHRINK, body=one)) != digest_of(replace(SHRINK, body=two))


def test_what_a_generated_value_stands_for_counts() -> None:
    long, short = ({"stringData": {"password": Generated(n, "abc")}} for n in (32, 8))
    assert digest_of(replace(SHRINK, body=long)) != digest_of(replace(SHRINK, body=short))


def test_literal_values_of_environments_are_not_in_it() -> None:
    bodies = [{"spec": {"containers": [{"name": "c", "env": [{"name": "P", "value": v}]}]}} for v in ("abcd", "wxyz")]
    assert digest_of(replace(SHRINK, body=bodies[0])) == digest_of(replace(SHRINK, body=bodies[1]))


def test_another_incident_or_step_has_another_plan_of_the_same_changes() -> None:
    plans = {plan_digest(uid, step, [SHRINK]) for uid in ("uid-1", "uid-2") for step in ("revoke", "rotate")}
    assert len(plans) == 4


def test_how_two_plans_differ_is_said_by_name() -> None:
    gone, altered, new = (replace(SHRINK, part=part) for part in ("gone", "altered", "new"))
    before = digests([gone, altered])
    now = digests([replace(altered, body=None), new])
    assert differences(before, now) == (
        "new: patch RoleBinding shop/web-reader (new); gone: patch RoleBinding shop/web-reader (gone); "
        "altered: patch RoleBinding shop/web-reader (altered)"
    )
    assert differences(before, before) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.builds(
    Change,
    verb=st.sampled_from(Verb),
    target=st.builds(Ref, st.just("Secret"), st.sampled_from(["a", "b"]), st.just("shop"), st.sampled_from(["1", "2"])),
    why=st.text(max_size=5),
    undo=st.text(max_size=5),
    body=st.none() | st.dictionaries(st.sampled_from(["spec", "data", "subjects"]), JSON, max_size=2),
    before=st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=2),
    part=st.sampled_from(["", "x"]),
)


@unhurried
@given(st.lists(CHANGES, max_size=4, unique_by=lambda c: c.id), st.randoms())
def test_a_plan_read_back_and_shuffled_is_the_same_plan(changes: list[Change], random: Any) -> None:
    again = [replace(c, body=json.loads(json.dumps(c.body)), before=copy.deepcopy(c.before)) for c in changes]
    random.shuffle(again)
    assert plan_digest("uid", "revoke", again) == plan_digest("uid", "revoke", changes)


@unhurried
@given(st.lists(CHANGES, min_size=1, max_size=4, unique_by=lambda c: c.id), st.data())
def test_a_plan_with_a_change_less_or_a_change_altered_is_another_plan(changes: list[Change], data: Any) -> None:
    index = data.draw(st.integers(0, len(changes) - 1))
    fewer = changes[:index] + changes[index + 1 :]
    altered = [*fewer, replace(changes[index], risk=Risk(reversible=False))]
    assert len({plan_digest("uid", "revoke", each) for each in (changes, fewer, altered)}) == 3


# --- plans of the steps, made twice


def noisy(obj: dict[str, Any]) -> dict[str, Any]:
    """The same object after somebody wrote something else of it."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "99", "labels": {"noise": "yes"}}}


def test_the_plan_to_revoke_does_not_depend_on_versions() -> None:
    binding = grant("reader", account_subject())
    first, second = (
        Rights(INCIDENT, WEB, (each,)) for each in (binding, replace(binding, binding=noisy(binding.binding)))
    )
    assert digests(revoke.plan(first)) == digests(revoke.plan(second))


def test_the_plan_to_rotate_does_not_depend_on_versions() -> None:
    fields = [{"manager": "kubectl", "fieldsV1": {"f:data": {"f:p": {}}}}]
    metadata = {"uid": "u", "annotations": {"firebreak.dev/rotate": '{"p": {}}'}, "managedFields": fields}
    env = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}}]
    user = workload(containers=[{"name": "c", "env": env}])

    def facts(version: str, user: dict[str, Any]) -> Secrets:
        use = SecretUse("shop", "db", ("env P",), {**metadata, "resourceVersion": version})
        return Secrets(INCIDENT, (use,), (user,))

    first, second = digests(rotate.plan(facts("7", user))), digests(rotate.plan(facts("8", noisy(user))))
    assert first == second
    assert sorted(first) == ["patch Deployment shop/web", "patch Secret shop/db"]


def test_the_plan_to_replace_does_not_depend_on_versions_and_fresh_pods() -> None:
    controller = workload(containers=[{"name": "c", "image": "web:1"}])
    one = Workload(INCIDENT, controller, (pod("web-1"),))
    two = Workload(INCIDENT, noisy(controller), (pod("web-2"), pod("web-3")))
    images = {"c": "web:good"}
    assert digests(replacing.plan(one, images)) == digests(replacing.plan(two, images))
