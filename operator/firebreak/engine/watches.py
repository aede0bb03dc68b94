"""Watches of what Firebreak did, and for pods that join: one for each namespace and kind, whatever the incidents.

An event is a hint that wakes a job, and the job looks at the world. Where a watch may not be had, or breaks, the
resync does the same, more slowly.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial

from firebreak.api.base import Json
from firebreak.api.playbook import QUARANTINE, REVOKE
from firebreak.engine.informer import Source, follow
from firebreak.engine.metrics import Metrics
from firebreak.engine.work import Work
from firebreak.kube.client import Api
from firebreak.model.change import collection
from firebreak.service.supervise import supervise
from firebreak.steps.drift import ADDED, ANY, PODS, POLICIES, Followed, marks

PAUSE = 0.5  # seconds between two hints for one job: what changes all the time must not keep it running all the time
Stream = tuple[str, str | None]  # kind and namespace


class _Index:
    """Whom of a thousand incidents an object may concern, without asking each."""

    def __init__(self) -> None:
        self._marks: dict[str, AbstractSet[str]] = {}
        self._uids: dict[str, set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def put(self, uid: str, marked: AbstractSet[str]) -> None:
        """Know an incident by these marks, and no others."""
        if self._marks.get(uid) == marked:
            return
        self.drop(uid)
        self._marks[uid] = marked
        for mark in marked:
            self._uids.setdefault(mark, set()).add(uid)

    def drop(self, uid: str) -> None:
        """Know an incident no more."""
        for mark in self._marks.pop(uid, ()):
            self._uids[mark].discard(uid)
            if not self._uids[mark]:
                del self._uids[mark]

    def every(self) -> list[str]:
        """All incidents."""
        return list(self._marks)

    def meant(self, marked: AbstractSet[str] | None) -> AbstractSet[str]:
        """Those that are known by one of these marks or by `ANY`; all for None."""
        if marked is None:
            return set(self._marks)
        return set().union(*(self._uids.get(mark, ()) for mark in (*marked, ANY)))


class Watches:
    """The watches of all incidents in hand. `hint` is called with an incident's uid and the step to look at."""

    def __init__(self, api: Api, metrics: Metrics, hint: Callable[[str, str], None]) -> None:
        self._api = api
        self._failures = metrics.background_failures
        self._hint = hint
        self._followed: dict[str, Followed] = {}
        self._marked: dict[Stream, _Index] = {}
        self._streams: dict[str, frozenset[Stream]] = {}
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._later: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def keep(self, followed: Followed, *, leading: bool) -> None:
        """Watch from now on what concerns an incident, as it stands."""
        uid = followed.id.uid
        wanted = frozenset(followed.streams(leading=leading))
        self._leave(uid, wanted)
        self._followed[uid], self._streams[uid] = followed, wanted
        for stream in wanted:
            self._marked.setdefault(stream, _Index()).put(uid, followed.marks(stream[0]))
            if stream not in self._tasks:
                following = supervise(Work.WATCH, partial(self._follow, *stream), self._failures)
                self._tasks[stream] = asyncio.create_task(following, name=f"watch {stream}")

    def end(self, uid: str) -> None:
        """Follow an incident no more."""
        self._leave(uid, frozenset())
        self._followed.pop(uid, None)
        self._streams.pop(uid, None)
        for key in ((uid, QUARANTINE), (uid, REVOKE)):
            self._told.pop(key, None)
            if later := self._later.pop(key, None):
                later.cancel()

    def close(self) -> None:
        """End all watches."""
        for uid in list(self._followed):
            self.end(uid)

    def _leave(self, uid: str, wanted: frozenset[Stream]) -> None:
        for stream in self._streams.get(uid, frozenset()) - wanted:
            self._marked[stream].drop(uid)
            if not self._marked[stream]:
                del self._marked[stream]
                self._tasks.pop(stream).cancel()

    async def _follow(self, kind: str, namespace: str | None) -> None:
        stream, path, metadata_only = (kind, namespace), collection(kind, namespace), kind == PODS

        async def begin() -> str:
            found, version = await self._api.list_from(path, metadata_only=metadata_only)
            self._listed(stream, found)
            return version

        meanwhile = "what is undone is seen at the resync"
        await follow(self._api, Source(path, begin, partial(self._saw, stream), meanwhile, metadata_only=metadata_only))

    def _listed(self, stream: Stream, found: list[Json]) -> None:
        """A list stands for all that was missed."""
        uids, names = ({obj["metadata"][key] for obj in found} for key in ("uid", "name"))
        for obj in found:
            self._saw(stream, ADDED, obj)
        for uid in self._marked[stream].every():
            if self._followed[uid].lost(stream[0], uids, names):
                self._tell(uid, QUARANTINE)

    def _saw(self, stream: Stream, event: str, obj: Json) -> None:
        kind = stream[0]
        for uid in self._marked[stream].meant(marks(kind, event, obj)):
            if self._followed[uid].concerns(kind, event, obj):
                self._tell(uid, QUARANTINE if kind in {PODS, POLICIES} else REVOKE)

    def _tell(self, uid: str, job: str) -> None:
        """Give a hint, at once or as soon as the pause since the last one is over."""
        key, loop = (uid, job), asyncio.get_running_loop()
        if key in self._later:
            return
        wait = self._told.get(key, -PAUSE) + PAUSE - loop.time()
        if wait > 0:
            self._later[key] = loop.call_later(wait, self._tell_now, key)
        else:
            self._tell_now(key)

    def _tell_now(self, key: tuple[str, str]) -> None:
        self._later.pop(key, None)
        self._told[key] = asyncio.get_running_loop().time()
        self._hint(*key)
