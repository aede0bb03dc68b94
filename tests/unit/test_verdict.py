"""What an incident may claim: conditions, phase and the sentence that a person reads first."""

import pytest

from builders import INCIDENT, LATER, NOW, spec, status
from firebreak.api.incident import IncidentSpec
from firebreak.api.status import EvidenceReport, IncidentStatus, Phase, StepState
from firebreak.model.record import with_step
from firebreak.model.verdict import (
    CONTAINED,
    EVIDENCE,
    IDENTITY,
    NODE,
    RECOVERED,
    ROTATED,
    Verdict,
    conclude,
    record,
)

STEPS = ("quarantine", "capture", "revoke", "rotate", "replace")
DONE, PENDING, RUNNING = StepState.DONE, StepState.PENDING, StepState.RUNNING
WAITING, BLOCKED, FAILED, PARTIAL = StepState.WAITING, StepState.BLOCKED, StepState.FAILED, StepState.PARTIAL
ALL_DONE = dict.fromkeys(STEPS, DONE)
SEALED = {"evidence": EvidenceReport(seal="sha256:0")}


def concluded(
    current: IncidentStatus,
    wanted: IncidentSpec | None = None,
    *,
    steps: tuple[str, ...] = STEPS,
    problem: str = "",
    now: str = NOW,
) -> IncidentStatus:
    return conclude(INCIDENT, wanted or spec(), current, steps, problem=problem, now=now, generation=3)


def sealed(current: IncidentStatus) -> IncidentStatus:
    return current.model_copy(update=SEALED)


def kstatus(current: IncidentStatus) -> dict[str, tuple[str, str]]:
    kinds = ("Ready", "Reconciling", "Stalled", "ActionRequired")
    return {c.type: (c.status, c.message) for c in current.conditions if c.type in kinds}


def claimed(current: IncidentStatus, *verdicts: Verdict) -> IncidentStatus:
    for verdict in verdicts:
        current = record(current, verdict, now=NOW, generation=3)
    return current


# --- conditions


def test_a_transition_time_moves_only_when_the_status_does() -> None:
    first = record(IncidentStatus(), Verdict(CONTAINED, "Unknown", "EnforcementUnproven", ""), now=NOW, generation=1)
    same = record(first, Verdict(CONTAINED, "Unknown", "OtherPolicyEngines", "others"), now=LATER, generation=2)
    moved = record(same, Verdict(CONTAINED, "True", "Enforced", ""), now=LATER, generation=2)
    assert [c.last_transition_time for s in (first, same, moved) for c in s.conditions] == [NOW, NOW, LATER]
    assert same.conditions[0].reason == "OtherPolicyEngines"
    assert (same.conditions[0].message, same.conditions[0].observed_generation) == ("others", 2)


def test_conditions_stand_once_each_sorted_and_with_bounded_messages() -> None:
    kinds = ("Stalled", "Contained", "Ready", "Contained")
    current = claimed(IncidentStatus(), *(Verdict(kind, "False", "Reason", "x" * 5000) for kind in kinds))
    assert [c.type for c in current.conditions] == ["Contained", "Ready", "Stalled"]
    assert {len(c.message) for c in current.conditions} == {4096}
    assert current.condition("Recovered") is None


# --- conditions as kstatus reads them


def test_while_steps_run_the_incident_reconciles() -> None:
    current = concluded(status(quarantine=DONE, capture=RUNNING, revoke=PENDING))
    assert kstatus(current) == {
        "Ready": ("False", "at work: capture, revoke"),
        "Reconciling": ("True", "at work: capture, revoke"),
        "Stalled": ("False", "no step is stuck"),
        "ActionRequired": ("False", "no person is waited for"),
    }
    assert {c.observed_generation for c in current.conditions} == {3}
    assert current.observed_generation == 3


def test_everything_done_is_ready() -> None:
    assert kstatus(concluded(sealed(status(**ALL_DONE)))) == {
        "Ready": ("True", "everything that may be done without a person is done"),
        "Reconciling": ("False", "nothing more to do without a person"),
        "Stalled": ("False", "no step is stuck"),
        "ActionRequired": ("False", "no person is waited for"),
    }


def test_waiting_for_a_person_does_not_hold_ready_at_false() -> None:
    current = sealed(status(**ALL_DONE | {"rotate": WAITING}))
    current = concluded(with_step(current, "rotate", counts={"Waiting": 2}))
    assert kstatus(current) == {
        "Ready": ("True", "everything that may be done without a person is done"),
        "Reconciling": ("False", "nothing more to do without a person"),
        "Stalled": ("False", "no step is stuck"),
        "ActionRequired": ("True", "approve rotate (2 Changes): firebreak approve web-shell rotate -n shop"),
    }
    assert (current.phase, current.waiting_for) == (Phase.WAITING, "approval: rotate")


@pytest.mark.parametrize("state", [BLOCKED, FAILED])
def test_a_stuck_step_stalls_and_is_named_with_its_words(state: StepState) -> None:
    current = sealed(status(**ALL_DONE | {"revoke": state}))
    current = concluded(with_step(current, "revoke", message="the operator lacks rights"))
    assert kstatus(current) == {
        "Ready": ("False", "revoke: the operator lacks rights"),
        "Reconciling": ("False", "nothing more to do without a person"),
        "Stalled": ("True", "revoke: the operator lacks rights"),
        "ActionRequired": ("False", "no person is waited for"),
    }
    assert current.phase is Phase.STALLED


def test_steps_behind_a_store_that_refuses_are_not_called_at_work() -> None:
    current = status(quarantine=DONE, capture=BLOCKED, revoke=DONE)
    current = concluded(with_step(current, "capture", message="the store refused"))
    assert kstatus(current)["Reconciling"] == ("False", "nothing more to do without a person")
    assert kstatus(current)["Stalled"] == ("True", "capture: the store refused")
    assert current.phase is Phase.STALLED


def test_steps_behind_a_seal_that_never_comes_are_called_stuck_not_done() -> None:
    current = concluded(status(quarantine=DONE, capture=StepState.DONE, revoke=DONE, replace=DONE))
    assert kstatus(current)["Ready"] == ("False", "rotate: waits for evidence to be sealed")
    assert kstatus(current)["Stalled"] == ("True", "rotate: waits for evidence to be sealed")


def test_a_partial_step_is_an_honest_end() -> None:
    assert kstatus(concluded(sealed(status(**ALL_DONE | {"capture": PARTIAL}))))["Ready"][0] == "True"


def test_a_problem_of_the_whole_incident_stalls_it() -> None:
    current = concluded(sealed(status(**ALL_DONE)), problem="playbook nightly is not there")
    assert kstatus(current)["Stalled"] == ("True", "playbook nightly is not there")
    assert kstatus(current)["Ready"] == ("False", "playbook nightly is not there")


def test_a_closed_incident_neither_moves_nor_waits() -> None:
    current = status(quarantine=DONE, capture=BLOCKED, rotate=WAITING).model_copy(update={"phase": Phase.CLOSED})
    current = claimed(current, Verdict(IDENTITY, "False", "CloudCredentialsLive", "AWS role x is live"))
    current = concluded(current, spec(state="Closed", verdict="Exercise"), problem="playbook is gone")
    assert {kind: value for kind, (value, _) in kstatus(current).items()} == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "ActionRequired": "False",
    }
    assert (current.phase, current.waiting_for) == (Phase.CLOSED, "")


# --- what a person has to do


def test_changes_that_only_a_person_can_make_are_named_with_their_number() -> None:
    current = sealed(status(**ALL_DONE | {"rotate": PARTIAL}))
    current = concluded(with_step(current, "rotate", counts={"Manual": 1, "Done": 4}))
    assert kstatus(current)["ActionRequired"] == ("True", "do by hand: rotate (1 Change)")
    assert (current.phase, current.waiting_for) == (Phase.RESPONDED, "do by hand: rotate (1 Change)")


def test_live_cloud_credentials_and_a_mere_plan_wait_for_a_person() -> None:
    live = claimed(sealed(status(**ALL_DONE)), Verdict(IDENTITY, "False", "CloudCredentialsLive", "AWS role x is live"))
    assert kstatus(concluded(live))["ActionRequired"] == ("True", "revoke the cloud role's sessions")
    planned = concluded(IncidentStatus(), spec(mode="Plan"), steps=())
    assert kstatus(planned)["ActionRequired"] == ("True", "set spec.mode to Respond to carry the plan out")
    assert planned.phase is Phase.PLANNED


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("HostNetwork", "cut the node off: no policy applies to the pod"),
        ("AllowedByOtherPolicies", "remove the policies that still allow traffic"),
        ("NotEnforced", "cut the pod off by other means: this cluster enforces no policy"),
        ("OtherPolicyEngines", "check the other policy engines"),
        ("EnforcementUnproven", "run firebreak preflight"),
    ],
)
def test_a_cut_that_does_not_hold_says_what_a_person_can_do(reason: str, words: str) -> None:
    current = claimed(sealed(status(**ALL_DONE)), Verdict(CONTAINED, "False", reason, "web-1"))
    assert kstatus(concluded(current))["ActionRequired"] == ("True", words)


# --- phase


@pytest.mark.parametrize(
    ("current", "phase"),
    [
        (IncidentStatus(), Phase.CONTAINING),
        (status(quarantine=RUNNING, capture=RUNNING), Phase.CONTAINING),
        (status(quarantine=DONE, capture=RUNNING, revoke=RUNNING), Phase.PRESERVING),
        (sealed(status(quarantine=DONE, capture=DONE, revoke=DONE, rotate=RUNNING)), Phase.ERADICATING),
        (sealed(status(**ALL_DONE)), Phase.RESPONDED),
    ],
)
def test_the_phase_is_that_of_the_first_step_at_work(current: IncidentStatus, phase: Phase) -> None:
    assert concluded(current).phase is phase


def test_preserving_quietly_is_called_preserving() -> None:
    assert concluded(IncidentStatus(), spec(mode="Preserve"), steps=("capture",)).phase is Phase.PRESERVING


# --- the sentence


def test_the_sentence_says_what_is_cut_what_is_sealed_and_what_waits() -> None:
    current = claimed(
        sealed(status(**ALL_DONE | {"rotate": WAITING})),
        Verdict(CONTAINED, "True", "Enforced", "web-1; enforcement proven 2026-11-20T00:00:00Z"),
        Verdict(EVIDENCE, "True", "Sealed", "12 of 12 artifacts"),
        Verdict(IDENTITY, "False", "RightsRemain", "still allowed: get secrets in shop"),
        Verdict(NODE, "False", "Confined", "no way to its node"),
    )
    assert concluded(with_step(current, "rotate", counts={"Waiting": 1})).message == (
        "Cut off since 2026-11-21T02:00:00Z (web-1; enforcement proven 2026-11-20T00:00:00Z). "
        "Evidence sealed since 2026-11-21T02:00:00Z (12 of 12 artifacts). "
        "Rights NOT revoked: still allowed: get secrets in shop. "
        "Waits for you: approve rotate (1 Change): firebreak approve web-shell rotate -n shop; "
        "take away the rights that remain "
        "(firebreak status web-shell -n shop)"
    )


def test_a_suspect_node_is_said_and_an_innocent_one_is_not() -> None:
    suspect = Verdict(NODE, "True", "WayToNode", "web-1 on node-1: hostPID")
    assert concluded(claimed(sealed(status(**ALL_DONE)), suspect)).message == (
        "NODE SUSPECT since 2026-11-21T02:00:00Z (web-1 on node-1: hostPID)"
    )


def test_an_incident_about_which_nothing_is_known_has_no_sentence_but_a_target() -> None:
    current = concluded(IncidentStatus())
    assert (current.message, current.target, current.waiting_for) == ("", "pod/web-1", "")


def test_everything_that_people_read_is_bounded_as_the_schema_says() -> None:
    current = sealed(status(**ALL_DONE | {"revoke": FAILED, "rotate": WAITING}))
    current = with_step(current, "revoke", message="x" * 9000)
    for kind in (CONTAINED, EVIDENCE, IDENTITY, ROTATED, RECOVERED, NODE):
        current = claimed(current, Verdict(kind, "True", "Reason", "y" * 9000))
    after = concluded(current, spec(target={"pod": "p" * 253}), problem="z" * 9000)
    assert max(len(c.message) for c in after.conditions) == 4096
    assert len(after.message) == 4096
    assert len(after.target) <= 320
    assert len(after.waiting_for) <= 320


def test_a_transition_time_moves_only_when_the_status_of_the_condition_does() -> None:
    first = concluded(status(quarantine=DONE, capture=RUNNING))
    second = concluded(with_step(first, "revoke", state=RUNNING), now=LATER)
    assert {c.last_transition_time for c in second.conditions} == {NOW}
    third = concluded(sealed(first.model_copy(update={"steps": status(**ALL_DONE).steps})), now=LATER)
    assert {c.type: c.last_transition_time for c in third.conditions} == {
        "ActionRequired": NOW,
        "Ready": LATER,
        "Reconciling": LATER,
        "Stalled": NOW,
    }


def test_concluding_twice_changes_nothing() -> None:
    once = concluded(sealed(status(**ALL_DONE | {"rotate": WAITING})))
    assert concluded(once, now=LATER) == once


def test_only_a_verdict_of_true_holds() -> None:
    assert Verdict(CONTAINED, "True", "Enforced", "").holds
    assert not Verdict(CONTAINED, "Unknown", "EnforcementUnproven", "").holds
