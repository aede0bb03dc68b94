"""What people write and read: every field described, every rule with its words, and the CRDs as the models say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from builders import unhurried
from firebreak.api.crd import incident_crd, playbook_crd, render
from firebreak.api.incident import IncidentSpec, Target
from firebreak.api.playbook import STANDARD, Approval, Capture, PlaybookSpec, Step
from firebreak.api.status import IncidentStatus
from firebreak.model.incident import BadSpecError, read, read_status

Json = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"


def incident(spec: Json, **fields: Json) -> Json:
    metadata = {"name": "web-shell", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 3}
    return {"metadata": metadata, "spec": spec, **fields}


def words(spec: Json) -> str:
    with pytest.raises(BadSpecError) as caught:
        read(incident(spec))
    return str(caught.value)


# --- the CRDs


@pytest.mark.parametrize(("name", "crd"), [("incidents", incident_crd()), ("playbooks", playbook_crd())])
def test_the_files_are_what_the_models_say(name: str, crd: Json) -> None:
    assert (CRDS / f"{name}.yaml").read_text() == render(crd), "run `make crds`"


def schemas(crd: Json) -> Iterator[tuple[str, Json]]:
    """Every field of a CRD with its path, those that Kubernetes itself describes left out."""
    pending = [("", crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])]
    while pending:
        path, schema = pending.pop()
        for name, field in schema.get("properties", {}).items():
            if path or name not in {"apiVersion", "kind", "metadata"}:
                yield f"{path}.{name}", field
                pending.append((f"{path}.{name}", field))
        inner = (schema.get("items"), schema.get("additionalProperties"))
        pending.extend((f"{path}[]", each) for each in inner if isinstance(each, dict))


@pytest.mark.parametrize("crd", [incident_crd(), playbook_crd()])
def test_every_field_is_described_in_a_sentence(crd: Json) -> None:
    undescribed = [path for path, field in schemas(crd) if not field.get("description", "").endswith(".")]
    assert undescribed == []


@pytest.mark.parametrize("crd", [incident_crd(), playbook_crd()])
def test_the_schema_is_structural(crd: Json) -> None:
    forbidden = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const", "propertyNames", "patternProperties"}
    for path, field in schemas(crd):
        assert not forbidden & set(field), path
        assert "type" in field, path


def test_a_status_has_no_defaults_for_it_says_only_what_was_observed() -> None:
    found = [path for path, field in schemas(incident_crd()) if path.startswith(".status") and "default" in field]
    assert found == []


def test_exactly_one_is_asked_of_what_means_it_and_of_nothing_else() -> None:
    exact = [path for path, f in schemas(incident_crd()) if f.get("maxProperties") == 1]
    assert exact == [".spec.target"]
    steps = dict(schemas(playbook_crd()))[".spec.steps"]
    assert (steps["items"]["minProperties"], steps["items"]["maxProperties"]) == (1, 1)


def test_whatever_could_grow_is_bounded() -> None:
    status = {p: f for p, f in schemas(incident_crd()) if p.startswith(".status") and ".playbook" not in p}
    lists = {path: field.get("maxItems") for path, field in status.items() if field["type"] == "array"}
    maps = {path: field.get("maxProperties") for path, field in status.items() if "additionalProperties" in field}
    assert lists == {
        ".status.conditions": 16,
        ".status.held": 500,
        ".status.evidence.gaps": 50,
        ".status.steps[].approvedBy": 10,
        ".status.pods[].escapes": 4,
        ".status.pods[].clouds": 50,
    }
    assert maps == {
        ".status.pods": 500,
        ".status.pods[].containers": None,  # a pod's own containers
        ".status.pods[].secrets": 201,
        ".status.steps": 16,
        ".status.steps[].changes": 200,
        ".status.steps[].counts": None,  # one for each state
    }


def test_the_crds_are_rendered_as_the_same_text_every_time() -> None:
    assert render(incident_crd()) == render(incident_crd())
    assert yaml.safe_load(render(incident_crd())) == incident_crd()


# --- the incident


def test_three_lines_are_an_incident_with_safe_defaults() -> None:
    spec = IncidentSpec.model_validate({"target": {"pod": "web-x2x9k"}})
    assert spec.model_dump(by_alias=True, exclude_none=True) == {
        "target": {"pod": "web-x2x9k"},
        "mode": "Respond",
        "playbook": "standard",
        "severity": "High",
        "reason": "",
        "source": "",
        "overrides": [],
        "state": "Active",
        "ticket": "",
    }


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ({"pod": "web-1"}, "pod/web-1"),
        ({"workload": {"kind": "StatefulSet", "name": "db"}}, "statefulset/db"),
        ({"serviceAccount": "web"}, "serviceaccount/web"),
        ({"selector": {"matchLabels": {"app": "web"}}}, "selected pods"),
    ],
)
def test_a_target_reads_as_kind_and_name(target: Json, shown: str) -> None:
    assert str(Target.model_validate(target)) == shown


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec: spec.target is required unless spec.mode is Plan"),
        ({"target": {}}, "spec.target: exactly one of pod, selector, workload, serviceAccount names the target"),
        (
            {"target": {"pod": None}},
            "spec.target: exactly one of pod, selector, workload, serviceAccount names the target",
        ),
        (
            {"target": {"pod": "a", "serviceAccount": "b"}},
            "spec.target: exactly one of pod, selector, workload, serviceAccount names the target",
        ),
        (
            {"target": {"selector": {}}},
            "spec.target.selector: an empty selector selects every pod of the namespace; name at least one label",
        ),
        ({"target": {"pod": "web-1"}, "sevrity": "Low"}, "spec.sevrity: Extra inputs are not permitted"),
        (
            {"target": {"pod": "web-1"}, "severity": "Grave"},
            "spec.severity: Input should be 'Low', 'Medium', 'High' or 'Critical'",
        ),
    ],
)
def test_what_gets_past_the_schema_is_said_with_the_name_of_the_field(spec: Json, said: str) -> None:
    assert words(spec) == said


@pytest.mark.parametrize(
    "requirement",
    [
        {"key": "app", "operator": "NotIn"},
        {"key": "app", "operator": "In", "values": []},
        {"key": "app", "operator": "Exists", "values": ["web"]},
        {"key": "app", "operator": "DoesNotExist", "values": ["web"]},
    ],
)
def test_values_go_with_in_and_notin_only_for_an_empty_notin_would_select_everything(requirement: Json) -> None:
    assert words({"target": {"selector": {"matchExpressions": [requirement]}}}) == (
        "spec.target.selector.matchExpressions.0: "
        "In and NotIn take at least one value, Exists and DoesNotExist take none"
    )


@pytest.mark.parametrize(
    "key", ["", "a,b", "!app", "app in (x)", "a/b/c", "-app", "app\n", "x" * 64, "Example.com/app"]
)
def test_a_label_key_that_would_be_read_otherwise_in_a_query_is_refused(key: str) -> None:
    assert words({"target": {"selector": {"matchLabels": {key: "web"}}}}).startswith("spec.target.selector.matchLabels")


@pytest.mark.parametrize("value", ["a,b=c", "a b", "-", "web\n", "x" * 64])
def test_a_label_value_that_would_be_read_otherwise_in_a_query_is_refused(value: str) -> None:
    assert words({"target": {"selector": {"matchLabels": {"app": value}}}}).startswith(
        "spec.target.selector.matchLabels.app: String should"
    )


@pytest.mark.parametrize("key", ["app", "app.kubernetes.io/name", "a-b_c.d", "X"])
def test_the_labels_that_kubernetes_allows_are_allowed(key: str) -> None:
    Target.model_validate({"selector": {"matchLabels": {key: ""}}})


@pytest.mark.parametrize("name", ["", "Web", "web_1", "web-", ".web", "a" * 254, "../secrets", "web\n"])
def test_a_name_that_no_object_can_have_is_refused(name: str) -> None:
    assert words({"target": {"pod": name}}).startswith("spec.target.pod: String should")


def test_words_about_a_bad_spec_never_repeat_the_value() -> None:
    assert "hunter2" not in words({"target": {"pod": "hunter2!"}, "ticket": ["hunter2"]})


def test_a_plan_may_have_no_target() -> None:
    assert IncidentSpec.model_validate({"mode": "Plan"}).target is None


def test_an_incident_is_read_with_who_it_is_and_what_is_reported() -> None:
    read_one = read(incident({"target": {"pod": "web-1"}, "state": "Closed"}, status={"phase": "Closed"}))
    assert (str(read_one.id), read_one.generation, read_one.resource_version) == ("shop/web-shell", 3, "7")
    assert read_one.closed
    assert read_one.over
    assert read_one.ref.uid == "1"


@pytest.mark.parametrize("status", [None, {"phase": "Nonsense"}, {"steps": []}, {"conditions": [{"type": "Ready"}]}])
def test_a_status_that_nobody_of_ours_wrote_counts_as_empty(status: Any) -> None:
    assert read_status(incident({}, status=status)) == IncidentStatus()


def test_a_field_that_a_newer_version_wrote_is_kept_out_of_the_way() -> None:
    assert read_status(incident({}, status={"phase": "Waiting", "mood": "calm"})).phase == "Waiting"


# --- the playbook


def test_the_standard_playbook_does_the_whole_guide_and_asks_before_what_is_risky() -> None:
    assert [step.name for step in STANDARD.steps] == ["quarantine", "capture", "revoke", "rotate", "replace"]
    assert {STANDARD.approval_of(step.name) for step in STANDARD.steps} == {Approval.WHEN_RISKY}


def test_capture_has_sane_bounds_by_itself() -> None:
    assert Capture().model_dump(by_alias=True, exclude_none=True) == {
        "paths": ["/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/etc"],  # noqa: S108 - what is copied by default
        "maxBytes": 21474836480,
        "timeoutSeconds": 1800,
    }


def test_a_step_may_have_its_own_approval() -> None:
    book = PlaybookSpec.model_validate(
        {"approval": "Always", "steps": [{"revoke": {"approval": "Never"}}, {"rotate": {}}]}
    )
    assert (book.approval_of("revoke"), book.approval_of("rotate")) == (Approval.NEVER, Approval.ALWAYS)
    assert book.approval_of("replace") is Approval.ALWAYS
    assert book.options("replace") is None


@pytest.mark.parametrize("step", [{}, {"revoke": {}, "rotate": {}}, {"revoke": None}, {"reboot": {}}])
def test_a_step_has_exactly_one_key(step: Json) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate(step)


def test_a_step_stands_once() -> None:
    with pytest.raises(ValidationError, match="step revoke stands more than once"):
        PlaybookSpec.model_validate({"steps": [{"revoke": {}}, {"rotate": {}}, {"revoke": {}}]})


@pytest.mark.parametrize("path", ["", "tmp", "/../etc", "/etc/..", "/a\x00b", "/" + "a" * 1024])
def test_a_path_to_copy_is_absolute_and_does_not_climb(path: str) -> None:
    with pytest.raises(ValidationError):
        Capture.model_validate({"paths": [path]})


def test_no_path_means_no_copy() -> None:
    assert Capture.model_validate({"paths": []}).paths == []


def test_what_people_wrote_cannot_be_changed_afterwards() -> None:
    spec = IncidentSpec.model_validate({"target": {"pod": "web-1"}})
    with pytest.raises(ValidationError, match="frozen"):
        spec.mode = "Plan"  # type: ignore[assignment]


# --- hostile specs

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)
FIELDS = [str(field.alias or name) for name, field in IncidentSpec.model_fields.items()]


@unhurried
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*FIELDS, "podUid"], json_values)))
def test_any_spec_is_read_or_refused_with_words(spec: Json) -> None:
    try:
        read(incident(spec))
    except BadSpecError as refused:
        assert str(refused).startswith("spec")  # noqa: PT017 - both outcomes are right


@unhurried
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(IncidentStatus.model_fields, json_values)))
def test_any_status_is_read(status: Json) -> None:
    assert isinstance(read_status(incident({}, status=status)), BaseModel)
