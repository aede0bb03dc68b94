"""Rules and audit events, as tests of detection write them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event
from firebreak.detect.finding import Finding
from firebreak.detect.rules import Allowance, Ruleset

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
SOURCE = {"product": "kubernetes", "service": "audit"}

Json = dict[str, Any]


def rule(detection: Any, name: str = "found", **more: Any) -> Json:
    """A rule of one document; a detection without condition is one selection."""
    if not isinstance(detection, Mapping) or "condition" not in detection:
        detection = {"selection": detection, "condition": "selection"}
    return {"title": name, "name": name, "level": "high", "logsource": SOURCE, "detection": detection, **more}


def correlation(kind: str, rules: list[str], condition: Any, name: str = "together", **more: Any) -> Json:
    """A correlation by user, within a minute."""
    body = {"type": kind, "rules": rules, "group-by": ["user.username"], "timespan": "1m", "condition": condition}
    return {"title": name, "name": name, "level": "critical", "correlation": {**body, **more}}


def load(folder: Path, *documents: Json, allowed: tuple[Allowance, ...] = ()) -> Ruleset:
    """Load rules from a file."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return Ruleset.load([file], allowed)


def event(seconds: float = 0, **fields: Any) -> Event:
    """An event some seconds after START."""
    stamp = (START + timedelta(seconds=seconds)).isoformat()
    return msgspec.json.decode(msgspec.json.encode({"stageTimestamp": stamp, **fields}), type=Event)


def fed(ruleset: Ruleset | Detector, *events: Event) -> list[Finding]:
    """What a detector finds in events that come one after the other."""
    detector = ruleset if isinstance(ruleset, Detector) else Detector(ruleset)
    return [finding for each in events for finding in detector.feed(each, START + timedelta(days=1))]


def names(findings: list[Finding]) -> list[str]:
    """The rules that fired."""
    return [finding.rule for finding in findings]
