"""The record of an incident: small edits of its status, honest counts, and the patch between two statuses."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, merge_patched, status, unhurried
from firebreak.api.playbook import STANDARD
from firebreak.api.status import (
    ChangeReport,
    ChangeState,
    IncidentStatus,
    PlaybookSnapshot,
    PodRecord,
    StepReport,
    StepState,
)
from firebreak.model.change import Change, Generated, Ref, Risk, Verb
from firebreak.model.record import (
    difference,
    dump,
    report,
    stamp,
    step,
    with_changes,
    with_step,
    without_leftovers,
)
from firebreak.model.verdict import Verdict, record

MEBIBYTE = 2**20


def reported(state: ChangeState, number: int = 0) -> ChangeReport:
    return ChangeReport(object=f"RoleBinding shop/binding-{number}", verb="patch", why="takes it away", state=state)


def many(state: ChangeState, numbers: range) -> dict[str, ChangeReport]:
    return {f"patch RoleBinding shop/binding-{n}": reported(state, n) for n in numbers}


def read_back(current: IncidentStatus) -> IncidentStatus:
    """The status as the next leader reads it."""
    return IncidentStatus.model_validate(json.loads(json.dumps(dump(current))))


# --- times


def test_a_moment_is_written_in_utc_with_microseconds() -> None:
    moment = datetime(2026, 11, 21, 3, 4, 5, 6, timezone(timedelta(hours=1)))
    assert stamp(moment) == "2026-11-21T02:04:05.000006Z"
    assert stamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


# --- steps and their Changes


def test_a_step_that_never_began_is_pending() -> None:
    assert step(IncidentStatus(), "revoke") == StepReport(state=StepState.PENDING)
    assert step(status(revoke=StepState.DONE), "rotate").state is StepState.PENDING


def test_editing_one_step_leaves_the_others_and_the_old_status_alone() -> None:
    before = status(capture=StepState.RUNNING, revoke=StepState.DONE)
    after = with_step(before, "capture", state=StepState.DONE, message="sealed")
    assert [step(after, name).state for name in ("capture", "revoke")] == [StepState.DONE, StepState.DONE]
    assert step(before, "capture").state is StepState.RUNNING


def test_a_long_message_of_a_step_is_cut_to_what_the_schema_allows() -> None:
    assert len(step(with_step(IncidentStatus(), "revoke", message="x" * 5000), "revoke").message) == 4096


def test_changes_are_added_and_replaced_by_their_id() -> None:
    first = with_changes(IncidentStatus(), "revoke", many(ChangeState.INTENDED, range(3)))
    second = with_changes(first, "revoke", many(ChangeState.DONE, range(1)))
    assert step(second, "revoke").counts == {"Intended": 2, "Done": 1}
    assert len(step(second, "revoke").changes) == 3


def test_six_thousand_changes_are_counted_truthfully_while_they_are_carried_out_one_by_one() -> None:
    current = with_changes(IncidentStatus(), "revoke", many(ChangeState.INTENDED, range(6000)))
    for number in range(300):
        current = with_changes(current, "revoke", many(ChangeState.DONE, range(number, number + 1)))
    assert dump(current)["steps"]["revoke"]["counts"] == {"Intended": 5700, "Done": 300}


def test_a_status_lists_two_hundred_changes_the_unsettled_first() -> None:
    current = with_changes(IncidentStatus(), "revoke", many(ChangeState.DONE, range(6000)))
    current = with_changes(current, "revoke", many(ChangeState.FAILED, range(5990, 5993)))
    listed = dump(current)["steps"]["revoke"]["changes"]
    assert len(listed) == 200
    assert [c["object"] for c in listed.values() if c["state"] == "Failed"] == [
        "RoleBinding shop/binding-5990",
        "RoleBinding shop/binding-5991",
        "RoleBinding shop/binding-5992",
    ]


def test_what_was_begun_stays_listed_longest_then_what_is_needed_to_undo_then_what_waits() -> None:
    before = {"before": {"subjects": []}}
    current = with_changes(IncidentStatus(), "revoke", many(ChangeState.DONE, range(100)))
    current = with_changes(current, "revoke", many(ChangeState.WAITING, range(100, 250)))
    undo = {key: change.model_copy(update=before) for key, change in many(ChangeState.DONE, range(250, 280)).items()}
    current = with_changes(current, "revoke", undo)
    current = with_changes(current, "revoke", many(ChangeState.INTENDED, range(280, 290)))
    listed = [c["object"].rpartition("-")[2] for c in dump(current)["steps"]["revoke"]["changes"].values()]
    assert listed == [str(n) for n in [*range(280, 290), *range(250, 280), *range(100, 250), *range(10)]]


def test_two_hundred_changes_keep_their_order() -> None:
    current = with_changes(IncidentStatus(), "revoke", many(ChangeState.DONE, range(1)))
    current = with_changes(current, "revoke", many(ChangeState.INTENDED, range(1, 200)))
    assert next(iter(dump(current)["steps"]["revoke"]["changes"])) == "patch RoleBinding shop/binding-0"


def test_after_a_restart_the_done_changes_that_had_no_room_still_count() -> None:
    current = with_changes(IncidentStatus(), "revoke", many(ChangeState.DONE, range(1000)))
    current = with_changes(current, "revoke", many(ChangeState.INTENDED, range(1000, 6000)))
    restarted = read_back(current)
    assert step(restarted, "revoke").counts == {"Intended": 5000, "Done": 1000}
    planned_again = many(ChangeState.INTENDED, range(1000, 6000))
    restarted = without_leftovers(restarted, "revoke", planned_again.keys())
    restarted = with_changes(restarted, "revoke", planned_again)
    restarted = with_changes(restarted, "revoke", many(ChangeState.DONE, range(1000, 6000)))
    assert step(restarted, "revoke").counts == {"Done": 6000}


def test_what_was_begun_and_is_planned_no_longer_is_done_and_what_was_not_begun_is_dropped() -> None:
    current = with_changes(
        IncidentStatus(),
        "revoke",
        {
            "begun": reported(ChangeState.INTENDED),
            "begun, planned again": reported(ChangeState.INTENDED),
            "waiting": reported(ChangeState.WAITING),
            "manual": reported(ChangeState.MANUAL),
            "failed": reported(ChangeState.FAILED),
            "failed, needed to undo": reported(ChangeState.FAILED).model_copy(update={"before": {"subjects": []}}),
            "done": reported(ChangeState.DONE),
        },
    )
    after = step(without_leftovers(current, "revoke", {"begun, planned again"}), "revoke")
    assert {key: change.state for key, change in after.changes.items()} == {
        "begun": ChangeState.DONE,
        "begun, planned again": ChangeState.INTENDED,
        "failed, needed to undo": ChangeState.DONE,
        "done": ChangeState.DONE,
    }
    assert after.counts == {"Done": 3, "Intended": 1}


def test_the_status_of_a_great_incident_stays_far_below_what_the_api_server_stores() -> None:
    pods = {
        f"{n:08d}-aaaa-bbbb-cccc-dddddddddddd": PodRecord(
            name=f"web-7d9c5b7f4d-{n:05d}",
            node="ip-10-0-137-211.eu-central-1.compute.internal",
            owner="ReplicaSet/web-7d9c5b7f4d",
            account="web",
            containers={"web": f"containerd://{n:064x}", "proxy": f"containerd://{n + 1:064x}"},
            secrets={f"{m:0253d}": "w" * 512 for m in range(200)} if n == 0 else {"*": "1 more of web"},
        )
        for n in range(500)
    }
    current = IncidentStatus(pods=pods, held=[record.name for record in pods.values()])
    change = Change(
        Verb.PATCH,
        Ref("RoleBinding", "a-binding-with-a-rather-long-name", "shop"),
        why="takes shop/web out of ClusterRole view",
        undo="firebreak release web-shell -n shop --rights",
        risk=Risk(beyond=True, touches=("Pod web-2",)),
        before={"subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}] * 3},
    )
    for name in ("quarantine", "revoke", "rotate", "replace"):
        reports = {f"{change.id} {n}": report(change, ChangeState.INTENDED) for n in range(6000)}
        current = with_changes(current, name, reports)
    assert len(json.dumps(dump(current))) < MEBIBYTE
    assert step(read_back(current), "revoke").counts == {"Intended": 6000}


# --- what is said of a Change


def test_a_report_of_a_change_has_no_body_and_bounded_words() -> None:
    change = Change(
        Verb.PATCH,
        Ref("Secret", "n" * 900, "shop"),
        why="w" * 2000,
        undo="u" * 2000,
        body={"stringData": {"password": Generated(8, "ab")}},
        risk=Risk(touches=("t" * 2000,)),
        before={"labels": {"app": "web"}},
    )
    said = report(change, ChangeState.FAILED, "m" * 2000)
    lengths = (len(said.object), len(said.why), len(said.undo), len(said.risk), len(said.message))
    assert lengths == (600, 1024, 1024, 1024, 1024)
    assert (said.verb, said.state, said.before) == ("patch", ChangeState.FAILED, {"labels": {"app": "web"}})
    assert "password" not in said.model_dump_json()


# --- statuses as JSON

scalars = st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4)


@unhurried
@given(json_objects, json_objects)
def test_the_difference_applied_as_a_merge_patch_turns_one_object_into_the_other(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert merge_patched(old, difference(old, new)) == new


@unhurried
@given(json_objects)
def test_between_equal_objects_there_is_no_difference(same: dict[str, Any]) -> None:
    assert difference(same, json.loads(json.dumps(same))) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_a_difference_removes_by_null_merges_objects_and_replaces_lists(old: Any, new: Any, patch: Any) -> None:
    assert difference(old, new) == patch


def test_a_status_survives_being_written_and_read() -> None:
    binding = reported(ChangeState.DONE).model_copy(update={"before": {"subjects": [{"kind": "Group", "name": "ops"}]}})
    current = with_changes(status(capture=StepState.RUNNING), "revoke", {"patch RoleBinding shop/web": binding})
    current = record(current, Verdict("Contained", "True", "Enforced", "web-1"), now=NOW, generation=3)
    snapshot = PlaybookSnapshot(name="standard", digest="sha256:0", spec=STANDARD)
    current = current.model_copy(update={"playbook": snapshot})
    assert read_back(current) == current
    assert dump(read_back(current)) == dump(current)


def test_what_a_change_overwrites_is_recorded_without_nulls_for_a_merge_patch_would_remove_them() -> None:
    before = {"spec": None, "labels": {"app": None, "tier": "web"}}
    change = Change(Verb.PATCH, Ref("Pod", "web-1", "shop"), why="", undo="", before=before)
    assert report(change, ChangeState.DONE).before == {"labels": {"tier": "web"}}
