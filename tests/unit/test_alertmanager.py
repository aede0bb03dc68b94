"""Alertmanager's groups, and our own shape."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from alert_samples import document, only, parsed, raw, refusal
from cli_harness import bare
from firebreak.intake.alert import Severity, Subject
from firebreak.intake.formats import alertmanager, generic

SCHEMA = Path(__file__).parents[2] / "docs" / "alert.schema.json"


def group(**changes: Any) -> dict[str, Any]:
    """A group of one firing alert, with other labels."""
    alert = document("alertmanager.json")["alerts"][0]
    alert["labels"] |= changes
    return {"version": "4", "alerts": [alert]}


def ours(**changes: Any) -> dict[str, Any]:
    """Our own shape with one alert, with other keys; `...` takes one out."""
    alert = document("generic.json")["alerts"][0] | changes
    return {"alerts": [{key: value for key, value in alert.items() if value is not ...}]}


def test_a_group_gives_its_firing_alerts_and_says_what_is_resolved() -> None:
    result = parsed(alertmanager, raw("alertmanager.json"))
    first, second = result.alerts
    assert (first.rule, first.severity, first.time) == (
        "PodOOMKilled", Severity.CRITICAL, datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
    )  # fmt: skip
    assert first.subject == Subject(namespace="default", pod="oom-killer-demo")
    assert first.summary == "PodOOMKilled: Pod has been OOM killed"
    assert first.fields["receiver"] == "firebreak"
    assert second.severity is Severity.MEDIUM
    assert result.refusals == ()
    assert [str(each) for each in result.passed] == [
        "alert KubePodCrashLooping (2 of 3): it is resolved, which opens nothing and closes nothing; close by hand"
    ]


def test_fingerprint_and_start_name_one_occurrence() -> None:
    (first, _), (again, _) = (parsed(alertmanager, raw("alertmanager.json")).alerts for _ in range(2))
    assert first.identity == again.identity == ("1a30ba71cca2921f", "2026-01-15T10:30:00+00:00")
    assert not first.repeats
    assert first.origin == {"fingerprint": "1a30ba71cca2921f"}


def test_a_fingerprint_that_is_missing_is_made_of_the_labels() -> None:
    without = group()
    del without["alerts"][0]["fingerprint"]
    other = group(pod="other")
    del other["alerts"][0]["fingerprint"]
    same, differs = only(parsed(alertmanager, without)), only(parsed(alertmanager, other))
    assert same.identity == only(parsed(alertmanager, without)).identity != differs.identity


def test_labels_that_prometheus_renamed_are_taken_where_they_agree() -> None:
    alert = only(parsed(alertmanager, group(exported_pod="oom-killer-demo")))
    assert alert.subject.pod == "oom-killer-demo"


def test_of_two_pods_none_is_taken() -> None:
    alert = only(parsed(alertmanager, group(exported_pod="victim")))
    assert alert.subject == Subject(namespace="default")
    assert alert.notes == ("pod and exported_pod differ, so neither was taken; use honor_labels: true",)


def test_a_service_account_and_a_node_are_read_too() -> None:
    alert = only(parsed(alertmanager, group(pod="", serviceaccount="builder", node="worker-1")))
    assert alert.subject == Subject(namespace="default", service_account="builder", node="worker-1")


def test_an_alert_without_a_severity_is_medium_and_says_so() -> None:
    alert = only(parsed(alertmanager, group(severity="")))
    assert (alert.severity, alert.notes) == (Severity.MEDIUM, ("it tells no severity, Medium is assumed",))


def test_one_bad_alert_refuses_only_itself() -> None:
    alerts = [*document("alertmanager.json")["alerts"], 5, {"labels": {}}, {"labels": {"alertname": "x"}}]
    alerts.append({"status": "firing", "labels": {"alertname": "y"}, "startsAt": "soon"})
    result = parsed(alertmanager, {"version": "4", "alerts": alerts})
    assert len(result.alerts) == 2
    assert [f"{each.what}: {each.why}" for each in result.refusals] == [
        "an alert (4 of 7): it is no JSON object",
        "an alert (5 of 7): it has no label `alertname`",
        "alert x (6 of 7): its status is neither firing nor resolved",
        "alert y (7 of 7): its startsAt is missing, or no time of RFC 3339",
    ]


def test_alerts_that_alertmanager_left_out_are_not_lost_in_silence() -> None:
    result = parsed(alertmanager, document("alertmanager.json") | {"truncatedAlerts": 7})
    assert len(result.alerts) == 2
    assert [str(each) for each in result.refusals] == [
        "7 alerts: Alertmanager left them out of the group; set max_alerts: 0 in webhook_config"
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"alerts": 5}, "it is no group of Alertmanager's: it has no list `alerts`"),
        ([], "it is no group of Alertmanager's: it has no list `alerts`"),
        ({"version": "5", "alerts": []}, "its version is not 4"),
    ],
)
def test_another_document_is_refused(body: Any, why: str) -> None:
    assert refusal(parsed(alertmanager, body)) == (
        f"the body: {why}; send Alertmanager's webhook_config here, without a template"
    )


def test_our_own_shape_says_all_that_an_alert_has() -> None:
    alert = only(parsed(generic, raw("generic.json")))
    assert alert.subject == Subject(namespace="shop", pod="web-x2x9k", pod_uid="3e41dc6b-08a8-44db-bc2a-3724b18ab19a")
    assert (alert.source, alert.rule, alert.severity) == ("generic", "reverse-shell", Severity.CRITICAL)
    assert (alert.identity, alert.repeats) == (("id", "edr-4711"), False)
    assert alert.fields == {"team": "payments"}


def test_without_an_id_rule_and_target_are_what_repeats() -> None:
    alert = only(parsed(generic, ours(id=...)))
    assert alert.identity == (
        "reverse-shell", "pod", "shop", "web-x2x9k", "3e41dc6b-08a8-44db-bc2a-3724b18ab19a",
    )  # fmt: skip
    assert alert.repeats


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sevrity": "High"}, "unknown key 'sevrity'"),
        ({"target": {"pod": "web", "podUid": "x"}}, "unknown key 'target.podUid'"),
        ({"target": {"pod": "web", "pod_uid": "3e41dc6b-08a8"}}, "unknown key 'target.pod_uid'"),
        ({"severity": "high"}, "severity: Input should be 'Low', 'Medium', 'High' or 'Critical'"),
        ({"severity": ...}, "severity: Field required"),
        ({"time": 1767607200}, "time: want a time of RFC 3339 with its zone, e.g. 2026-01-05T10:00:00Z"),
        ({"time": "2026-01-05T10:00:00"}, "time: want a time of RFC 3339 with its zone, e.g. 2026-01-05T10:00:00Z"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time: want a time of years 1 to 9999 in UTC"),
        ({"summary": ""}, "summary: String should have at least 1 character"),
        ({"rule": 5}, "rule: Input should be a valid string"),
    ],
)
def test_a_typing_error_in_our_own_shape_is_named(changes: dict[str, Any], why: str) -> None:
    assert refusal(parsed(generic, ours(**changes))) == f"an alert: {why}; see docs/alert.schema.json"


def test_a_name_that_is_none_is_refused_in_our_own_shape_and_not_quoted() -> None:
    said = refusal(parsed(generic, ours(target={"pod": "HUNTER2"})))
    assert said.startswith("an alert: target.pod: String should match pattern")
    assert "HUNTER2" not in said


def test_an_unknown_key_beside_the_alerts_is_refused() -> None:
    assert refusal(parsed(generic, {"alerts": [], "dryRun": True})) == (
        "the body: unknown key 'dryRun'; there is `alerts` only; see docs/alert.schema.json"
    )


def test_the_published_schema_is_that_of_the_models_and_the_example_keeps_to_it() -> None:
    ran = bare("intake", "schema")
    assert (ran.code, ran.err) == (0, "")
    assert SCHEMA.read_text() == ran.out, "run `firebreak intake schema > docs/alert.schema.json`"
    schema = json.loads(ran.out)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document("generic.json"))
    wrong = document("generic.json")
    wrong["alerts"][0]["sevrity"] = "High"
    assert not Draft202012Validator(schema).is_valid(wrong)
