"""The Incident that an alert opens."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firebreak.api.incident import IncidentSpec
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.intake.opening import Opening, incident
from firebreak.intake.routes import Routes

TIME = datetime(2026, 1, 5, 10, 10, tzinfo=UTC)
UID = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
ALERT = Alert(
    source="falco",
    rule="Terminal shell in container",
    severity=Severity.CRITICAL,
    time=TIME,
    identity=("Terminal shell in container", "pod", "shop", "web", UID),
    repeats=True,
    summary="Terminal shell in container (process sh)",
    subject=Subject(namespace="shop", pod="web", pod_uid=UID, service_account="web", container_id="f0ce447bc170"),
    fields={"proc.cmdline": "sh -c HUNTER2"},
    origin={"container.id": "f0ce447bc170"},
)


def opened(alert: Alert = ALERT, lost: str = "", **changes: Any) -> Opening:
    return incident(alert, replace(Routes().decide(alert), **changes), lost)


def spec(alert: Alert) -> dict[str, Any]:
    body = opened(alert).body
    IncidentSpec.model_validate(body["spec"])
    return dict(body["spec"])


def test_the_incident_of_a_pod_is_written_out() -> None:
    opening = opened()
    assert opening == Opening(
        namespace="shop",
        name="falco-328fdcd40049685a19f0",
        body={
            "apiVersion": "firebreak.dev/v1alpha1",
            "kind": "Incident",
            "metadata": {
                "name": "falco-328fdcd40049685a19f0",
                "namespace": "shop",
                "annotations": {
                    "firebreak.dev/alert": '{"rule": "Terminal shell in container", '
                    '"time": "2026-01-05T10:10:00+00:00", "route": "default", "container.id": "f0ce447bc170"}'
                },
            },
            "spec": {
                "target": {"pod": "web"},
                "podUID": UID,
                "mode": "Respond",
                "playbook": "contain",
                "severity": "Critical",
                "reason": "Terminal shell in container (process sh)",
                "source": "falco",
            },
        },
    )
    assert "HUNTER2" not in json.dumps(opening.body)


def test_the_name_is_that_of_the_window_and_of_nothing_else() -> None:
    name = opened().name
    assert opened(replace(ALERT, time=TIME + timedelta(minutes=49), summary="x", severity=Severity.LOW)).name == name
    assert opened(replace(ALERT, time=TIME.astimezone(None))).name == name
    assert opened(replace(ALERT, time=TIME + timedelta(minutes=50))).name != name
    assert opened(replace(ALERT, identity=("other",))).name != name
    assert opened(replace(ALERT, source="falcosidekick")).name != name


def test_an_occurrence_keeps_its_name_whenever_it_is_told() -> None:
    once = replace(ALERT, repeats=False)
    assert opened(once).name == opened(replace(once, time=TIME + timedelta(days=9))).name


def test_a_service_account_is_the_target_where_no_pod_is_known() -> None:
    asked = spec(replace(ALERT, subject=Subject(namespace="shop", service_account="web")))
    assert (asked["target"], asked["mode"]) == ({"serviceAccount": "web"}, "Respond")
    assert "podUID" not in asked


def test_a_container_alone_has_to_be_looked_for_and_keeps_its_name() -> None:
    subject = Subject(container_id="f0ce447bc170", node="worker-1")
    unknown = replace(ALERT, subject=subject)
    opening = opened(unknown)
    assert opening.unresolved == subject
    assert (opening.namespace, opening.body["spec"]["mode"]) == ("firebreak", "Plan")
    assert opening.body["spec"]["reason"] == (
        "Terminal shell in container (process sh) [no target, so this only plans: "
        "it names container f0ce447bc170, whose pod is not known]"
    )
    found = opened(replace(unknown, subject=Subject(namespace="shop", pod="web")))
    assert (found.name, found.namespace, found.unresolved) == (opening.name, "shop", None)
    assert found.body["spec"]["mode"] == "Respond"


@pytest.mark.parametrize(
    ("subject", "namespace", "missing"),
    [
        (Subject(), "firebreak", "it names neither a pod nor a service account"),
        (Subject(namespace="shop"), "shop", "it names neither a pod nor a service account"),
        (Subject(pod="web"), "firebreak", "it names web but no namespace"),
        (Subject(service_account="web"), "firebreak", "it names web but no namespace"),
    ],
)
def test_what_has_no_target_only_plans_and_says_what_is_missing(subject: Subject, namespace: str, missing: str) -> None:
    opening = opened(replace(ALERT, subject=subject))
    asked = spec(replace(ALERT, subject=subject))
    assert (opening.namespace, opening.unresolved, asked["mode"]) == (namespace, None, "Plan")
    assert "target" not in asked
    assert asked["reason"].endswith(f"[no target, so this only plans: {missing}]")


def test_a_namespace_that_is_not_there_is_the_fallback_and_said() -> None:
    opening = opened(lost="there is no namespace shop")
    assert (opening.namespace, opening.name, opening.unresolved) == ("firebreak", opened().name, None)
    assert opening.body["spec"]["reason"].endswith("[no target, so this only plans: there is no namespace shop]")


def test_what_was_left_out_is_said_even_when_the_summary_is_long() -> None:
    asked = spec(replace(ALERT, summary="x" * 5000, notes=("the pod it names is no valid one and was left out",)))
    assert len(asked["reason"]) == 1024
    assert asked["reason"].endswith("x [the pod it names is no valid one and was left out]")


def test_the_annotation_fits_whatever_the_origin_holds() -> None:
    many = replace(ALERT, rule='"' * 200, origin={"auditIDs": tuple(f"{n:036}" for n in range(100)), "a": '"' * 900})
    text = opened(many).body["metadata"]["annotations"]["firebreak.dev/alert"]
    told = json.loads(text)
    assert len(text) <= 1024
    assert told["auditIDs"][-1] == f"{99:036}"
    assert told["time"] == "2026-01-05T10:10:00+00:00"
