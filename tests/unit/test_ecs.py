"""What a SIEM is told of findings and incidents: fields of ECS, the same id for the same thing, nothing hostile."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_fields import assert_ecs, fields
from firebreak.api.base import Json
from firebreak.detect.ecs import finding_record
from firebreak.detect.event import Event
from firebreak.detect.finding import Finding
from firebreak.detect.rules import Ruleset
from firebreak.model.cloudevent import cloud_event, source_of
from firebreak.model.ecs import Record
from firebreak.model.incident import read
from firebreak.model.transition import CLOSED, OPENED, TURNED, transitions, undone
from firebreak.outward.sink import encoded
from test_findings import finding
from world import UID, incident

DOCS = Path(__file__).parents[2] / "docs" / "siem.md"
NOW = "2026-11-21T12:00:00.000000Z"
CREATED = "2026-11-21T11:59:58Z"
HOSTILE = "\U0001f525\x1b[2J\u202e\n" * 40_000

EXEC = {
    "auditID": "0f1d3c5e-6a4b-4c8d-9e2f-7b6a5c4d3e2f",
    "stage": "ResponseStarted",
    "verb": "get",
    "user": {"username": "system:serviceaccount:shop:web"},
    "sourceIPs": ["203.0.113.9", "10.244.1.7"],
    "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop", "name": "db-0"},
    "responseStatus": {"code": 101},
    "stageTimestamp": "2026-01-05T10:00:00.000000Z",
    "requestURI": "/api/v1/namespaces/shop/pods/db-0/exec?command=mysql&command=-phunter2",
    "requestObject": {"password": "hunter2"},
}
SHELL: Json = {
    "rule": "exec-into-pod",
    "title": "Exec, attach or port-forward into a pod",
    "tags": ("attack.execution", "attack.t1609", "attack.t1552.007"),
}


def told(*events: Event, **more: Any) -> Json:
    return finding_record(finding(*events, **more), "prod").document


def made(**fields: Any) -> Event:
    return msgspec.json.decode(msgspec.json.encode({**EXEC, **fields}), type=Event)


def condition(kind: str = "Contained", status: str = "True", reason: str = "Enforced", at: str = NOW) -> Json:
    words = "pod web-1 is cut off"
    return {"type": kind, "status": status, "reason": reason, "message": words, "lastTransitionTime": at}


def happened(before: Json, after: Json, *turned: Json, now: str = NOW, **spec: Any) -> tuple[Record, ...]:
    raw = incident(**spec)
    raw["metadata"]["creationTimestamp"] = CREATED
    return transitions(read(raw), before, after, turned, cluster="prod", now=now)


def example(record: Record) -> tuple[str, str]:
    """A record as a line, and as the event that is posted."""
    return encoded(record.document).decode(), encoded(cloud_event(record, source_of("prod"))).decode()


# --- findings


def test_a_finding_says_who_did_what_where_by_which_rule() -> None:
    document = told(made(), **SHELL)
    assert_ecs(document)
    assert (
        document.pop("event").items()
        >= {
            "kind": "alert",
            "category": ["intrusion_detection"],
            "type": ["allowed"],
            "action": "get",
            "outcome": "success",
            "severity": 73,
        }.items()
    )
    assert document == {
        "ecs": {"version": "8.17.0"},
        "@timestamp": "2026-01-05T10:00:00+00:00",
        "rule": {
            "id": "exec-into-pod",
            "name": "Exec, attach or port-forward into a pod",
            "ruleset": "firebreak",
        },
        "threat": {
            "framework": "MITRE ATT&CK",
            "technique": {"id": ["T1609", "T1552"], "subtechnique": {"id": ["T1552.007"]}},
        },
        "user": {"name": "system:serviceaccount:shop:web"},
        "source": {"ip": "10.244.1.7"},
        "orchestrator": {
            "type": "kubernetes",
            "cluster": {"name": "prod"},
            "namespace": "shop",
            "resource": {"type": "pods", "name": "db-0"},
        },
        "message": "Exec, attach or port-forward into a pod: system:serviceaccount:shop:web get pods/exec shop/db-0 "
        "from 10.244.1.7",
        "tags": ["attack.execution", "attack.t1609", "attack.t1552.007"],
        "labels": {
            "level": "high",
            "subresource": "exec",
            "audit_ids": ["0f1d3c5e-6a4b-4c8d-9e2f-7b6a5c4d3e2f"],
        },
    }


def test_no_command_line_and_no_body_is_told() -> None:
    assert "hunter2" not in str(finding_record(finding(made()), "prod"))


@pytest.mark.parametrize(
    ("code", "outcome", "what"),
    [
        (200, "success", "allowed"),
        (101, "success", "allowed"),
        (403, "failure", "denied"),
        (401, "failure", "denied"),
        (404, "failure", "info"),
        (0, "unknown", "info"),
    ],
)
def test_the_outcome_is_what_the_api_server_answered(code: int, outcome: str, what: str) -> None:
    document = told(made(responseStatus={"code": code}))
    assert (document["event"]["outcome"], document["event"]["type"]) == (outcome, [what])


@pytest.mark.parametrize(("address", "shown"), [("fe80::1%eth0", "fe80::1"), ("10.0.0.7", "10.0.0.7"), ("x", None)])
def test_an_address_that_is_none_is_left_out(address: str, shown: str | None) -> None:
    """Elasticsearch refuses a whole document for it."""
    assert told(made(sourceIPs=[address])).get("source", {}).get("ip") == shown


def test_who_impersonates_is_the_user_and_who_is_impersonated_takes_effect() -> None:
    document = told(made(impersonatedUser={"username": "admin"}))
    assert document["user"] == {"name": "system:serviceaccount:shop:web", "effective": {"name": "admin"}}


def test_the_same_events_have_the_same_id_wherever_they_are_found() -> None:
    here, there = (finding(made(), **SHELL) for _ in range(2))
    assert told(made())["event"]["id"] == told(made())["event"]["id"]
    assert finding_record(here, "prod").document["event"]["id"] == finding_record(there, "x").document["event"]["id"]


@pytest.mark.parametrize(
    "other", [{"auditID": "another"}, {"stageTimestamp": "2026-01-05T10:00:00.000001Z"}, {"stage": "ResponseComplete"}]
)
def test_other_events_have_another_id(other: Json) -> None:
    """A caller may choose the auditID, also one that came before; he does not choose the time."""
    assert told(made(**other))["event"]["id"] != told(made())["event"]["id"]


def test_another_rule_about_the_same_event_has_another_id() -> None:
    assert told(made(), rule="one")["event"]["id"] != told(made(), rule="two")["event"]["id"]


def test_hostile_names_are_one_short_printable_line() -> None:
    hostile = made(
        auditID=HOSTILE,
        verb=HOSTILE,
        user={"username": HOSTILE},
        impersonatedUser={"username": HOSTILE},
        sourceIPs=[HOSTILE],
        objectRef=dict.fromkeys(("resource", "subresource", "namespace", "name"), HOSTILE),
    )
    several = [msgspec.structs.replace(hostile, audit_id=f"{number}{HOSTILE}") for number in range(100)]
    found: Finding = finding(*several, title=HOSTILE, rule=HOSTILE, tags=("attack.t1609", HOSTILE) * 50)
    record = finding_record(found, "prod")
    assert_ecs(record.document)
    assert record.subject.isprintable()
    assert len(record.document["labels"]["audit_ids"]) == 16
    assert len(encoded(cloud_event(record, source_of("prod")))) < 64 * 2**10


TEXT = st.text(max_size=50)


@given(
    st.builds(dict, verb=TEXT, auditID=TEXT, user=st.builds(dict, username=TEXT), sourceIPs=st.lists(TEXT, max_size=3))
)
def test_whatever_a_caller_writes_it_is_ecs(given_: Json) -> None:
    assert_ecs(told(made(**given_)))


# --- incidents


def test_an_incident_that_opens_is_told_with_what_it_is_about() -> None:
    (opened,) = happened({}, {"phase": "Containing"}, severity="Critical", reason="web shell", source="falco")
    assert_ecs(opened.document)
    assert (opened.type, opened.subject) == (OPENED, "shop/shell")
    assert opened.document["@timestamp"] == CREATED
    assert (
        opened.document["event"].items()
        >= {
            "kind": "event",
            "action": "incident-opened",
            "severity": 99,
            "reason": "web shell",
        }.items()
    )
    assert opened.document["message"] == "incident shop/shell: opened by falco, about pod/web-1"
    assert opened.document["labels"] == {
        "incident": "shell",
        "incident_uid": UID,
        "phase": "Containing",
        "source": "falco",
        "mode": "Respond",
        "playbook": "standard",
    }


def test_a_condition_that_turned_is_told_with_its_time_and_outcome() -> None:
    cut = condition(at="2026-11-21T11:59:59.000000Z")
    (turned,) = happened({"conditions": [condition(status="False")]}, {"phase": "Contained"}, cut)
    assert_ecs(turned.document)
    assert (turned.type, turned.document["@timestamp"]) == (TURNED, "2026-11-21T11:59:59.000000Z")
    assert (
        turned.document["event"].items()
        >= {
            "category": ["network"],
            "type": ["denied"],
            "action": "condition-turned",
            "outcome": "success",
            "reason": "Enforced",
        }.items()
    )
    assert turned.document["message"] == "incident shop/shell: Contained is True (Enforced): pod web-1 is cut off"
    assert turned.document["labels"].items() >= {"condition": "Contained", "status": "True"}.items()


@pytest.mark.parametrize("kind", [
    "Contained", "IdentityContained", "EvidencePreserved", "SecretsRotated", "Recovered", "NodeSuspect", "NodeCordoned",
    "ActionRequired", "Stalled",
])  # fmt: skip
@pytest.mark.parametrize(("status", "outcome"), [("True", "success"), ("False", "failure"), ("Unknown", "unknown")])
def test_every_condition_is_ecs_and_only_what_can_succeed_has_an_outcome(kind: str, status: str, outcome: str) -> None:
    (turned,) = happened({"conditions": [condition("Other")]}, {}, condition(kind, status, "SomeReason"))
    assert_ecs(turned.document)
    no_outcome = kind in {"NodeSuspect", "ActionRequired", "Stalled"}
    assert turned.document["event"].get("outcome") == (None if no_outcome else outcome)


def test_what_nobody_asked_for_did_not_fail() -> None:
    (turned,) = happened({"conditions": [condition("Other")]}, {}, condition(status="False", reason="NotRequested"))
    assert "outcome" not in turned.document["event"]


def test_a_reason_that_comes_back_is_another_event() -> None:
    """The status keeps no time for it: the transition time stays while the status does."""
    one, two = condition(reason="A"), condition(reason="B")
    (first,) = happened({"conditions": [two]}, {}, one, now="2026-11-21T12:00:01Z")
    (again,) = happened({"conditions": [two]}, {}, one, now="2026-11-21T12:00:05Z")
    assert first.document["event"]["id"] != again.document["event"]["id"]
    assert again.document["@timestamp"] == "2026-11-21T12:00:05Z"


def test_what_somebody_undid_is_told_each_time() -> None:
    shell = read(incident())
    one, two = (
        undone(shell, "label x was taken off", cluster="prod", now=f"2026-11-21T12:00:0{n}Z").document for n in (1, 2)
    )
    assert_ecs(one)
    assert one["message"] == "incident shop/shell: label x was taken off; it is done again"
    assert one["event"]["id"] != two["event"]["id"]


def test_closing_is_told_once_with_the_verdict() -> None:
    before = {"conditions": [condition()], "phase": "Responded"}
    closing: Json = {"state": "Closed", "verdict": "TruePositive", "ticket": "SEC-7"}
    (closed,) = happened(before, {**before, "phase": "Closed"}, **closing)
    assert_ecs(closed.document)
    assert (closed.type, closed.document["event"]["reason"]) == (CLOSED, "TruePositive")
    assert closed.document["labels"]["ticket"] == "SEC-7"
    assert happened({**before, "phase": "Closed"}, {**before, "phase": "Closed"}, **closing) == ()


@pytest.mark.parametrize(
    ("target", "resource"),
    [
        ({"pod": "web-1"}, {"type": "pods", "name": "web-1"}),
        ({"workload": {"kind": "StatefulSet", "name": "db"}}, {"type": "statefulsets", "name": "db"}),
        ({"serviceAccount": "web"}, {"type": "serviceaccounts", "name": "web"}),
        ({"selector": {"matchLabels": {"app": "web"}}}, {"type": "incidents", "name": "shell"}),
        (None, {"type": "incidents", "name": "shell"}),
    ],
)
def test_the_resource_is_what_the_incident_is_about(target: Json | None, resource: Json) -> None:
    (opened,) = happened({}, {}, target=target, mode="Plan")
    assert opened.document["orchestrator"]["resource"] == resource


def test_hostile_words_of_an_incident_are_one_printable_line() -> None:
    for record in happened({}, {"phase": "x"}, {**condition(), "message": HOSTILE}, reason="\x1b[2J\u202e" * 99):
        assert_ecs(record.document)


# --- CloudEvents


def test_a_cloud_event_has_the_attributes_that_the_specification_wants() -> None:
    record = finding_record(finding(made(), **SHELL), "prod eu/1")
    found = cloud_event(record, source_of("prod eu/1"))
    assert {name: found[name] for name in found if name != "data"} == {
        "specversion": "1.0",
        "id": record.document["event"]["id"],
        "source": "https://firebreak.dev/clusters/prod%20eu%2F1",
        "type": "dev.firebreak.finding",
        "subject": "exec-into-pod",
        "time": "2026-01-05T10:00:00+00:00",
        "datacontenttype": "application/json",
    }
    assert found["data"] == record.document


# --- the page


def documented() -> list[str]:
    return [line for line in DOCS.read_text().splitlines() if line.startswith("{")]


def test_the_page_shows_a_line_of_each_kind_as_it_is_written() -> None:
    closing: Json = {"state": "Closed", "verdict": "TruePositive", "ticket": "SEC-7"}
    before = {"conditions": [condition()], "phase": "Responded"}
    shipped = Ruleset.load().named["exec-by-service-account"]
    found = finding(made(), rule=shipped.name, title=shipped.title, level=shipped.level, tags=shipped.tags)
    kinds = [
        finding_record(found, "prod"),
        *happened({}, {"phase": "Containing"}, reason="web shell", source="falco"),
        *happened({"conditions": [condition("Other")]}, {"phase": "Capturing"}, condition()),
        *happened(before, {**before, "phase": "Closed"}, **closing),
    ]
    lines = [example(record)[0] for record in kinds]
    assert documented() == [*lines, example(kinds[2])[1]], "\n".join(lines)


def test_the_page_names_every_field() -> None:
    text = DOCS.read_text()
    assert [name for line in documented()[:4] for name, _ in fields(json.loads(line)) if f"`{name}`" not in text] == []
