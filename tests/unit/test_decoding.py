"""Audit events out of what logs and clouds make of them."""

import gzip
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.detect.decoding import Malformed
from firebreak.detect.event import Event, ObjectRef, User
from firebreak.detect.fields import Seen, find
from firebreak.detect.reading import read
from hostile import hostile

EXEC = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "Request",
    "auditID": "7d5b0a0e-1111-2222-3333-444444444444",
    "stage": "ResponseStarted",
    "requestURI": "/api/v1/namespaces/shop/pods/web-1/exec?command=sh",
    "verb": "get",
    "user": {"username": "mallory", "groups": ["system:authenticated"]},
    "sourceIPs": ["192.0.2.7"],
    "userAgent": "kubectl/v1.35.4",
    "objectRef": {"resource": "pods", "namespace": "shop", "name": "web-1", "apiVersion": "v1", "subresource": "exec"},
    "responseStatus": {"metadata": {}, "code": 101},
    "requestReceivedTimestamp": "2026-11-21T10:00:00.000000Z",
    "stageTimestamp": "2026-11-21T10:00:00.010000Z",
}
OTHER = EXEC | {"auditID": "other"}
TEXT = json.dumps(EXEC)
COMPARED = [f for f in Event.__struct_fields__ if not f.endswith("_object")]  # bytes that were not there at all
# A diagnostic record of AKS, as Microsoft's pages about kube-audit show it.
AKS = {
    "category": "kube-audit",
    "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
    "properties": {"log": TEXT, "stream": "stdout", "pod": "kube-apiserver-1"},
    "time": "2026-11-21T10:00:00Z",
}
# An entry of Cloud Audit Logs, in the shape of Google's LogEntry and AuditLog.
GKE = {
    "insertId": "c9d1a1f2",
    "labels": {
        "authentication.k8s.io/legacy-token": "system:serviceaccount:shop:web",
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "RBAC",
        "more": "no",
    },
    "logName": "projects/example/logs/cloudaudit.googleapis.com%2Factivity",
    "operation": {"first": True, "id": "7d5b0a0e", "last": True, "producer": "k8s.io"},
    "protoPayload": {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "authenticationInfo": {"principalEmail": "system:serviceaccount:shop:web"},
        "authorizationInfo": [{"granted": True, "permission": "io.k8s.core.v1.pods.exec.create", "resource": "x"}],
        "methodName": "io.k8s.core.v1.pods.exec.create",
        "request": {"command": ["sh"]},
        "requestMetadata": {"callerIp": "192.0.2.7", "callerSuppliedUserAgent": "kubectl/v1.35.4"},
        "resourceName": "core/v1/namespaces/shop/pods/web-1/exec",
        "serviceName": "k8s.io",
        "status": {"code": 0},
    },
    "resource": {"type": "k8s_cluster"},
    "timestamp": "2026-11-21T10:00:00.010000Z",
}


def stream(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))


def found(data: bytes | str | Any) -> list[Event | Malformed]:
    if not isinstance(data, bytes | str):
        data = json.dumps(data)
    return list(read(stream(data.encode() if isinstance(data, str) else data)))


def ids(data: bytes | str | Any) -> list[str]:
    """The audit IDs of the events that were found; of what is none its place and why."""
    return [each.audit_id if isinstance(each, Event) else f"{each.where}: {each.why}" for each in found(data)]


def test_an_event_is_read_whole() -> None:
    [event] = found(EXEC)
    assert isinstance(event, Event)
    assert (event.verb, event.stage, event.user) == (
        "get",
        "ResponseStarted",
        User("mallory", "", ("system:authenticated",)),
    )
    assert event.object_ref == ObjectRef("pods", "shop", "web-1", "", "", "v1", "exec")
    assert event.response_status is not None
    assert event.response_status.code == 101


def wrapped() -> dict[str, Any]:
    message = {"id": "1", "timestamp": 1, "message": TEXT}
    return {
        "a line": EXEC,
        "an EventList": {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [EXEC]},
        "an array": [EXEC],
        "EKS: a subscription": {
            "messageType": "DATA_MESSAGE",
            "logGroup": "/aws/eks/x/cluster",
            "logEvents": [message],
        },
        "EKS: the event parsed": {"logEvents": [message | {"message": EXEC}]},
        "EKS: filter-log-events": {"events": [message], "searchedLogStreams": []},
        "EKS: Logs Insights": {"results": [[{"field": "@message", "value": TEXT}]], "status": "Complete"},
        "AKS: a record": AKS,
        "AKS: Event Hubs": {"records": [AKS]},
        "Fluent Bit: a line": {"date": 1.5, "log": TEXT + "\n", "stream": "stdout"},
        "Fluent Bit: parsed": {"date": 1.5, "log": EXEC},
        "Fluent Bit: flat": {"date": 1.5} | EXEC,
        "Vector: a line": {"message": TEXT, "source_type": "file", "timestamp": "2026-11-21T10:00:00Z"},
        "Vector: parsed": {"message": EXEC, "source_type": "file"},
        "Vector: flat": {"source_type": "file", "file": "audit.log"} | EXEC,
        "Vector: an array of lines": [{"message": TEXT}],
    }


@pytest.mark.parametrize("name", wrapped())
def test_an_event_comes_out_of_every_wrapping_as_it_went_in(name: str) -> None:
    [event] = found(wrapped()[name])
    assert isinstance(event, Event)
    whole = msgspec.json.decode(TEXT, type=Event)
    assert {f: getattr(event, f) for f in COMPARED} == {f: getattr(whole, f) for f in COMPARED}


def test_an_entry_of_gke_is_translated() -> None:
    [event] = found(GKE)
    assert isinstance(event, Event)
    assert (event.audit_id, event.verb, event.user.username) == ("7d5b0a0e", "create", "system:serviceaccount:shop:web")
    assert event.object_ref == ObjectRef("pods", "shop", "web-1", "", "", "v1", "exec")
    assert event.response_status is not None
    assert event.response_status.code == 200
    assert event.source_ips == ("192.0.2.7",)
    assert bytes(event.request_object) == b'{"command":["sh"]}'
    assert event.annotations == {
        "authentication.k8s.io/legacy-token": "system:serviceaccount:shop:web",
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "RBAC",
    }
    assert event.stage_timestamp == "2026-11-21T10:00:00.010000Z"


@pytest.mark.parametrize(
    ("resource", "ref"),
    [
        ("core/v1/namespaces/shop", ObjectRef("namespaces", "shop", "shop", "", "", "v1", "")),
        ("core/v1/namespaces/shop/finalize", ObjectRef("namespaces", "shop", "shop", "", "", "v1", "finalize")),
        ("core/v1/namespaces/shop/secrets", ObjectRef("secrets", "shop", "", "", "", "v1", "")),
        ("core/v1/nodes/n1/proxy", ObjectRef("nodes", "", "n1", "", "", "v1", "proxy")),
        (
            "rbac.authorization.k8s.io/v1/clusterrolebindings/oops",
            ObjectRef("clusterrolebindings", "", "oops", "", "rbac.authorization.k8s.io", "v1", ""),
        ),
        ("", ObjectRef()),
    ],
)
def test_what_an_entry_of_gke_is_about(resource: str, ref: ObjectRef) -> None:
    [event] = found(GKE | {"protoPayload": GKE["protoPayload"] | {"resourceName": resource}})  # type: ignore[operator]
    assert isinstance(event, Event)
    assert event.object_ref == ref


@pytest.mark.parametrize(("code", "status"), [(0, 200), (7, 403), (5, 404), (6, 409), (16, 401), (2, 500), (None, 200)])
def test_what_an_entry_of_gke_was_answered(code: int | None, status: int) -> None:
    [event] = found(GKE | {"protoPayload": GKE["protoPayload"] | {"status": {"code": code}}})  # type: ignore[operator]
    assert isinstance(event, Event)
    assert event.response_status is not None
    assert event.response_status.code == status


def test_entries_of_other_services_are_no_events() -> None:
    other = GKE | {"protoPayload": GKE["protoPayload"] | {"serviceName": "container.googleapis.com"}}  # type: ignore[operator]
    assert ids(other) == ["line 1: no audit entry of a Kubernetes API: protoPayload.serviceName is not k8s.io"]


def test_lines_are_read_one_by_one_and_what_is_none_is_named_by_number() -> None:
    lines = [TEXT, "", "{", json.dumps({"hello": 1}), "17", json.dumps(OTHER), '{"items": [{"a": 1}]}']
    assert ids("\n".join(lines)) == [
        EXEC["auditID"],
        "line 3: no JSON",
        "line 4: no verb in it: no event of audit.k8s.io/v1",
        "line 5: no JSON object",
        "other",
        "line 7, item 1: no verb in it: no event of audit.k8s.io/v1",
    ]


def test_a_document_over_many_lines_is_one() -> None:
    assert ids(json.dumps({"kind": "EventList", "items": [EXEC, OTHER]}, indent=2)) == [EXEC["auditID"], "other"]


def test_a_first_line_that_is_cut_off_hides_none_behind_it() -> None:
    assert ids("\n".join([TEXT[:40], TEXT, json.dumps(OTHER)])) == ["line 1: no JSON", EXEC["auditID"], "other"]


def test_a_line_without_its_end_counts() -> None:
    assert ids(TEXT + "\n" + TEXT[:-5]) == [EXEC["auditID"], "line 2: no JSON"]


def test_an_empty_file_holds_nothing() -> None:
    assert ids(b"") == []
    assert ids(b"\n\n") == []


def test_gzip_is_read_and_what_is_cut_off_is_said() -> None:
    data = gzip.compress(("\n".join([TEXT] * 3)).encode())
    assert ids(data) == [EXEC["auditID"]] * 3
    assert ids(data + gzip.compress(b"\n" + json.dumps(OTHER).encode())) == [*[EXEC["auditID"]] * 3, "other"]
    assert ids(data[:-9])[-1].endswith("the gzip is cut off here")
    assert ids(data[:12] + b"\xff" * 20 + data[32:])[-1].endswith("the gzip is damaged from here on")


def test_a_line_that_is_too_long_is_skipped_and_the_next_one_read() -> None:
    file = stream(f"{TEXT}\n{'x' * 300_000}\n{TEXT}".encode())
    first, second, third = read(file, longest=200_000)
    assert second == Malformed("line 2", "longer than 200000 bytes")
    assert isinstance(first, Event)
    assert isinstance(third, Event)


def test_a_document_that_is_too_long_is_read_as_lines() -> None:
    file = stream(json.dumps([EXEC] * 100, indent=2).encode())
    assert next(read(file, longest=10_000)) == Malformed("line 1", "no JSON")


@pytest.mark.parametrize(
    "changed",
    [
        {"userAgent": None, "sourceIPs": None, "annotations": None, "objectRef": None, "user": None},
        {"responseStatus": {"code": "101"}},
        {"user": {"username": "mallory", "groups": "system:masters"}},
        {"requestObject": None, "sourceIPs": "192.0.2.7"},
        {"objectRef": {"resource": "pods", "name": None}},
    ],
)
def test_a_field_of_another_type_does_not_hide_the_event(changed: dict[str, Any]) -> None:
    [event] = found(EXEC | changed)
    assert isinstance(event, Event)
    assert (event.audit_id, event.verb) == (EXEC["auditID"], "get")


def test_a_code_in_words_is_a_code() -> None:
    [event] = found(EXEC | {"responseStatus": {"code": "403"}})
    assert isinstance(event, Event)
    assert event.response_status is not None
    assert event.response_status.code == 403


@pytest.mark.parametrize("hidden", ['"\\ud800"', "1e400", "9" * 5000])
def test_depth_and_what_else_a_decoder_refuses_hide_nothing_together(hidden: str) -> None:
    """A merge patch is recorded as it was sent, with both in it: seen on 1.35."""
    deep = "[" * 5000 + "]" * 5000
    line = TEXT[:-1] + f', "requestObject": {{"x": {deep}, "y": {hidden}, "spec": {{"hostNetwork": true}}}}}}'
    [event] = read(io.BufferedReader(io.BytesIO(line.encode())))
    assert isinstance(event, Event)
    assert find("requestObject.spec.hostNetwork").read(Seen(event)) == [True]


def test_what_is_nested_too_deep_hides_nothing() -> None:
    deep = TEXT[:-1] + ', "requestObject": {"x": ' + "[" * 5000 + "]" * 5000 + "}}"
    assert ids(deep) == [EXEC["auditID"]]


def test_what_is_wrapped_in_itself_ends() -> None:
    text = TEXT
    for _ in range(9):
        text = json.dumps({"message": text})
    assert ids(text) == ["line 1: wrapped too often"]
    assert ids('{"items": [' * 5000 + TEXT + "]}" * 5000)[0].endswith("wrapped too often")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*EXEC, *GKE, *GKE["protoPayload"], "items", "records", "logEvents", "message", "log", "code"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("item", [b"[],", b'{"":0},'])
def test_what_would_take_all_memory_to_be_read_is_none(item: bytes) -> None:
    """Seen: 32 MiB of it, which the intake takes, are a gigabyte of values; its container has half of that."""
    body = b"[" + item * (2**25 // len(item)) + b"0]"
    (only,) = found(body)
    assert isinstance(only, Malformed)
    assert "too many values" in only.why


def test_no_caller_s_body_is_so_large_that_its_event_is_not_read() -> None:
    for item in (b"[],", b'{"":0},'):
        body = b'{"spec":{"hostNetwork":true},"x":[' + item * (3 * 2**20 // len(item)) + b"0]}"
        (event,) = found(b'[{"verb":"patch","requestObject":' + body + b"}]")
        assert isinstance(event, Event)


@hostile
@given(json_values)
def test_nothing_but_events_and_what_is_none_comes_out_of_json(value: Any) -> None:
    for each in found(value):
        assert isinstance(each, Event) or each.why


@hostile
@given(st.binary(max_size=400), st.booleans())
def test_nothing_else_comes_out_of_bytes(data: bytes, zipped: bool) -> None:  # noqa: FBT001 - drawn
    for each in found(gzip.compress(data) if zipped else data):
        assert isinstance(each, Event) or each.why


@hostile
@given(st.sampled_from([EXEC, GKE, AKS]), st.data())
def test_an_event_that_was_damaged_is_read_or_named(whole: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(whole).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert len(found(text[:start] + data.draw(st.binary(max_size=8)) + text[end:])) <= 3
