"""The Elastic Common Schema, as far as Firebreak speaks it, and the question whether a document is in it.

Names, types and which of them are arrays: ECS 8.17, elastic.co/guide/en/ecs/8.17/ecs-field-reference.html, and the
mappings of github.com/elastic/ecs (`generated/elasticsearch/composable/component`). Which `event.type` is expected with
which `event.category`: ecs-allowed-values-event-category.html, and -kind, -outcome beside it.
"""

import ipaddress
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

ARRAYS = {"event.category", "event.type", "tags", "threat.technique.id", "threat.technique.subtechnique.id"}
TYPES = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "event.action": "keyword",
    "event.category": "keyword",
    "event.id": "keyword",
    "event.kind": "keyword",
    "event.outcome": "keyword",
    "event.reason": "keyword",
    "event.severity": "long",
    "event.type": "keyword",
    "labels": "object",
    "message": "match_only_text",
    "orchestrator.cluster.name": "keyword",
    "orchestrator.namespace": "keyword",
    "orchestrator.resource.name": "keyword",
    "orchestrator.resource.type": "keyword",
    "orchestrator.type": "keyword",
    "rule.id": "keyword",
    "rule.name": "keyword",
    "rule.ruleset": "keyword",
    "source.ip": "ip",
    "tags": "keyword",
    "threat.framework": "keyword",
    "threat.technique.id": "keyword",
    "threat.technique.subtechnique.id": "keyword",
    "user.effective.name": "keyword",
    "user.name": "keyword",
}
REQUIRED = {"@timestamp", "ecs.version", "event.kind", "event.category", "event.type", "event.id", "message"}
KINDS = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
OUTCOMES = {"failure", "success", "unknown"}
EXPECTED = {
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
}
IGNORED_ABOVE = 1024  # characters of a keyword, in the mappings that Elastic generates


def fields(document: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a document with its value, `labels` as one."""
    for key, value in document.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and name != "labels":
            yield from fields(value, f"{name}.")
        else:
            yield name, value


def assert_ecs(document: dict[str, Any]) -> None:
    """Fail unless a document is ECS, and one line of JSON that no event may exceed."""
    found = dict(fields(document))
    assert found.keys() >= REQUIRED
    for name, value in found.items():
        assert name in TYPES, f"{name} is no field of ECS that is known here"
        assert isinstance(value, list) == (name in ARRAYS), name
        for each in value if isinstance(value, list) else [value]:
            assert _is(TYPES[name], each), f"{name} is no {TYPES[name]}: {each!r}"
    assert found["event.kind"] in KINDS
    assert found.get("event.outcome", "unknown") in OUTCOMES
    for category in found["event.category"]:
        assert set(found["event.type"]) <= EXPECTED[category]
    line = json.dumps(document, ensure_ascii=False).encode()
    assert len(line) < 60 * 2**10, "with the envelope around it a CloudEvent of more than 64 KiB may be refused"
    assert line.decode().isprintable()


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "date":
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        case "long":
            return isinstance(value, int)
        case "ip":
            return isinstance(value, str) and "%" not in value and bool(ipaddress.ip_address(value))
        case "object":
            return isinstance(value, dict) and all(_is_label(each) for each in value.values())
        case "keyword":
            return isinstance(value, str) and 0 < len(value) <= IGNORED_ABOVE
    return isinstance(value, str) and value != ""


def _is_label(value: Any) -> bool:
    return all(isinstance(each, str) for each in (value if isinstance(value, list) else [value]))
