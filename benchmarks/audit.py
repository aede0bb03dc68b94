"""Times as the API server stamped them: its audit log is the one clock that both sides share."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class AuditLog:
    """The audit log from this moment on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open(encoding="utf-8")
        self._file.seek(0, 2)
        self._rest = ""
        self._seen: list[Event] = []

    def find(self, wanted: Callable[[Event], bool]) -> Event | None:
        """Return the first completed request that is wanted, None when it is not there yet."""
        self._seen.extend(self._new())
        return next((event for event in self._seen if wanted(event)), None)

    def _new(self) -> Iterator[Event]:
        """Yield what was appended; a line that is half written waits for its other half."""
        text = self._rest + self._file.read()
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
