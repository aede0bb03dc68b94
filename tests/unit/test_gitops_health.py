"""What GitOps tools make of an incident's status: Argo CD by our Lua script in a real interpreter, Flux by kstatus.

kstatus' rules are those of its source, sigs.k8s.io/cli-utils/pkg/kstatus/status: generic.go and checkReadyCondition.
"""

from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import pytest
import yaml

from builders import INCIDENT, NOW, spec, status
from firebreak.api.playbook import STEP_NAMES
from firebreak.api.status import EvidenceReport, IncidentStatus, Phase, StepState
from firebreak.model.record import dump, with_step
from firebreak.model.verdict import CONTAINED, Verdict, conclude, record

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "manifests" / "gitops" / "argocd-health.lua"
STEPS = ("quarantine", "capture", "revoke")
SEALED = {"evidence": EvidenceReport(seal="sha256:0")}
DONE, WAITING, PENDING = StepState.DONE, StepState.WAITING, StepState.PENDING
RUNNING, BLOCKED, FAILED, PARTIAL = StepState.RUNNING, StepState.BLOCKED, StepState.FAILED, StepState.PARTIAL

LIFE: list[tuple[str, dict[str, StepState], str, str]] = [
    ("not begun", dict.fromkeys(STEPS, PENDING), "Progressing", "InProgress"),
    ("containing", {"quarantine": RUNNING, "capture": PENDING, "revoke": PENDING}, "Progressing", "InProgress"),
    ("preserving", {"quarantine": DONE, "capture": RUNNING, "revoke": DONE}, "Progressing", "InProgress"),
    ("waiting", {"quarantine": DONE, "capture": DONE, "revoke": WAITING}, "Suspended", "Current"),
    ("stuck", {"quarantine": DONE, "capture": BLOCKED, "revoke": DONE}, "Degraded", "Failed"),
    ("failed", {"quarantine": DONE, "capture": DONE, "revoke": FAILED}, "Degraded", "Failed"),
    ("gaps", {"quarantine": DONE, "capture": PARTIAL, "revoke": DONE}, "Healthy", "Current"),
    ("done", dict.fromkeys(STEPS, DONE), "Healthy", "Current"),
]


def concluded(current: IncidentStatus) -> IncidentStatus:
    current = current.model_copy(update=SEALED)
    return conclude(INCIDENT, spec(), current, STEPS, problem="", now=NOW, generation=3)


def incident(current: IncidentStatus) -> dict[str, Any]:
    return {"metadata": {"name": "web-shell", "generation": 3}, "status": dump(current)}


def argo(obj: dict[str, Any]) -> tuple[str, str]:
    """Run the script as Argo CD does: Lua 5.1, the object as the global `obj`, no libraries but the base."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    for library in ("io", "os", "debug", "package", "python", "coroutine"):
        runtime.globals()[library] = None
    runtime.globals()["obj"] = runtime.table_from(obj, recursive=True)
    health = runtime.execute(SCRIPT.read_text())
    return health["status"], health["message"]


def kstatus(obj: dict[str, Any]) -> str:
    found = obj.get("status", {})
    if "observedGeneration" in found and found["observedGeneration"] != obj["metadata"]["generation"]:
        return "InProgress"
    for condition in found.get("conditions", []):
        if condition["status"] == "True" and condition["type"] in {"Reconciling", "Stalled"}:
            return {"Reconciling": "InProgress", "Stalled": "Failed"}[condition["type"]]
    ready = next((c["status"] for c in found.get("conditions", []) if c["type"] == "Ready"), None)
    return "Current" if ready in {None, "True"} else "InProgress"


@pytest.mark.parametrize(("states", "health"), [(s, argo) for _, s, argo, _ in LIFE], ids=[name for name, *_ in LIFE])
def test_argo_cd_shows_where_an_incident_stands_with_its_own_sentence(states: dict[str, Any], health: str) -> None:
    current = concluded(record(status(**states), Verdict(CONTAINED, "True", "Enforced", "seen"), now=NOW, generation=3))
    assert argo(incident(current)) == (health, current.message)
    assert current.message.startswith("Cut off since 2026-11-21T02:00:00Z (seen)")


@pytest.mark.parametrize(("states", "seen"), [(s, flux) for _, s, _, flux in LIFE], ids=[name for name, *_ in LIFE])
def test_flux_waits_while_firebreak_works_and_never_for_a_person(states: dict[str, Any], seen: str) -> None:
    assert kstatus(incident(concluded(status(**states)))) == seen


def test_a_closed_incident_holds_nobody_up_whatever_was_left_undone() -> None:
    left = status(quarantine=DONE, capture=BLOCKED, revoke=WAITING).model_copy(update={"phase": Phase.CLOSED})
    obj = incident(concluded(left))
    assert (argo(obj)[0], kstatus(obj)) == ("Healthy", "Current")


def test_a_spec_that_was_not_seen_yet_is_in_progress_whatever_the_old_one_came_to() -> None:
    obj = incident(concluded(status(quarantine=DONE, capture=DONE, revoke=DONE)))
    obj["metadata"]["generation"] = 4
    assert (argo(obj)[0], kstatus(obj)) == ("Progressing", "InProgress")


ODD = [
    {},
    {"status": {}},
    {"status": {"conditions": []}},
    {"status": {"conditions": [{}, {"type": "Ready"}]}},
    {"status": {"conditions": ["Ready", {"type": 7, "status": "True"}]}},
    {"status": {"conditions": "none", "message": 7}},
    {"status": "done"},
    {"metadata": "x", "status": {"conditions": [{"type": "Reconciling", "status": "True"}]}},
]


@pytest.mark.parametrize("obj", ODD, ids=str)
def test_a_status_that_is_missing_or_odd_is_in_progress_and_breaks_nothing(obj: dict[str, Any]) -> None:
    assert argo(obj) == ("Progressing", "not seen by Firebreak yet")


def test_not_ready_without_another_word_is_degraded() -> None:
    obj = {"status": {"message": "so it is", "conditions": [{"type": "Ready", "status": "False"}]}}
    assert argo(obj) == ("Degraded", "so it is")


@pytest.mark.parametrize("name", STEP_NAMES)
def test_no_step_that_waits_for_a_person_holds_up_who_waits_for_the_incident(name: str) -> None:
    others = with_step(status(quarantine=DONE, capture=DONE), name, state=WAITING, attempts=1)
    current = conclude(
        INCIDENT, spec(), others.model_copy(update=SEALED), ("quarantine", "capture", name), problem="", now=NOW,
        generation=3,
    )  # fmt: skip
    assert kstatus(incident(current)) == "Current"


def test_the_page_shows_the_script_as_it_is_shipped() -> None:
    page = (ROOT / "docs" / "gitops.md").read_text()
    snippet = page.partition("```yaml\n# argocd-cm\n")[2].partition("```")[0]
    data = yaml.safe_load(snippet)["data"]
    assert data == {"resource.customizations.health.firebreak.dev_Incident": SCRIPT.read_text()}
