"""Whose yes counts, and that no sequence of anybody's approvals of anything else ever lets a plan through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import unhurried
from firebreak.api.approval import ApprovalSpec
from firebreak.api.base import Json
from firebreak.api.playbook import Approvers
from firebreak.model.approving import NAMED, OPERATOR, Plan, Ruling, read, rule, sieve

DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PLAN = Plan("shell", "revoke", DIGEST)
SUSPECT = "system:serviceaccount:shop:web"


def given_by(approver: str, digest: str = DIGEST, step: str = "revoke", incident: str = "shell") -> ApprovalSpec:
    return ApprovalSpec(incident=incident, step=step, digest=digest, approver=approver)


@pytest.mark.parametrize(
    ("wanted", "opened_by", "approvals", "ruling"),
    [
        (Approvers(), None, ["ann"], Ruling(True, ("ann",))),
        (Approvers(), "ann", ["ann"], Ruling(True, ("ann",))),
        (Approvers(), None, [], Ruling(False)),
        (Approvers(), None, [OPERATOR, SUSPECT], Ruling(False)),
        (Approvers(persons=2), None, ["ann", "ben"], Ruling(True, ("ann", "ben"))),
        (
            Approvers(persons=2),
            None,
            ["ann", "ann", SUSPECT],
            Ruling(False, ("ann",), "approved by ann, and one more person has to"),
        ),
        (
            Approvers(not_opener=True),
            "ann",
            ["ann"],
            Ruling(False, (), "the approval of ann, who opened the incident, does not count"),
        ),
        (Approvers(not_opener=True), "ann", ["ben"], Ruling(True, ("ben",))),
        (
            Approvers(not_opener=True, persons=2),
            "ann",
            ["ann", "ben"],
            Ruling(
                False,
                ("ben",),
                "the approval of ann, who opened the incident, does not count; "
                "approved by ben, and one more person has to",
            ),
        ),
    ],
)
def test_as_many_different_people_as_the_playbook_wants(
    wanted: Approvers, opened_by: str | None, approvals: list[str], ruling: Ruling
) -> None:
    found = rule(PLAN, wanted, [given_by(name) for name in approvals], opened_by=opened_by, suspects=[SUSPECT])
    assert found == ruling


def test_nobody_counts_when_it_is_not_known_who_opened_it() -> None:
    found = rule(PLAN, Approvers(not_opener=True), [given_by("ann"), given_by("ben")], opened_by=None)
    assert (found.granted, found.by) == (False, ())
    assert "spec.openedBy does not say who did" in found.words


def test_an_approval_of_the_plan_before_says_what_differs() -> None:
    moved = Plan("shell", "revoke", DIGEST, superseded=OTHER, differs="new: patch RoleBinding shop/late")
    found = rule(moved, Approvers(), [given_by("ann", OTHER)], opened_by=None)
    assert found.words == "the approval of ann is for another plan (new: patch RoleBinding shop/late)"
    older = rule(moved, Approvers(), [given_by("ann", f"sha256:{'c' * 64}")], opened_by=None)
    assert older.words == "the approval of ann is for another plan (what differs is not on record)"


@pytest.mark.parametrize("spec", [None, {}, {"incident": "shell"}, "x", {"incident": "shell", "step": "revoke",
    "digest": "sha256:short", "approver": "ann"}])  # fmt: skip
def test_an_approval_that_says_nothing_counts_for_nothing(spec: object) -> None:
    assert read({"spec": spec}) is None


NAMES = st.sampled_from(["ann", "ben", "cid", OPERATOR, SUSPECT])
ANY = st.builds(
    given_by,
    NAMES,
    st.sampled_from([DIGEST, OTHER]),
    st.sampled_from(["revoke", "rotate"]),
    st.sampled_from(["shell", "other"]),
)
WANTED = st.builds(Approvers, not_opener=st.booleans(), persons=st.integers(1, 2))


@unhurried
@given(st.lists(ANY, max_size=12), WANTED, st.sampled_from([None, "ann", "ben"]))
def test_nothing_but_enough_other_people_s_yes_to_this_plan_lets_it_through(
    approvals: list[ApprovalSpec], wanted: Approvers, opened_by: str | None
) -> None:
    people = {"ann", "ben", "cid"} - ({opened_by} if wanted.not_opener else set())
    matching = {a for a in people if given_by(a) in approvals}
    enough = len(matching) >= wanted.persons and not (wanted.not_opener and opened_by is None)
    ruling = rule(PLAN, wanted, approvals, opened_by=opened_by, suspects=[SUSPECT])
    assert ruling.granted is enough
    assert set(ruling.by) <= people


@unhurried
@given(st.lists(ANY.filter(lambda a: a != given_by(a.approver)), max_size=12), WANTED)
def test_approvals_of_other_plans_steps_and_incidents_never_do(
    approvals: list[ApprovalSpec], wanted: Approvers
) -> None:
    assert rule(PLAN, wanted, approvals, opened_by="zoe").granted is False


def stored(approval: ApprovalSpec) -> Json:
    """As the API server stores it, with what its writer put beside it."""
    return {"metadata": {"name": "one", "annotations": {"large": "x"}}, "spec": approval.model_dump(by_alias=True)}


def test_of_a_crowd_each_person_is_kept_once_and_of_other_plans_only_so_many_as_are_named() -> None:
    pick = sieve(Plan("shell", "revoke", DIGEST, superseded=OTHER))
    crowd = [given_by(f"m{n}", f"sha256:{n:064x}") for n in range(1000)] + [given_by("mallory")] * 1000
    last = [given_by("ann"), given_by("ben", OTHER), given_by("ann", step="rotate"), given_by("ann", incident="other")]
    kept = [picked for one in [*crowd, *last] if (picked := pick(stored(one)))]
    assert len(kept) == NAMED + 3
    assert kept[NAMED:] == [{"spec": stored(one)["spec"]} for one in (given_by("mallory"), *last[:2])]
    assert pick({"spec": {"incident": "shell", "approver": ["odd"]}}) is None


@unhurried
@given(st.lists(ANY, max_size=12), WANTED, st.sampled_from([None, "ann", "ben"]))
def test_what_is_kept_of_a_crowd_rules_as_the_whole_crowd_would(
    approvals: list[ApprovalSpec], wanted: Approvers, opened_by: str | None
) -> None:
    moved = Plan("shell", "revoke", DIGEST, superseded=OTHER, differs="new: patch RoleBinding shop/late")
    kept = [read(picked) for picked in map(sieve(moved), map(stored, approvals)) if picked]
    assert None not in kept
    sieved = rule(moved, wanted, filter(None, kept), opened_by=opened_by, suspects=[SUSPECT])
    assert sieved == rule(moved, wanted, approvals, opened_by=opened_by, suspects=[SUSPECT])
