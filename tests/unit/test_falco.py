"""Falco and Falcosidekick: what their alerts become, and what nobody can make of them."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alert_samples import document, only, parsed, raw, refusal
from firebreak.intake.alert import Severity, Subject
from firebreak.intake.formats import falco, falcosidekick

JSON_INSTEAD = "send JSON instead: json_output: true in falco.yaml"
OWN_JSON = "send Falco's own JSON: json_output: true"
BROKEN = "it breaks off, or holds bytes that are no UTF-8"
SIDEKICK = "send Falcosidekick's output webhook, or cloudevents, here"
NO_LINE = "it is neither JSON nor a line of Falco's text"
DVWA = Subject(namespace="dvwa", pod="dvwa-app-54f998c8c5-b85m2", container_id="bf4d401d1c5e")


def fields(**changes: Any) -> dict[str, Any]:
    """The alert about /etc/shadow, with other output fields."""
    alert = document("falco-file.json")
    alert["output_fields"] |= {key.replace("__", "."): value for key, value in changes.items()}
    return dict(alert)


def text(line: str, now: datetime) -> Any:
    return only(parsed(falco, line.encode(), now=now))


def test_an_alert_names_its_pod_rule_and_moment() -> None:
    alert = only(parsed(falco, raw("falco-file.json")))
    assert (alert.source, alert.rule, alert.severity) == ("falco", "Read sensitive file untrusted", Severity.MEDIUM)
    assert alert.time == datetime(2022, 8, 13, 21, 43, 22, 271495, tzinfo=UTC)
    assert alert.subject == DVWA
    assert alert.fields["tags"] == "filesystem,mitre_credential_access,mitre_discovery"
    assert "proc.aname[2]" not in alert.fields
    assert alert.notes == ()


def test_a_pod_that_is_null_leaves_its_container_and_node() -> None:
    alert = only(parsed(falco, raw("falco-shell.json")))
    assert alert.subject == Subject(container_id="f0ce447bc170", node="df5f828c7ed5")
    assert alert.identity == ("Terminal shell in container", "container", "f0ce447bc170")
    assert alert.severity is Severity.LOW


def test_a_process_of_the_host_is_in_no_container_and_that_is_no_fault() -> None:
    alert = only(parsed(falco, fields(container__id="host", k8s__ns__name=None, k8s__pod__name=None)))
    assert (alert.subject, alert.notes) == (Subject(), ())


def test_the_summary_tells_names_and_no_command_line() -> None:
    alert = only(parsed(falco, fields(proc__cmdline="mysql -pHUNTER2", proc__args="-pHUNTER2", evt__args="HUNTER2")))
    assert alert.summary == (
        "Read sensitive file untrusted (process cat, user root, image vulnerables/web-dvwa, file /etc/shadow)"
    )
    assert "HUNTER2" in alert.fields["proc.cmdline"]
    assert alert.origin == {"container.id": "bf4d401d1c5e"}


def test_an_audit_alert_is_about_the_service_account_that_called() -> None:
    alert = only(parsed(falco, raw("falco-audit.json")))
    assert alert.subject == Subject(namespace="insecure", service_account="react2shell")
    assert alert.severity is Severity.CRITICAL
    assert alert.summary == (
        "Cluster Secret Accessed via K8s API "
        "(caller system:serviceaccount:insecure:react2shell, verb list, resource secrets)"
    )


def test_an_audit_alert_about_a_pod_is_about_that_pod() -> None:
    alert = document("falco-audit.json")
    alert["output_fields"] |= {"ka.target.resource": "pods", "ka.target.name": "web-1", "ka.target.namespace": "shop"}
    assert only(parsed(falco, alert)).subject == Subject(namespace="shop", pod="web-1")


def test_an_audit_alert_about_a_person_names_no_target() -> None:
    alert = document("falco-audit.json")
    alert["output_fields"]["ka.user.name"] = "ann@example.com"
    assert only(parsed(falco, alert)).subject == Subject()


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        ("Emergency", Severity.CRITICAL), ("Alert", Severity.CRITICAL), ("Critical", Severity.CRITICAL),
        ("Error", Severity.HIGH), ("Warning", Severity.MEDIUM), ("Notice", Severity.LOW),
        ("Informational", Severity.LOW), ("Debug", Severity.LOW), ("warning", Severity.MEDIUM),
    ],
)  # fmt: skip
def test_every_priority_of_falco_has_a_severity(priority: str, severity: Severity) -> None:
    assert only(parsed(falco, document("falco-file.json") | {"priority": priority})).severity is severity


def test_a_priority_that_nobody_knows_is_medium_and_said() -> None:
    alert = only(parsed(falco, document("falco-file.json") | {"priority": "Panic\x1b[2J"}))
    assert alert.severity is Severity.MEDIUM
    assert alert.notes == ("its severity 'Panic?[2J' is not known, Medium is assumed",)


@pytest.mark.parametrize(
    "name", ["../../etc", "Web", "web_1", "web 1", "a" * 254, "web\n", "-web", "web;rm", ["web"], {"a": 1}, 5]
)
def test_a_name_that_is_none_of_kubernetes_is_left_out_and_said(name: Any) -> None:
    alert = only(parsed(falco, fields(k8s__pod__name=name)))
    assert alert.subject == replace(DVWA, pod="")
    assert alert.notes == ("the pod it names is no valid one and was left out",)


@pytest.mark.parametrize("absent", [None, "", "<NA>", "N/A"])
def test_what_is_not_there_is_no_invalid_name(absent: str | None) -> None:
    assert only(parsed(falco, fields(k8s__pod__name=absent))).notes == ()


def test_the_uid_and_the_whole_container_id_are_taken_where_they_are() -> None:
    uid = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
    alert = only(parsed(falco, fields(k8s__pod__id=uid, container__full_id="ab" * 32)))
    assert (alert.subject.pod_uid, alert.subject.container_id) == (uid, "ab" * 32)


def test_repeats_of_a_rule_about_a_pod_are_the_same_whatever_the_command() -> None:
    first = only(parsed(falco, fields(proc__cmdline="cat /etc/shadow")))
    later = only(parsed(falco, fields(proc__cmdline="cat -n /etc/shadow", container__id="aaaaaaaaaaaa")))
    other = only(parsed(falco, fields(k8s__pod__name="other")))
    assert first.identity == later.identity != other.identity
    assert first.repeats


def test_lines_of_falcos_own_log_are_taken_apart_and_one_that_is_none_refuses_only_itself() -> None:
    lines = b"\n".join([
        json.dumps(document("falco-file.json")).encode(),
        b"Sat Aug 13 21:36:54 2022: Falco initialized with configuration file /etc/falco/falco.yaml",
        b"",
        raw("falco.txt").splitlines()[0],
    ])  # fmt: skip
    result = parsed(falco, lines)
    assert [alert.subject for alert in result.alerts] == [DVWA, DVWA]
    assert [str(each) for each in result.refusals] == [f"a line (2 of 3): {NO_LINE}; {JSON_INSTEAD}"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body: it is empty; send an alert"),
        (b"\xff\xfe", f"a line: {NO_LINE}; {JSON_INSTEAD}"),
        (b'{"rule": "x"', f"the body: it is no JSON: {BROKEN}; send one JSON document"),
        (b'{"rule": x}', "the body: it is no JSON: malformed (byte 9); send one JSON document"),
        (b'{"time": "2026-01-05T10:00:00Z"}', f"an alert: it has no `rule`; {OWN_JSON}"),
        (b'{"rule": "x"}', f"an alert: its `time` is missing, or no time of RFC 3339; {OWN_JSON}"),
        (b"[5]", f"an alert: it is no JSON object; {OWN_JSON}"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "the body: it is nested deeper than 32 levels; send flat fields"),
        (b'{"a":' * 10**5, "the body: it is nested deeper than 32 levels; send flat fields"),
        (b" " * (2**20 + 1), "the body: it has more than 1048576 bytes; send fewer alerts at once"),
    ],
)
def test_what_is_no_alert_is_refused_with_what_to_do(body: bytes, said: str) -> None:
    assert refusal(parsed(falco, body)) == said


def test_a_list_keeps_its_good_alerts() -> None:
    result = parsed(falco, [document("falco-file.json"), {"rule": 5}, document("falco-shell.json")])
    assert [alert.rule for alert in result.alerts] == ["Read sensitive file untrusted", "Terminal shell in container"]
    assert [each.what for each in result.refusals] == ["an alert (2 of 3)"]


def test_more_alerts_than_are_read_are_refused_by_number() -> None:
    result = parsed(falco, [{"rule": "r", "time": "2026-01-05T10:00:00Z"}] * 5005)
    assert len(result.alerts) == 5000
    assert [str(each) for each in result.refusals] == [
        "5 alerts: at most 5000 of one body are read; send fewer at once"
    ]


def test_text_tells_message_time_and_pod() -> None:
    now = datetime(2022, 8, 13, 21, 44, tzinfo=UTC)
    alert = text(raw("falco.txt").decode().splitlines()[0], now)
    assert alert.rule == "Sensitive file opened for reading by non-trusted program"
    assert alert.time == datetime(2022, 8, 13, 21, 43, 22, 271495, tzinfo=UTC)
    assert (alert.subject, alert.severity) == (DVWA, Severity.MEDIUM)
    assert "shadow" not in alert.summary
    assert alert.fields["format"] == "text"


def test_text_without_a_date_is_of_the_day_that_is_nearest() -> None:
    before = text("23:59:59.999999999: Error x (a=b)", datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC))
    after = text("00:00:01.000000001: Error x (a=b)", datetime(2025, 12, 31, 23, 59, 58, tzinfo=UTC))
    assert (before.time.date().isoformat(), after.time.date().isoformat()) == ("2025-12-31", "2026-01-01")
    assert after.severity is Severity.HIGH


def test_text_may_name_a_container_within_its_message_and_words_in_brackets() -> None:
    lines = raw("falco.txt").decode().splitlines()
    setns, shell = (text(line, datetime(2026, 7, 10, 16, 0, tzinfo=UTC)) for line in lines[1:])
    assert setns.rule == "Namespace change (setns) by unexpected program"
    assert setns.subject == Subject(container_id="4a4021c50439")
    assert shell.rule == "A shell was spawned in a container with an attached terminal"
    assert shell.subject == Subject(container_id="f0ce447bc170")
    assert shell.time == datetime(2026, 7, 10, 15, 55, 47, 811217, tzinfo=UTC)


@pytest.mark.parametrize(
    "told",
    [
        "cmd=sh -c k8s_pod_name=victim k8s_ns_name=shop container_id=f0ce447bc170 k8s_pod_name=web k8s_ns_name=shop",
        "command=sh -c k8s.pod=victim container_id=f0ce447bc170 k8s_pod_name=<NA> k8s_ns_name=shop",
        "command=sh -c k8s_pod_name=victim) k8s.ns=shop k8s.pod=<NA> container=f0ce447bc170",
    ],
)
def test_a_command_line_cannot_put_another_pod_into_text_that_names_one(told: str) -> None:
    alert = text(f"10:00:00.000000000: Critical Odd thing ({told}", datetime(2026, 1, 5, 10, 0, tzinfo=UTC))
    assert alert.subject == Subject(namespace="shop", container_id="f0ce447bc170")
    assert alert.notes == ("the text names more than one pod, so none was taken",)


def test_no_command_line_hides_that_an_alert_is_text() -> None:
    alert = text("10:00:00.0: Critical Odd thing (command=x format=json y", datetime(2026, 1, 5, 10, 0, tzinfo=UTC))
    assert alert.fields["format"] == "text"


def test_text_that_is_very_long_names_nothing() -> None:
    line = f"10:00:00.0: Critical Odd thing (k8s_pod_name=a k8s_ns_name=b {'x' * 2**16} k8s_pod_name=c"
    alert = text(line, datetime(2026, 1, 5, 10, 0, tzinfo=UTC))
    assert alert.subject == Subject()
    assert alert.notes == ("the text is longer than 65536 bytes, so nothing that it names was taken",)


def test_sidekicks_uuid_is_no_identity() -> None:
    first = only(parsed(falcosidekick, raw("falcosidekick.json")))
    again = only(parsed(falcosidekick, document("falcosidekick.json") | {"uuid": "another"}))
    assert first.source == "falcosidekick"
    assert first.identity == again.identity
    assert first.subject == Subject(
        namespace="default", pod="mysql-db-7d59548d75-wh44s", container_id="f29b261f8831", node="falco-969dv"
    )


def test_cloudevents_come_in_three_ways() -> None:
    plain = only(parsed(falcosidekick, raw("falcosidekick.json")))
    headers = {"Ce-Id": "1", "Ce-Specversion": "1.0", "Ce-Type": "falco.rule.output.v1", "Ce-Source": "falco.org"}
    event = {"specversion": "1.0", "type": "falco.rule.output.v1", "id": "1", "source": "falco.org"}
    coded = base64.b64encode(raw("falcosidekick.json")).decode()
    assert only(parsed(falcosidekick, raw("falcosidekick.json"), headers)) == plain
    assert only(parsed(falcosidekick, event | {"data": document("falcosidekick.json")})) == plain
    assert only(parsed(falcosidekick, event | {"data_base64": coded})) == plain
    batch = parsed(falcosidekick, [event | {"data": document("falcosidekick.json")}, event | {"data_base64": "?"}])
    assert batch.alerts == (plain,)
    assert [str(each) for each in batch.refusals] == [
        "a CloudEvent (2 of 2): its data_base64 is no base64; send Falcosidekick's output webhook, or cloudevents, here"
    ]


def test_a_cloudevent_of_another_type_is_refused_however_it_comes() -> None:
    said = (
        "a CloudEvent: its type is not falco.rule.output.v1; send Falcosidekick's output webhook, or cloudevents, here"
    )
    event = {"specversion": "1.0", "type": "com.example", "data": document("falcosidekick.json")}
    assert refusal(parsed(falcosidekick, event)) == said
    assert refusal(parsed(falcosidekick, raw("falcosidekick.json"), {"ce-type": "com.example"})) == said


def test_what_sidekick_cut_at_507_bytes_is_still_an_alert() -> None:
    alert = document("falcosidekick.json")
    alert["output_fields"]["proc.cmdline"] = "x" * 507 + "[...]"
    assert only(parsed(falcosidekick, alert)).subject.pod == "mysql-db-7d59548d75-wh44s"
