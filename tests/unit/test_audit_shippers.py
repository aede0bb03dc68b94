"""Configurations of Vector and Fluent Bit: what they name is there, nothing is cut, the intake reads what they send.

Neither program runs in these tests; the programs in Vector's remap language were tried with VRL 0.38.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from firebreak.detect.event import Event
from firebreak.detect.reading import sent
from firebreak.intake.settings import IntakeSettings

AUDITING = Path(__file__).parents[2] / "manifests" / "audit"
VECTOR, FLUENT_BIT = AUDITING / "vector", AUDITING / "fluent-bit"
LONGEST = 24 * 2**20  # bytes of an event that a caller can make: tests/e2e/test_audit_setup.py
EVENT = {"auditID": "1", "verb": "delete", "objectRef": {"resource": "secrets", "namespace": "shop", "name": "db"}}
LINE = json.dumps(EVENT)
Json = dict[str, Any]


def files(folder: Path, pattern: str) -> list[Any]:
    """Test parameters: the files of a folder."""
    return [pytest.param(each, id=each.name) for each in sorted(folder.glob(pattern))]


def read(file: Path) -> Json:
    """A YAML file that is a map."""
    document: Json = yaml.safe_load(file.read_text())
    return document


@pytest.mark.parametrize("source", files(VECTOR, "from-*.yaml"))
@pytest.mark.parametrize("sink", files(VECTOR, "to-*.yaml"))
def test_a_source_and_a_destination_of_vector_fit_together(source: Path, sink: Path) -> None:
    parts = [read(source), read(sink)]
    ids = [name for part in parts for kind in ("sources", "transforms", "sinks") for name in part.get(kind, {})]
    assert len(set(ids)) == len(ids)
    takers = [each for part in parts for kind in ("transforms", "sinks") for each in part.get(kind, {}).values()]
    assert {name for each in takers for name in each["inputs"]} <= set(ids)
    text = source.read_text() + sink.read_text()
    backends = {name for part in parts for name in part.get("secret", {})}
    assert set(re.findall(r"SECRET\[(\w+)\.\w+\]", text)) == backends


@pytest.mark.parametrize("sink", files(VECTOR, "to-*.yaml"))
def test_vector_goes_on_in_the_log_only_when_its_destination_has_the_events(sink: Path) -> None:
    assert [each["acknowledgements"] for each in read(sink)["sinks"].values()] == [{"enabled": True}]


def test_no_line_is_too_long_for_a_shipper() -> None:
    assert read(VECTOR / "from-file.yaml")["sources"]["audit"]["max_line_bytes"] > LONGEST
    for name in ("from-file.yaml", "to-elasticsearch.yaml"):
        (tail,) = read(FLUENT_BIT / name)["pipeline"]["inputs"]
        assert tail["buffer_max_size"] == "32M"
        assert tail["skip_long_lines"] is True  # else the first longer one ends the reading


def test_every_output_of_fluent_bit_has_a_source_and_goes_over_verified_tls() -> None:
    parts = [read(file)["pipeline"] for file in sorted(FLUENT_BIT.glob("*.yaml"))]
    tags = {each["tag"] for part in parts for each in part.get("inputs", ())}
    outputs = [each for part in parts for each in part.get("outputs", ())]
    assert {each["name"] for each in outputs} == {"es", "http", "s3", "splunk"}
    assert {each["match"] for each in outputs} <= tags
    over_tls = [each for each in outputs if each["name"] != "s3"]  # which takes https by itself
    assert all(each["tls"] and each["tls.verify"] and each["tls.verify_hostname"] for each in over_tls)


def test_what_goes_to_the_intake_is_text_that_it_reads_within_its_limits() -> None:
    sink = read(VECTOR / "to-intake.yaml")["sinks"]["intake"]
    assert (sink["compression"], sink["encoding"], sink["framing"]) == (
        "none", {"codec": "text"}, {"method": "newline_delimited"},
    )  # fmt: skip
    assert sink["batch"]["max_bytes"] < IntakeSettings().audit_bytes
    (output,) = read(FLUENT_BIT / "to-intake.yaml")["pipeline"]["outputs"]
    assert (output["format"], output["json_date_key"]) == ("json_lines", False)
    assert "compress" not in output


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{LINE}\n{LINE}", id="Vector, lines as they came"),
        pytest.param(f"{json.dumps({'log': LINE})}\n{json.dumps({'log': LINE})}\n", id="Fluent Bit, json_lines"),
        pytest.param(json.dumps({"records": [{"category": "kube-audit", "properties": {"log": LINE}}] * 2}), id="AKS"),
        pytest.param(json.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"message": LINE}] * 2}), id="EKS"),
    ],
)
def test_the_intake_reads_what_a_shipper_sends(body: str) -> None:
    found = list(sent(body.encode()))
    assert [(each.verb, each.object_ref and each.object_ref.name) for each in found if isinstance(each, Event)] == [
        ("delete", "db"),
        ("delete", "db"),
    ]
    assert len(found) == 2


def test_no_depth_of_a_body_and_no_number_of_keys_keeps_an_event_out_of_elasticsearch() -> None:
    mappings = json.loads((AUDITING / "elasticsearch" / "index-template.json").read_text())["template"]["mappings"]
    assert mappings["dynamic"] is False
    assert [mappings["properties"][body] for body in ("requestObject", "responseObject")] == [
        {"type": "object", "enabled": False},
    ] * 2  # fmt: skip


def test_the_archive_locks_what_it_gets_before_anybody_can_delete_it() -> None:
    document = read(AUDITING / "aws" / "archive-bucket.yaml")
    bucket = document["Resources"]["Bucket"]["Properties"]
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {
        "Mode": "COMPLIANCE",
        "Days": {"Ref": "Days"},
    }
    (archive,) = read(VECTOR / "to-s3.yaml")["sinks"].values()
    (upload,) = read(FLUENT_BIT / "to-s3.yaml")["pipeline"]["outputs"]
    assert archive["bucket"] == upload["bucket"] == document["Parameters"]["BucketName"]["Default"]
    assert upload["send_content_md5"] is True  # S3 refuses an upload to such a bucket without
