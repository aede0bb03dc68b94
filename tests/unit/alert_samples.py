"""Alerts as their senders write them (fixtures/alerts), and parsing them at a moment of the test's choice."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from firebreak.intake.alert import Alert
from firebreak.intake.formats.parsed import Parsed

ALERTS = Path(__file__).parent / "fixtures" / "alerts"
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def raw(name: str) -> bytes:
    return (ALERTS / name).read_bytes()


def document(name: str) -> Any:
    return json.loads(raw(name))


def parsed(format_: ModuleType, body: Any, headers: dict[str, str] | None = None, now: datetime = NOW) -> Parsed:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = format_.parse(data, headers or {}, now)
    assert isinstance(result, Parsed)
    return result


def only(result: Parsed) -> Alert:
    assert result.refusals == ()
    (alert,) = result.alerts
    return alert


def refusal(result: Parsed) -> str:
    assert result.alerts == ()
    (one,) = result.refusals
    return str(one)
