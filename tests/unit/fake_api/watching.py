"""Watch streams: what happened since a version, as seen through a selector."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from .errors import too_old
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
    """One running watch; once it has an `ending` it shows the history up to `last` and then raises it."""

    request: WatchRequest
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    ending: Exception | None = None
    last: int | None = None


class Dropped(Exception):
    """The test dropped this watch; the connection is to be closed."""


class Watches:
    """All running watches of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: list[_Watcher] = []
        self._opened = asyncio.Condition()
        self._waiting: list[asyncio.Event] = []
        store.on_change = self._wake

    def __len__(self) -> int:
        return len(self._watchers)

    async def opened(self, plural: str) -> None:
        """Wait until a watch of this resource is running."""
        async with self._opened:
            await self._opened.wait_for(lambda: self._of(plural))

    async def changed_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what is stored; it is asked after each change."""
        woken = asyncio.Event()
        self._waiting.append(woken)
        try:
            while not holds():
                woken.clear()
                await woken.wait()
        finally:
            self._waiting.remove(woken)

    def drop(self, plural: str | None) -> None:
        """Close the connections of the running watches of one resource, or of all."""
        self._end(plural, Dropped())

    def expire(self, plural: str | None) -> None:
        """End running watches with 410, and refuse to start one from before now."""
        self._store.compact()
        self._end(plural, too_old(1, self._store.version))

    async def follow(self, request: WatchRequest) -> AsyncGenerator[Event, None]:
        """Events without end. Raises Dropped, and ApiError when the version is too old or expired."""
        position = len(self._store.history)
        existing: list[Event] = []
        if request.since in {"", "0"}:
            existing = self._existing(request)
        else:
            position = self._position_after(int(request.since))
        watcher = _Watcher(request)
        self._watchers.append(watcher)
        try:
            async with self._opened:
                self._opened.notify_all()
            for event in existing:
                yield event
            while True:
                watcher.woken.clear()
                for change in self._store.history[position : watcher.last]:
                    position += 1
                    if seen := _seen(change, request):
                        yield seen
                if watcher.ending:
                    raise watcher.ending
                await watcher.woken.wait()
        finally:
            self._watchers.remove(watcher)

    def _end(self, plural: str | None, ending: Exception) -> None:
        for watcher in self._of(plural):
            watcher.ending, watcher.last = ending, len(self._store.history)
        self._wake()

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
        for woken in (*(watcher.woken for watcher in self._watchers), *self._waiting):
            woken.set()


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
