"""Watch streams: what happened since a version, as seen through a selector."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from .errors import ApiError, too_old
from .resources import Obj, Resource
from .selectors import Matches
from .store import Change, Store, in_scope

Event = tuple[str, Obj]  # type (ADDED, MODIFIED, DELETED, BOOKMARK, ERROR) and object


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """What a watch asks for. An empty `since` (or "0") means: begin with what exists."""

    resource: Resource
    namespace: str | None
    matches: Matches
    since: str
    initial_events_end: bool  # sendInitialEvents: a bookmark says when the existing objects are through


@dataclass
class _Watcher:
    request: WatchRequest
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: ApiError | None = None  # ends the stream with an ERROR event
    dropped: bool = False  # ends the stream by closing the connection


class Dropped(Exception):
    """The test dropped this watch; the connection is to be closed."""


class Watches:
    """All running watches of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: list[_Watcher] = []
        store.on_change = self._wake

    def __len__(self) -> int:
        return len(self._watchers)

    def drop(self, plural: str | None) -> None:
        """Close the connections of the running watches of one resource, or of all."""
        for watcher in self._of(plural):
            watcher.dropped = True
        self._wake()

    def expire(self, plural: str | None) -> None:
        """End running watches with 410, and refuse to start one from before now."""
        self._store.compact()
        for watcher in self._of(plural):
            watcher.verdict = too_old(1, self._store.version)
        self._wake()

    async def follow(self, request: WatchRequest) -> AsyncGenerator[Event, None]:
        """Events without end. Raises Dropped, and ApiError when the version is too old or expired."""
        watcher = _Watcher(request)
        self._watchers.append(watcher)
        try:
            position = len(self._store.history)
            if request.since in {"", "0"}:
                for event in self._existing(request):
                    yield event
            else:
                position = self._position_after(int(request.since))
            while True:
                for change in self._store.history[position:]:
                    position += 1
                    if seen := _seen(change, request):
                        yield seen
                if watcher.dropped:
                    raise Dropped
                if watcher.verdict:
                    raise watcher.verdict
                watcher.woken.clear()
                if position == len(self._store.history):
                    await watcher.woken.wait()
        finally:
            self._watchers.remove(watcher)

    def _existing(self, request: WatchRequest) -> list[Event]:
        objs = self._store.list(request.resource, request.namespace, request.matches)
        events: list[Event] = [("ADDED", obj) for obj in objs]
        if request.initial_events_end:
            metadata = {
                "resourceVersion": str(self._store.version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            resource = request.resource
            bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
            events.append(("BOOKMARK", bookmark))
        return events

    def _position_after(self, since: int) -> int:
        if since < self._store.oldest:
            raise too_old(since, self._store.oldest)
        history = self._store.history
        return next((i for i, change in enumerate(history) if change.version > since), len(history))

    def _of(self, plural: str | None) -> list[_Watcher]:
        return [watcher for watcher in self._watchers if plural in {None, watcher.request.resource.plural}]

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.woken.set()


def _seen(change: Change, request: WatchRequest) -> Event | None:
    """A change through a selector: what begins to match is ADDED, what ceases to match is DELETED."""
    if not in_scope(change.key, request.resource, request.namespace):
        return None
    before = change.previous is not None and request.matches(change.previous)
    after = change.type != "DELETED" and request.matches(change.obj)
    if after:
        return ("MODIFIED" if before else "ADDED"), change.obj
    if not before or change.previous is None:
        return None
    metadata = {**change.previous["metadata"], "resourceVersion": change.obj["metadata"]["resourceVersion"]}
    return "DELETED", {**change.previous, "metadata": metadata}
