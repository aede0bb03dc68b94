"""A Change: its name, its risk in words, and when the world is as it wants it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import applied, pod, unhurried
from firebreak.model.change import KINDS, Change, Generated, Ref, Risk, Verb, collection, holds, includes

SECRET = Ref("Secret", "db", "shop", "uid-db")


def patch(body: dict[str, Any], *, uid: str | None = None, metadata_only: bool = False) -> Change:
    target = Ref("Secret", "db", "shop", uid)
    return Change(Verb.PATCH, target, why="", undo="", body=body, metadata_only=metadata_only)


def delete(uid: str | None) -> Change:
    return Change(Verb.DELETE, Ref("Secret", "db", "shop", uid), why="", undo="")


# --- addresses and names


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (Ref("Pod", "web-1", "shop"), "/api/v1/namespaces/shop/pods/web-1"),
        (Ref("Node", "node-1"), "/api/v1/nodes/node-1"),
        (Ref("Deployment", "web", "shop"), "/apis/apps/v1/namespaces/shop/deployments/web"),
        (
            Ref("ClusterRoleBinding", "web"),
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/web",
        ),
        (Ref("Incident", "web-shell", "shop"), "/apis/firebreak.dev/v1alpha1/namespaces/shop/incidents/web-shell"),
    ],
)
def test_an_object_has_the_path_that_the_api_server_gives_it(ref: Ref, path: str) -> None:
    assert ref.path == path


def test_a_collection_without_a_namespace_is_over_all_of_them() -> None:
    assert collection("Pod") == "/api/v1/pods"
    assert collection("RoleBinding") == "/apis/rbac.authorization.k8s.io/v1/rolebindings"


def test_every_kind_names_its_version_and_plural() -> None:
    assert all(version and plural == plural.lower() for version, plural, _ in KINDS.values())


def test_an_object_reads_as_kind_namespace_and_name() -> None:
    assert str(Ref("Pod", "web-1", "shop", "uid-web-1")) == "Pod shop/web-1"
    assert str(Ref("ClusterRole", "admin")) == "ClusterRole admin"


def test_two_patches_of_different_parts_of_one_object_are_different_changes() -> None:
    one = Change(Verb.PATCH, SECRET, why="", undo="", part="quarantine")
    other = Change(Verb.PATCH, SECRET, why="", undo="", part="detach")
    assert (one.id, other.id) == ("patch Secret shop/db (quarantine)", "patch Secret shop/db (detach)")
    assert Change(Verb.DELETE, SECRET, why="", undo="").id == "delete Secret shop/db"


def test_bodies_and_what_they_overwrite_never_show_in_a_representation() -> None:
    change = Change(Verb.PATCH, SECRET, why="", undo="", body={"data": "hunter2"}, before={"data": "hunter1"})
    assert "hunter" not in repr(change)


# --- risk


def test_only_what_is_reversible_at_home_and_touches_nobody_is_safe() -> None:
    assert Risk().safe
    assert not Risk(reversible=False).safe
    assert not Risk(beyond=True).safe
    assert not Risk(touches=("Pod web-2",)).safe


@pytest.mark.parametrize(
    ("risk", "words"),
    [
        (Risk(), "reversible, own namespace"),
        (Risk(reversible=False, beyond=True), "not reversible, beyond the namespace"),
        (Risk(touches=("a", "b", "c")), "reversible, own namespace, also touches a, b, c"),
        (Risk(touches=("a", "b", "c", "d", "e")), "reversible, own namespace, also touches a, b, c and 2 more"),
    ],
)
def test_a_risk_reads_as_words(risk: Risk, words: str) -> None:
    assert str(risk) == words


# --- reading the world back

labels = st.sampled_from(["app", "uid", "resourceVersion", "tier", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(labels, inner, max_size=3),
    max_leaves=8,
)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


objects = st.dictionaries(st.sampled_from(["metadata", "spec", "subjects", "data"]), values, max_size=3).map(
    lambda value: {**value, "metadata": value.get("metadata") if isinstance(value.get("metadata"), dict) else {}}
)


@unhurried
@given(objects.map(without_nulls), objects)
def test_after_a_patch_was_applied_it_holds_whatever_was_there_before(
    live: dict[str, Any], body: dict[str, Any]
) -> None:
    change = patch(body)
    assert holds(change, applied(change, live))


@unhurried
@given(objects.map(without_nulls))
def test_a_created_object_holds(body: dict[str, Any]) -> None:
    change = Change(Verb.CREATE, Ref("NetworkPolicy", "deny", "shop"), why="", undo="", body=body)
    assert holds(change, applied(change, None))


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"metadata": {"labels": {"cut": "true"}}}, {"metadata": {"labels": {"cut": "false"}}}),
        ({"metadata": {"labels": {"cut": "true"}}}, {"metadata": {}}),
        ({"metadata": {"labels": {"app": None}}}, {"metadata": {"labels": {"app": "web"}}}),
        ({"metadata": {"labels": {"uid": None}}}, {"metadata": {"labels": {"uid": "7"}}}),
        ({"subjects": []}, {"metadata": {}, "subjects": [{"name": "web"}]}),
        ({"subjects": [{"name": "web"}]}, {"metadata": {}}),
        ({"stringData": {"password": Generated(8, "ab")}}, {"metadata": {}}),
        ({"spec": {"paused": True}}, {"metadata": {}, "spec": "hidden"}),
    ],
)
def test_what_is_not_as_asked_does_not_hold(wanted: dict[str, Any], live: dict[str, Any]) -> None:
    assert not holds(patch(wanted), live)


def test_an_empty_list_of_subjects_may_be_left_out_by_the_api_server() -> None:
    assert holds(patch({"subjects": []}), {"metadata": {}})


def test_a_precondition_asks_for_nothing() -> None:
    assert holds(patch({"metadata": {"resourceVersion": "7", "uid": "x"}}), {"metadata": {"resourceVersion": "8"}})


def test_a_namesake_never_holds() -> None:
    change = patch({"metadata": {"labels": {"cut": "true"}}}, uid="uid-db")
    live = {"metadata": {"uid": "another", "labels": {"cut": "true"}}}
    assert not holds(change, live)
    assert not holds(change, None)


def test_of_a_secret_only_the_metadata_is_compared() -> None:
    body = {"metadata": {"annotations": {"a": "b"}}, "stringData": {"password": Generated(8, "ab")}}
    change = patch(body, metadata_only=True)
    assert holds(change, {"metadata": {"annotations": {"a": "b"}}})
    assert not holds(change, {"metadata": {}})


def test_a_deletion_holds_when_the_object_is_gone_or_a_namesake_took_its_place() -> None:
    assert holds(delete("uid-db"), None)
    assert holds(delete("uid-db"), {"metadata": {"uid": "another"}})
    assert not holds(delete("uid-db"), {"metadata": {"uid": "uid-db"}})
    assert not holds(delete(None), {"metadata": {"uid": "another"}})


def test_nulls_are_absence_even_where_nothing_is() -> None:
    assert includes({}, {"labels": {"app": None}})
    assert includes(None, {"app": None})
    assert not includes(None, {"app": "web"})


def test_a_pod_is_addressed_with_its_uid() -> None:
    assert pod("web-1").ref == Ref("Pod", "web-1", "shop", "uid-web-1")


@pytest.mark.parametrize("name", [Ref("RoleBinding", "web", "shop"), Ref("ClusterRoleBinding", "system:web")])
def test_a_reference_is_read_back_from_its_words(name: Ref) -> None:
    assert Ref.parse(str(name)) == name


@pytest.mark.parametrize(
    "words", ["", "RoleBinding", "RoleBinding web", "ClusterRoleBinding shop/web", "Sheep shop/web"]
)
def test_words_that_name_no_object_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="names no object"):
        Ref.parse(words)
