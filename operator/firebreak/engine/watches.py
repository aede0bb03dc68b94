"""Watches of what Firebreak did, and for pods that join: one for each namespace and kind, whatever the incidents.

An event is a hint that wakes a job, and the job looks at the world. Where a watch may not be had, or breaks, the
resync does the same, more slowly.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from firebreak.api.base import Json
from firebreak.api.playbook import QUARANTINE, REVOKE
from firebreak.engine.metrics import Metrics
from firebreak.engine.work import Work
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Forbidden, Gone, TooLarge
from firebreak.model.change import collection
from firebreak.service.supervise import supervise
from firebreak.steps.drift import ADDED, PODS, POLICIES, Followed

log = structlog.get_logger()

RECONNECT, DENIED = 1.0, 60.0  # seconds until a watch is tried again
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
        self._said: set[str] = set()

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
        """List, then watch from there; after a break from where it broke, and from a list when that is too old."""
        structlog.contextvars.bind_contextvars(watched=kind, namespace=namespace)  # of this watch's task alone
        path, version, metadata_only = collection(kind, namespace), "", kind == PODS
        while True:
            pause = RECONNECT
            try:
                if not version:
                    found, version = await self._api.list_from(path, metadata_only=metadata_only)
                    self._listed((kind, namespace), found)
                async for event in self._api.watch(path, version, metadata_only=metadata_only):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._saw((kind, namespace), event["type"], event["object"])
            except Gone:
                version = ""
            except (Forbidden, TooLarge) as error:
                version, pause = "", DENIED
                self._say(kind, f"{kind} cannot be watched; what is undone is seen at the resync only", error)
            except ApiError as error:
                self._say(kind, f"a watch of {kind} broke; it is tried again, and the resync goes on", error)
            await asyncio.sleep(pause)

    def _say(self, kind: str, words: str, error: ApiError) -> None:
        if kind not in self._said:
            self._said.add(kind)
            log.warning(words, error=str(error))

    def _listed(self, stream: Stream, found: list[Json]) -> None:
        """A list stands for all that was missed."""
        there = {obj["metadata"]["uid"]: obj["metadata"]["name"] for obj in found}
        for obj in found:
            self._saw(stream, ADDED, obj)
        for followed in self._following(stream):
            if followed.lost(stream[0], there):
                self._tell(followed.id.uid, QUARANTINE)

    def _saw(self, stream: Stream, event: str, obj: Json) -> None:
        if event == "BOOKMARK":
            return
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
