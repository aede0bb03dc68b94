"""The API server's audit log as it grows, also into another file: what was asked, by whom, and the one clock of all.

A line that is half written is no line yet.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cluster.waiting import wait_until

Event = dict[str, Any]
REFUSED = 300  # HTTP: codes from here on


class AuditLog:
    """The audit log from this moment on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        there = path.stat()
        self._file, self._offset = there.st_ino, there.st_size
        self._rest = b""
        self._done: dict[tuple[str | None, ...], Event] = {}
        self._seen: list[tuple[str, Event]] = []

    def find(self, verb: str, resource: str, namespace: str, name: str) -> Event | None:
        """Return the first such request that succeeded, None when it is not there yet."""
        for event in self.new():
            about = event.get("objectRef") or {}
            if event["responseStatus"]["code"] < REFUSED and "subresource" not in about:
                key = (event["verb"], about.get("resource"), about.get("namespace"), about.get("name"))
                self._done.setdefault(key, event)
        return self._done.get((verb, resource, namespace, name))

    def seen(self, *words: str) -> Iterator[Event]:
        """Yield all requests so far whose line has these words: a namespace, a user, a name, an address."""
        self._seen += self._lines()
        return (event for line, event in self._seen if all(word in line for word in words))

    def new(self) -> Iterator[Event]:
        """Yield the answered requests since the last look. One that is refused for its token never completes."""
        return (event for _, event in self._lines())

    def lines(self) -> list[bytes]:
        """Return all that was written since the last look, of whatever stage."""
        *lines, self._rest = (self._rest + self._unread()).split(b"\n")
        return lines

    def _lines(self) -> Iterator[tuple[str, Event]]:
        for line in self.lines():
            try:
                event = json.loads(line)
            except ValueError:  # the API server was killed while it wrote
                continue
            if event.get("stage") == "ResponseComplete" or code(event) == HTTPStatus.UNAUTHORIZED:
                yield line.decode(), event

    def _unread(self) -> bytes:
        """What was added since, first to the file that was given another name meanwhile."""
        added, now = b"", self._path.stat().st_ino
        if now != self._file:
            for old in self._path.parent.iterdir():
                added += self._read(old) if old.stat().st_ino == self._file else b""
            self._file, self._offset = now, 0
        return added + self._read(self._path)

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        self._offset += len(added)
        return added


def until_now(log: AuditLog, caller: Callable[..., str]) -> list[bytes]:
    """Return all lines up to a call that is made now, with somebody's kubectl."""
    mark, lines = secrets.token_hex(8), log.lines()

    def marked() -> bool:
        lines.extend(log.lines())
        return any(mark.encode() in line for line in lines)

    caller("get", "--raw", f"/api?mark={mark}")
    wait_until(marked, timeout=20, otherwise="the last call is not in the audit log")
    return lines


def code(event: Event) -> int:
    """How the request was answered."""
    return int((event.get("responseStatus") or {}).get("code", 0))


def received(event: Event) -> datetime:
    """When the API server received the request."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"])


def answered(event: Event) -> datetime:
    """When it had answered."""
    return datetime.fromisoformat(event["stageTimestamp"])
