"""The reader of the audit log, without a cluster: another file, half a line, and what never completes."""

import json
from pathlib import Path

from audited import AuditLog


def line(name: str, stage: str = "ResponseComplete", code: int = 200) -> str:
    """A line of the log."""
    event = {"stage": stage, "verb": "get", "objectRef": {"name": name}, "responseStatus": {"code": code}}
    return json.dumps(event) + "\n"


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def names(log: AuditLog, *words: str) -> list[str]:
    return [event["objectRef"]["name"] for event in log.seen(*words)]


def test_what_was_there_before_is_not_read_and_what_the_api_server_writes_to_another_file_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(line("before"))
    log = AuditLog(path)
    add(path, line("first"))
    assert names(log) == ["first"]
    add(path, line("second"))
    path.rename(tmp_path / "audit-2026-11-21T14-31-59.000.log")
    path.write_text(line("third"))
    assert names(log) == ["first", "second", "third"]
    assert names(log, "second") == ["second"]


def test_half_a_line_waits_for_its_other_half_and_one_that_was_left_unfinished_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("")
    log = AuditLog(path)
    half = len(line("slow")) // 2
    add(path, line("slow")[:half])
    assert names(log) == []
    add(path, line("slow")[half:] + line("killed")[:half] + line("lost") + line("next"))
    assert names(log) == ["slow", "next"]


def test_a_request_counts_once_and_one_that_is_refused_for_its_token_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("")
    log = AuditLog(path)
    path.write_text(line("a", "ResponseStarted") + line("a") + line("b", "ResponseStarted", 401))
    assert names(log) == ["a", "b"]
