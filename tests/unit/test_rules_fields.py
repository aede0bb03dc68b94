"""What a rule's field, modifier and value mean, each by events that match and that do not."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from detecting import Json, event, fed, load, names, rule
from firebreak.detect.event import Event

CONTAINERS = [{"name": "a"}, {"name": "b", "securityContext": {"privileged": True}}]
POD = {"spec": {"hostNetwork": True, "containers": CONTAINERS, "volumes": [{"hostPath": {}}]}}
LABELS = {"metadata": {"labels": {"app.kubernetes.io/name": "web", "app": "x"}}}
DECISION = {"authorization.k8s.io/decision": "allow"}
EXTRA = {"authentication.kubernetes.io/pod-name": ["web-1"]}
PATCH = [{"op": "replace", "path": "/spec/hostNetwork", "value": True}]

CASES: list[tuple[Json | list[Json], Json, bool]] = [
    # plain values: the whole text, whatever its case
    ({"verb": "get"}, {"verb": "get"}, True),
    ({"verb": "GET"}, {"verb": "get"}, True),
    ({"verb": "get"}, {"verb": "gets"}, False),
    ({"verb": ["get", "list"]}, {"verb": "list"}, True),
    ({"verb": ["get", "list"]}, {"verb": "watch"}, False),
    ({"verb": "get"}, {}, False),
    ({"verb": "get", "stage": "Panic"}, {"verb": "get"}, False),
    # wildcards
    ({"userAgent": "kubectl*"}, {"userAgent": "kubectl/v1.35"}, True),
    ({"userAgent": "*kubectl*"}, {"userAgent": "a kubectl/v1.35"}, True),
    ({"userAgent": "*/v1"}, {"userAgent": "kubectl/v1"}, True),
    ({"userAgent": "k*ctl/v?.3*5"}, {"userAgent": "KUBECTL/v1.335"}, True),
    ({"userAgent": "k*ctl/v?.3*5"}, {"userAgent": "kubectl/v11.35"}, False),
    ({"userAgent": "a?c"}, {"userAgent": "a\nc"}, True),
    ({"userAgent": "a.c*d"}, {"userAgent": "abcd"}, False),
    ({"userAgent": r"a\*c"}, {"userAgent": "a*c"}, True),
    ({"userAgent": r"a\*c"}, {"userAgent": "abc"}, False),
    ({"userAgent": "*"}, {"userAgent": "x"}, True),
    ({"userAgent": "*"}, {}, False),
    # modifiers of text
    ({"userAgent|contains": "CURL"}, {"userAgent": "my curl/8"}, True),
    ({"userAgent|contains|all": ["curl", "my"]}, {"userAgent": "my curl/8"}, True),
    ({"userAgent|contains|all": ["curl", "your"]}, {"userAgent": "my curl/8"}, False),
    ({"user.username|startswith": "system:"}, {"user": {"username": "system:node:a"}}, True),
    ({"user.username|startswith": "system:"}, {"user": {"username": "a system:"}}, False),
    ({"user.username|endswith": [":a", ":b"]}, {"user": {"username": "system:node:b"}}, True),
    ({"userAgent|cased": "Admin"}, {"userAgent": "Admin"}, True),
    ({"userAgent|cased": "Admin"}, {"userAgent": "admin"}, False),
    ({"userAgent|startswith|cased": "A"}, {"userAgent": "admin"}, False),
    ({"userAgent|contains|cased": "d?i"}, {"userAgent": "aDmin"}, False),
    # who somebody is: case counts to the API server
    ({"user.groups": "system:masters"}, {"user": {"groups": ["system:masters"]}}, True),
    ({"user.groups": "system:masters"}, {"user": {"groups": ["System:Masters"]}}, False),
    ({"user.username|startswith": "system:"}, {"user": {"username": "System:node:a"}}, False),
    ({"user.username": "system:*:a"}, {"user": {"username": "System:node:a"}}, False),
    ({"impersonatedUser.groups": "system:masters"}, {"impersonatedUser": {"groups": ["SYSTEM:masters"]}}, False),
    # regular expressions: anywhere, and case counts
    ({"userAgent|re": "ctl/v1\\.(3|4)"}, {"userAgent": "kubectl/v1.4"}, True),
    ({"userAgent|re": "^ctl"}, {"userAgent": "kubectl"}, False),
    ({"userAgent|re": "KUBECTL"}, {"userAgent": "kubectl"}, False),
    ({"userAgent|re|i": "KUBECTL"}, {"userAgent": "kubectl"}, True),
    ({"userAgent|re": "^b"}, {"userAgent": "a\nb"}, False),
    ({"userAgent|re|m": "^b"}, {"userAgent": "a\nb"}, True),
    ({"userAgent|re": "a.b"}, {"userAgent": "a\nb"}, False),
    ({"userAgent|re|s": "a.b"}, {"userAgent": "a\nb"}, True),
    ({"userAgent|re": ["x", "y"]}, {"userAgent": "-y-"}, True),
    # numbers and truth values
    ({"responseStatus.code": 403}, {"responseStatus": {"code": 403}}, True),
    ({"responseStatus.code": "403"}, {"responseStatus": {"code": 403}}, True),
    ({"responseStatus.code": 403}, {"responseStatus": {"code": 200}}, False),
    ({"responseStatus.code|gte": 400, "responseStatus.code|lt": 500}, {"responseStatus": {"code": 400}}, True),
    ({"responseStatus.code|gt": 400}, {"responseStatus": {"code": 400}}, False),
    ({"responseStatus.code|lte": 400}, {"responseStatus": {"code": 400}}, True),
    ({"responseStatus.code|lt": 400}, {}, False),
    ({"requestObject.spec.replicas|gt": 1}, {"requestObject": {"spec": {"replicas": "9"}}}, False),
    ({"requestObject.spec.replicas|gte": 1}, {"requestObject": {"spec": {"replicas": True}}}, False),
    ({"requestObject.spec.replicas": 2}, {"requestObject": {"spec": {"replicas": 2.0}}}, True),
    ({"requestObject.spec.hostNetwork": True}, {"requestObject": POD}, True),
    ({"requestObject.spec.hostNetwork": "true"}, {"requestObject": POD}, True),
    ({"requestObject.spec.hostNetwork": 1}, {"requestObject": POD}, False),
    # null and exists
    ({"objectRef.name": None}, {"objectRef": {"resource": "pods"}}, True),
    ({"objectRef.name": None}, {}, True),
    ({"objectRef.name": None}, {"objectRef": {"name": "a"}}, False),
    ({"objectRef.name": [None, "b"]}, {"objectRef": {"name": "b"}}, True),
    ({"requestObject.spec.hostPID": None}, {"requestObject": {"spec": {"hostPID": None}}}, True),
    ({"requestObject.spec.containers|exists": True}, {"requestObject": POD}, True),
    ({"requestObject.spec.volumes.hostPath|exists": True}, {"requestObject": POD}, True),
    ({"requestObject.spec.hostPID|exists": True}, {"requestObject": POD}, False),
    ({"requestObject.spec.hostPID|exists": False}, {"requestObject": POD}, True),
    ({"requestObject.spec.hostPID|exists": False}, {}, True),
    ({"requestObject.rules.apiGroups": ""}, {"requestObject": {"rules": [{"apiGroups": ["apps", ""]}]}}, True),
    # addresses
    ({"sourceIPs|cidr": "10.0.0.0/8"}, {"sourceIPs": ["1.2.3.4", "10.1.1.1"]}, True),
    ({"sourceIPs|cidr": "10.0.0.0/8"}, {"sourceIPs": ["1.2.3.4", "nonsense", "fd00::1"]}, False),
    ({"sourceIPs|cidr": ["192.168.0.0/16", "fd00::/8"]}, {"sourceIPs": ["fd00::1"]}, True),
    ({"sourceIPs|cidr": "10.0.0.0/8"}, {"sourceIPs": ["::ffff:10.1.1.1"]}, True),
    ({"sourceIPs.last|cidr": "10.0.0.0/8"}, {"sourceIPs": ["10.1.1.1", "1.2.3.4"]}, False),
    ({"sourceIPs.last|cidr": "10.0.0.0/8"}, {"sourceIPs": ["1.2.3.4", "10.1.1.1"]}, True),
    # another field
    ({"objectRef.namespace|fieldref": "objectRef.name"}, {"objectRef": {"namespace": "A", "name": "a"}}, True),
    ({"objectRef.namespace|fieldref": "objectRef.name"}, {"objectRef": {"namespace": "a", "name": "b"}}, False),
    ({"objectRef.namespace|fieldref": "objectRef.name"}, {"objectRef": {"namespace": "a"}}, False),
    ({"user.groups|fieldref": "sourceIPs"}, {"user": {"groups": ["a", "b"]}, "sourceIPs": ["b"]}, True),
    # lists: any element
    ({"user.groups": "system:masters"}, {"user": {"groups": ["a", "system:masters"]}}, True),
    ({"user.groups|all": ["a", "b"]}, {"user": {"groups": ["b", "x", "a"]}}, True),
    ({"user.groups|all": ["a", "c"]}, {"user": {"groups": ["b", "x", "a"]}}, False),
    ({"user.groups": None}, {"user": {"groups": []}}, True),
    ({"requestObject.spec.containers.securityContext.privileged": True}, {"requestObject": POD}, True),
    ({"requestObject.path|startswith": "/spec/", "requestObject.value": True}, {"requestObject": PATCH}, True),
    # keys with dots
    ({"user.extra.authentication.kubernetes.io/pod-name": "web-*"}, {"user": {"extra": EXTRA}}, True),
    ({"user.extra.authentication.kubernetes.io/pod-name|exists": False}, {"user": {"extra": EXTRA}}, False),
    ({"impersonatedUser.extra.a.b": "c"}, {"impersonatedUser": {"extra": {"a.b": ["c"]}}}, True),
    ({"impersonatedUser.extra.a.b": None}, {}, True),
    ({"annotations.authorization.k8s.io/decision": "allow"}, {"annotations": DECISION}, True),
    ({"requestObject.metadata.labels.app.kubernetes.io/name": "web"}, {"requestObject": LABELS}, True),
    ({"requestObject.metadata.labels.app": "x"}, {"requestObject": LABELS}, True),
    # parts that are not there
    ({"impersonatedUser.username|exists": True}, {"impersonatedUser": {"username": "a"}}, True),
    ({"impersonatedUser.username|exists": True}, {}, False),
    ({"responseObject.status.token": "x"}, {"responseObject": {"status": {"token": "x"}}}, True),
    ({"user.extra.a|exists": False}, {"user": {"extra": {"b": ["c"]}}}, True),
    ({"user.extra.a|exists": False}, {}, True),
    ({"user.extra.a": [None, "x"]}, {"user": {"extra": {"a": ["y"]}}}, False),
    # every field that is remembered by value
    ({"objectRef.subresource": "exec"}, {"objectRef": {"resource": "pods", "subresource": "exec"}}, True),
    ({"objectRef.subresource": "exec"}, {"objectRef": {"resource": "pods", "subresource": "log"}}, False),
    ({"objectRef.subresource": None}, {"objectRef": {"resource": "pods"}}, True),
    ({"objectRef.apiGroup": "apps"}, {"objectRef": {"resource": "deployments", "apiGroup": "apps"}}, True),
    ({"objectRef.apiGroup": None}, {"objectRef": {"resource": "deployments", "apiGroup": "apps"}}, False),
    ({"objectRef.resource": None, "objectRef.apiGroup": None}, {"requestURI": "/healthz"}, True),
    ({"objectRef.namespace": "shop"}, {"objectRef": {"namespace": "shop"}}, True),
    ({"objectRef.namespace": None}, {"objectRef": {"resource": "nodes"}}, True),
    ({"objectRef.namespace": None}, {"requestURI": "/healthz"}, True),
    ({"impersonatedUser.username": None}, {}, True),
    ({"impersonatedUser.username": None}, {"impersonatedUser": {"username": "a"}}, False),
    ({"userAgent": None, "sourceIPs.last": None, "user.username": None}, {}, True),
    ({"responseStatus.code": None}, {"responseStatus": {"code": 0}}, True),
    # a list of maps: any of them
    ([{"verb": "get"}, {"stage": "Panic"}], {"verb": "list", "stage": "Panic"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("selection", "fields", "expected"), CASES)
def test_a_selection_matches_what_it_says(tmp_path: Path, *, selection: Any, fields: Json, expected: bool) -> None:
    assert names(fed(load(tmp_path, rule(selection)), event(**fields))) == ["found"] * expected


A, B = {"a": {"verb": "a"}}, {"b": {"stage": "b"}}
THREE = {**A, **B, "filter_x": {"level": "x"}, "filter_y": {"level": "y"}}


@pytest.mark.parametrize(
    ("condition", "selections", "expected"),
    [
        ("a and b", {**A, **B}, ["ab"]),
        ("a or b", {**A, **B}, ["a", "b", "ab"]),
        ("not a", A, ["", "b"]),
        ("a and not b", {**A, **B}, ["a"]),
        ("not (a or b)", {**A, **B}, [""]),
        ("1 of them", {**A, **B}, ["a", "b", "ab"]),
        ("all of them", {**A, **B}, ["ab"]),
        ("any of them", {**A, **B}, ["a", "b", "ab"]),
        (["a and not b", "b and not a"], {**A, **B}, ["a", "b"]),
        ("a and b and not 1 of filter_*", THREE, ["ab"]),
        ("a and all of filter_* or b", THREE, ["b", "ab"]),
    ],
)
def test_a_condition_means_what_it_says(tmp_path: Path, condition: Any, selections: Json, expected: list[str]) -> None:
    events = {
        "": event(verb="x", stage="x"),
        "a": event(verb="a", stage="x"),
        "b": event(verb="x", stage="b"),
        "ab": event(verb="a", stage="b"),
    }
    ruleset = load(tmp_path, rule({**selections, "condition": condition}))
    assert [name for name, each in events.items() if fed(ruleset, each)] == expected


def test_a_filter_of_a_level_takes_its_events_out(tmp_path: Path) -> None:
    ruleset = load(tmp_path, rule({**THREE, "condition": "a and b and not 1 of filter_*"}))
    assert fed(ruleset, event(verb="a", stage="b", level="y")) == []


def test_a_key_of_the_same_name_with_dots_hides_nothing_in_a_patch(tmp_path: Path) -> None:
    """The API server ignores `spec.hostNetwork` as a key; the author of a patch may well write it."""
    ruleset = load(tmp_path, rule({"requestObject.spec.hostNetwork": True}))
    assert names(fed(ruleset, event(requestObject={"spec.hostNetwork": False, "spec": {"hostNetwork": True}}))) == [
        "found"
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"spec": {"host\\u004eetwork": true}}',
        b'{"\\u0073pec": {"hostNetwork": true}}',
        b'{"spec": {"hostNetwork" : true}, "a": "\xff"}',
        b'[{"spec": {"hostNetwork":true}}]',
    ],
)
def test_however_a_key_is_written_it_is_found(tmp_path: Path, body: bytes) -> None:
    ruleset = load(tmp_path, rule({"requestObject.spec.hostNetwork": True}))
    assert names(fed(ruleset, Event(request_object=msgspec.Raw(body)))) == ["found"]


def test_a_key_that_json_escapes_is_found(tmp_path: Path) -> None:
    ruleset = load(tmp_path, rule({'requestObject.a"b': "x", "requestObject.c/d": "y"}))
    body = b'{"a\\"b": "x", "c\\/d": "y"}'
    assert names(fed(ruleset, Event(request_object=msgspec.Raw(body)))) == ["found"]
    assert names(fed(ruleset, Event(request_object=msgspec.Raw(body.replace(b"\\/", b"/"))))) == ["found"]


DEEP = ("[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000)
NUMBERS = ("1e400", "-1e-999", "9" * 400, "9" * 5000)


@pytest.mark.parametrize("hidden", ['"\\ud800"', '"\\udc00x"', '"\u0001"', *NUMBERS, *DEEP])
def test_what_the_api_server_takes_hides_nothing_in_a_body(tmp_path: Path, hidden: str) -> None:
    """A patch is recorded as it was sent: half surrogates, depth and numbers without end are no way out."""
    ruleset = load(tmp_path, rule({"requestObject.spec.hostNetwork": True}))
    body = f'{{"x": {hidden}, "spec": {{"hostNetwork": true}}}}'
    assert names(fed(ruleset, Event(request_object=msgspec.Raw(body.encode())))) == ["found"]
