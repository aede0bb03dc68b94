"""Whatever comes in, an adapter returns alerts and refusals, and an alert opens an Incident that the CRD takes."""

import copy
import json
import re
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from alert_samples import ALERTS, NOW, document, raw
from firebreak.api.incident import IncidentSpec
from firebreak.cli.explaining import format_of
from firebreak.detect.event import Event
from firebreak.detect.finding import Aim, Finding, Level
from firebreak.intake import findings
from firebreak.intake.alert import Alert
from firebreak.intake.formats import FORMATS
from firebreak.intake.formats.parsed import Parsed
from firebreak.intake.opening import incident
from firebreak.intake.routes import Routes
from hostile import hostile

CRD = yaml.safe_load((Path(__file__).parents[2] / "crds" / "incidents.yaml").read_text())
SPEC = Draft202012Validator(
    CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] | {"additionalProperties": False}
)
SAMPLES = [document(file.name) for file in sorted(ALERTS.glob("*.json"))]
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HEX = re.compile(r"[-0-9a-f]*")

nasty = st.sampled_from([
    "", "host", "<NA>", "../../etc/passwd", "\x1b[2J", "\u202egpj.exe", "a" * 300, "x" * 5000, "web\n", "Web", "-",
    "k8s_pod_name=a k8s_pod_name=b", "$(reboot)", "<script>", "@everyone", "{{ .Values }}", "\x00", "0" * 13, "a.b",
    "system:serviceaccount:shop:web", "system:serviceaccount:shop:", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00Z",
])  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | nasty
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | nasty, inner, max_size=4),
    max_leaves=8,
)
headers = st.dictionaries(st.sampled_from(["ce-type", "Ce-Type", "Content-Type"]), st.text() | nasty, max_size=2)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A real alert in which something, somewhere, is something else, not there, or there as well."""
    root = [copy.deepcopy(draw(st.sampled_from(SAMPLES)))]
    for _ in range(draw(st.integers(1, 4))):
        node: Any = root
        while isinstance(node, (dict, list)) and node:
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            inner = node[key]
            if not isinstance(inner, (dict, list)) or not inner or draw(st.integers(0, 3)) == 0:
                if draw(st.booleans()) and node is not root:
                    node.pop(key)
                else:
                    node[key] = draw(values)
                break
            node = inner
    return root[0]


bodies = (
    st.binary(max_size=2000)
    | values.map(lambda value: json.dumps(value).encode())
    | mutated().map(lambda value: json.dumps(value).encode())
    | mutated().map(lambda value: json.dumps([value, value]).encode())
    | st.builds(
        lambda a, b: raw("falco.txt")[:a] + b + raw("falco.txt")[a:], st.integers(0, 900), st.binary(max_size=40)
    )
    | st.text(alphabet="0123:. ErrorWarning()|=k8s_pod_namei<NA>\n", max_size=300).map(str.encode)
)


def texts(value: Any) -> list[str]:
    """All texts in an alert."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for text in texts(list(pair))]
    return [text for each in value for text in texts(each)] if isinstance(value, (list, tuple)) else []


def opens_what_the_crd_takes(alert: Alert) -> None:
    """Names are valid, texts bounded and of one printable line, and the Incident is accepted."""
    for text in texts(list(astuple(alert))):
        assert len(text) <= 1100
    for text in (alert.rule, alert.summary, *alert.notes, *texts(dict(alert.fields)), *texts(dict(alert.origin))):
        assert text.isprintable()
    assert alert.time.tzinfo
    subject = alert.subject
    assert not subject.namespace or NAMESPACE.fullmatch(subject.namespace)
    for name in (subject.pod, subject.service_account, subject.node):
        assert not name or (NAME.fullmatch(name) and len(name) <= 253)
    assert HEX.fullmatch(subject.pod_uid + subject.container_id)
    assert len(subject.pod_uid) <= 64 >= len(subject.container_id)
    opening = incident(alert, Routes().decide(alert))
    SPEC.validate(opening.body["spec"])
    assert IncidentSpec.model_validate(opening.body["spec"]).source == alert.source
    assert re.fullmatch(rf"{alert.source}-[0-9a-f]{{20}}", opening.name)
    assert NAMESPACE.fullmatch(opening.namespace)
    (annotation,) = opening.body["metadata"]["annotations"].values()
    assert len(annotation) <= 1024
    assert json.loads(annotation)["route"]
    Routes().stale(alert, NOW)


@pytest.mark.parametrize("name", FORMATS)
@hostile
@given(body=bodies, sent=headers)
def test_an_adapter_returns_alerts_and_refusals_and_nothing_else(name: str, body: bytes, sent: dict[str, str]) -> None:
    result = FORMATS[name](body, sent, NOW)
    assert isinstance(result, Parsed)
    assert result.alerts or result.refusals or result.passed
    for each in (*result.refusals, *result.passed):
        assert len(str(each)) < 2000
        assert str(each).isprintable()
        assert each.next
    for alert in result.alerts:
        opens_what_the_crd_takes(alert)
    assert format_of(body) in {*FORMATS, "audit"}


user = st.builds(
    lambda name, extra: {"username": name, "extra": extra},
    nasty | st.text(max_size=30),
    st.none()
    | st.dictionaries(
        st.sampled_from([f"authentication.kubernetes.io/{key}" for key in ("pod-name", "pod-uid", "node-name")]),
        st.lists(nasty | st.text(max_size=30), max_size=2),
    ),
)
words = nasty | st.text(max_size=50)
reference = st.none() | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("resource", "namespace", "name", "uid", "subresource"), words)
    | {"resource": st.just("pods")},
)
events = st.builds(
    lambda given_, answer: msgspec.structs.replace(msgspec.convert(given_, Event), response_object=msgspec.Raw(answer)),
    st.fixed_dictionaries(
        {"user": user, "objectRef": reference, "verb": words, "auditID": words},
        optional={"impersonatedUser": user, "sourceIPs": st.lists(words, max_size=4)},
    ),
    st.binary(max_size=40),
)


@hostile
@given(
    events=st.lists(events, min_size=1, max_size=4),
    rule=words, title=words, level=st.sampled_from(Level), aim=st.sampled_from(Aim),
    tags=st.lists(words, max_size=3), group=st.lists(st.tuples(words, words), max_size=2),
)  # fmt: skip
def test_a_finding_of_any_events_is_an_alert(
    events: list[Event], rule: str, title: str, level: Level, aim: Aim, tags: list[str], group: list[tuple[str, str]]
) -> None:
    found = Finding(rule, title, level, aim, tuple(tags), datetime(2026, 1, 5, tzinfo=UTC), tuple(events), tuple(group))
    opens_what_the_crd_takes(findings.alert(found))
