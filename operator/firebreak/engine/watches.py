"""Watches of what Firebreak did, and for pods that join: one for each namespace and kind, whatever the incidents.

An event is a hint that wakes a job, and the job looks at the world. Where a watch may not be had, or breaks, the
resync does the same, more slowly.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from firebreak.api.base import Json
from firebreak.api.playbook import QUARANTINE, REVOKE
from firebreak.engine.informer import Source, follow
from firebreak.engine.metrics import Metrics
from firebreak.engine.supervise import Work, supervise
from firebreak.kube.client import Api
from firebreak.model.change import collection
from firebreak.steps.drift import ADDED, PODS, POLICIES, Followed

PAUSE = 0.5  # seconds between two hints for one job: what changes all the time must not keep it running all the time
Stream = tuple[str, str | None]  # kind and namespace


class Watches:
    """The watches of all incidents in hand. `hint` is called with an incident's uid and the step to look at."""

    def __init__(self, api: Api, metrics: Metrics, hint: Callable[[str, str], None]) -> None:
        self._api = api
        self._failures = metrics.background_failures
        self._hint = hint
        self._followed: dict[str, Followed] = {}
        self._wanted: dict[Stream, set[str]] = {}
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._later: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def keep(self, followed: Followed, *, leading: bool) -> None:
        """Watch from now on what concerns an incident, as it stands."""
        uid = followed.id.uid
        self._followed[uid] = followed
        wanted = set(followed.streams(leading=leading))
        for stream in wanted:
            self._wanted.setdefault(stream, set()).add(uid)
            if stream not in self._tasks:
                following = supervise(Work.WATCH, partial(self._follow, *stream), self._failures)
                self._tasks[stream] = asyncio.create_task(following, name=f"watch {stream}")
        self._leave(uid, [stream for stream, uids in self._wanted.items() if uid in uids and stream not in wanted])

    def end(self, uid: str) -> None:
        """Follow an incident no more."""
        self._followed.pop(uid, None)
        self._leave(uid, [stream for stream, uids in self._wanted.items() if uid in uids])
        for key in [key for key in self._later if key[0] == uid]:
            self._later.pop(key).cancel()
        self._told = {key: at for key, at in self._told.items() if key[0] != uid}

    def close(self) -> None:
        """End all watches."""
        for uid in list(self._followed):
            self.end(uid)

    def _leave(self, uid: str, streams: list[Stream]) -> None:
        for stream in streams:
            self._wanted[stream].discard(uid)
            if not self._wanted[stream]:
                del self._wanted[stream]
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
        there = {obj["metadata"]["uid"]: obj["metadata"]["name"] for obj in found}
        for obj in found:
            self._saw(stream, ADDED, obj)
        for followed in self._following(stream):
            if followed.lost(stream[0], there):
                self._tell(followed.id.uid, QUARANTINE)

    def _saw(self, stream: Stream, event: str, obj: Json) -> None:
        for followed in self._following(stream):
            if followed.concerns(stream[0], event, obj):
                self._tell(followed.id.uid, QUARANTINE if stream[0] in {PODS, POLICIES} else REVOKE)

    def _following(self, stream: Stream) -> list[Followed]:
        return [self._followed[uid] for uid in self._wanted.get(stream, ())]

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
