"""Times as the API server stamped them: its audit log is the one clock that both sides share."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]
REFUSED = 300  # HTTP: codes from here on


class AuditLog:
    """The audit log from this moment on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open(encoding="utf-8")
        self._file.seek(0, 2)
        self._rest = ""
        self._done: dict[tuple[str | None, ...], Event] = {}

    def find(self, verb: str, resource: str, namespace: str, name: str) -> Event | None:
        """Return the first such request that succeeded, None when it is not there yet."""
        for event in self.new():
            about = event.get("objectRef") or {}
            if event["responseStatus"]["code"] < REFUSED and "subresource" not in about:
                key = (event["verb"], about.get("resource"), about.get("namespace"), about.get("name"))
                self._done.setdefault(key, event)
        return self._done.get((verb, resource, namespace, name))

    def new(self) -> Iterator[Event]:
        """Yield the completed requests since the last look; a line that is half written waits for its other half."""
        text = self._rest + self._file.read()
        if self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:  # the API server began another file
            text += self._file.read()
            self._file.close()
            self._file = self._path.open(encoding="utf-8")
            text += self._file.read()
        *lines, self._rest = text.split("\n")
        for line in lines:
            event = json.loads(line)
            if event.get("stage") == "ResponseComplete":
                yield event


def received(event: Event) -> datetime:
    """When the API server received the request."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"])


def answered(event: Event) -> datetime:
    """When it had answered."""
    return datetime.fromisoformat(event["stageTimestamp"])
