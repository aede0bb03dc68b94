"""What comes next: the cut first, evidence before loss, and nothing left behind, whatever a playbook's order."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import playbook, spec, status, unhurried
from firebreak.api.playbook import STEP_NAMES, PlaybookSpec
from firebreak.api.status import EvidenceReport, IncidentStatus, PodRecord, StepState
from firebreak.model.plan import joined, ready, sealed, steps_of
from firebreak.model.record import dump, step, with_step

EVERYTHING = playbook("quarantine", "capture", "revoke", "rotate", "replace")
SEAL = EvidenceReport(seal="sha256:0")
DONE, PENDING, RUNNING = StepState.DONE, StepState.PENDING, StepState.RUNNING
WAITING, BLOCKED, FAILED, PARTIAL = StepState.WAITING, StepState.BLOCKED, StepState.FAILED, StepState.PARTIAL


def with_seal(current: IncidentStatus) -> IncidentStatus:
    return current.model_copy(update={"evidence": SEAL})


def cut(**states: StepState) -> IncidentStatus:
    return status(**{"quarantine": DONE, **states})


# --- which steps a response has


def test_a_response_cuts_and_preserves_whether_or_not_the_playbook_says_so() -> None:
    assert steps_of(spec(), playbook("revoke"), status()) == ("quarantine", "capture", "revoke")


def test_the_playbook_orders_what_comes_after_the_cut_and_the_evidence() -> None:
    assert steps_of(spec(), playbook("replace", "quarantine", "rotate", "capture"), status()) == (
        "quarantine",
        "capture",
        "replace",
        "rotate",
    )


def test_preserving_only_captures_and_planning_only_plans() -> None:
    assert steps_of(spec(mode="Preserve"), EVERYTHING, status()) == ("capture",)
    assert ready(spec(mode="Preserve"), IncidentStatus(), EVERYTHING) == ("capture",)
    assert steps_of(spec(mode="Plan"), EVERYTHING, status()) == ()
    assert ready(spec(mode="Plan"), IncidentStatus(), EVERYTHING) == ("plan",)


# --- what may run now


def test_before_the_first_cut_nothing_else_runs() -> None:
    assert ready(spec(), IncidentStatus(), EVERYTHING) == ("quarantine",)


def test_a_plan_that_is_set_to_respond_begins_with_the_cut_though_its_steps_are_on_record() -> None:
    planned = status(quarantine=PENDING, capture=PENDING, revoke=PENDING)
    assert ready(spec(), planned, EVERYTHING) == ("quarantine",)


def test_evidence_that_was_preserved_quietly_lets_nothing_go_before_the_cut() -> None:
    assert ready(spec(), with_seal(status(capture=DONE)), EVERYTHING) == ("quarantine",)


def test_taking_rights_away_waits_for_no_disk_copy() -> None:
    assert ready(spec(), cut(capture=RUNNING), EVERYTHING) == ("quarantine", "capture", "revoke")


def test_a_cut_that_failed_does_not_hold_up_the_evidence() -> None:
    assert ready(spec(), status(quarantine=FAILED), EVERYTHING) == ("quarantine", "capture", "revoke")


@pytest.mark.parametrize("capture", [DONE, PARTIAL, FAILED, BLOCKED])
def test_what_destroys_state_waits_for_the_seal_and_not_for_the_word_of_the_step(capture: StepState) -> None:
    unsealed = cut(capture=capture, revoke=DONE)
    assert not {"rotate", "replace"} & set(ready(spec(), unsealed, EVERYTHING))
    assert "rotate" in ready(spec(), with_seal(unsealed), EVERYTHING)


@pytest.mark.parametrize("rotate", [PENDING, RUNNING])
def test_the_workload_comes_back_after_its_secrets_are_rotated(rotate: StepState) -> None:
    current = with_seal(cut(capture=DONE, revoke=DONE, rotate=rotate))
    assert ready(spec(), current, EVERYTHING) == ("quarantine", "revoke", "rotate")


@pytest.mark.parametrize("rotate", [WAITING, BLOCKED, FAILED, PARTIAL])
def test_a_step_that_waits_for_a_person_holds_nobody_up(rotate: StepState) -> None:
    current = with_seal(cut(capture=DONE, revoke=DONE, rotate=rotate))
    assert ready(spec(), current, EVERYTHING) == ("quarantine", "revoke", "rotate", "replace")


def test_everything_is_looked_at_again_for_ever_and_only_a_seal_is_final() -> None:
    current = with_seal(cut(capture=PARTIAL, revoke=DONE, rotate=DONE, replace=DONE))
    assert ready(spec(), current, EVERYTHING) == ("quarantine", "revoke", "rotate", "replace")


def test_what_ended_before_a_pod_joined_does_not_speak_for_it() -> None:
    current = with_seal(cut(capture=DONE, revoke=DONE)).model_copy(update={"pods": {"uid-1": PodRecord(name="web-1")}})
    assert joined("revoke", current)
    assert not joined("revoke", with_step(current, "revoke", pods=1))
    assert joined("capture", current)
    assert not joined("capture", current.model_copy(update={"pods": {"uid-1": PodRecord(name="web-1", sealed=True)}}))


def test_only_a_digest_is_a_seal() -> None:
    assert not sealed(IncidentStatus())
    assert not sealed(IncidentStatus(evidence=EvidenceReport(artifacts=3, complete=3)))
    assert sealed(with_seal(IncidentStatus()))


# --- any order of events, with restarts


@dataclass(frozen=True)
class Event:
    """One thing that happens to a response: a step that may run ends in some state, or the operator restarts."""

    which: int
    state: StepState
    restart: bool


events = st.builds(Event, st.integers(0, 4), st.sampled_from(list(StepState)), st.booleans())
orders = st.permutations(STEP_NAMES).flatmap(lambda names: st.integers(1, 5).map(lambda n: playbook(*names[:n])))


def run_step(current: IncidentStatus, name: str, state: StepState) -> IncidentStatus:
    """A step runs once and ends so. Capture ends with a seal; without one it is blocked or tried again."""
    after = with_step(current, name, state=state, attempts=step(current, name).attempts + 1)
    return with_seal(after) if name == "capture" and state in {DONE, PARTIAL} else after


def happen(current: IncidentStatus, event: Event, book: PlaybookSpec) -> IncidentStatus:
    if event.restart:
        current = IncidentStatus.model_validate(json.loads(json.dumps(dump(current))))
    offered = ready(spec(), current, book)
    name = offered[event.which % len(offered)]
    state = event.state
    if name == "capture" and state is FAILED:
        state = BLOCKED
    return run_step(current, name, state)


def check(current: IncidentStatus, book: PlaybookSpec) -> None:
    offered = ready(spec(), current, book)
    assert set(offered) <= set(steps_of(spec(), book, current))
    assert len(offered) == len(set(offered))
    if not step(current, "quarantine").attempts:
        assert offered == ("quarantine",)
    if not sealed(current):
        assert not {"rotate", "replace"} & set(offered)
    assert "capture" not in offered or step(current, "capture").state not in {DONE, PARTIAL}


def after_all(current: IncidentStatus, happened: list[Event], book: PlaybookSpec) -> IncidentStatus:
    for event in happened:
        check(current, book)
        current = happen(current, event, book)
    check(current, book)
    return current


@unhurried
@given(orders, st.lists(events, max_size=12))
def test_no_order_of_events_breaks_the_promises(book: PlaybookSpec, happened: list[Event]) -> None:
    after_all(IncidentStatus(), happened, book)


@unhurried
@given(orders, st.lists(events, max_size=12))
def test_from_wherever_events_led_everything_is_offered_in_the_end(book: PlaybookSpec, happened: list[Event]) -> None:
    current = after_all(IncidentStatus(), happened, book)
    names = steps_of(spec(), book, current)
    for _ in names:
        for name in ready(spec(), current, book):
            current = run_step(current, name, DONE)
    left = [name for name in names if step(current, name).state not in {DONE, PARTIAL}]
    assert not left
