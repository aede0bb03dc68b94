"""The face of the fake API server: what a test seeds, reads, breaks and asserts on."""

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from . import routes, views
from .access import Authorize, allow_everything, rbac
from .containers import Containers
from .errors import ApiError, too_large
from .faults import Answer, Close, Crash, Fault, Faults, Meanwhile, Silence, When, always
from .fences import FENCES, refuse
from .journal import Call, Journal
from .resources import Obj, by_kind
from .rules import Update, merge_patch
from .server import TRUE, Server, respond
from .store import Change, Store
from .watching import Dropped, Watches

STREAMS = frozenset({"pods/exec", "pods/log"})
LARGEST_REQUEST = 3 * 1024 * 1024  # bytes; the real server's limit


class FakeApi:
    """A running fake. Seeding and changing through it is "somebody else": not journalled, seen by watches.

    url: where a client connects to.
    faults: see faults.py. containers: logs and exec, see containers.py. fences: the names of the admission policies
    in force, see fences.py.
    """

    def __init__(self) -> None:
        self.url = ""
        self.faults = Faults()
        self.fences = FENCES
        self.containers = Containers()
        self._store = Store()
        self._journal = Journal()
        self._watches = Watches(self._store)
        reviews = {"SubjectAccessReview": rbac(self._store), "SelfSubjectAccessReview": allow_everything}
        self._server = Server(self._store, self._watches, self._journal, self.containers, reviews)

    # What was asked of it

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every request, in the order in which they began."""
        return self._journal.calls

    @property
    def writes(self) -> tuple[Call, ...]:
        """Those of `calls` that are meant to change something."""
        return tuple(call for call in self.calls if call.is_write)

    @property
    def open_watches(self) -> int:
        return len(self._watches)

    async def called(self, when: When, times: int = 1) -> list[Call]:
        """Wait until so many such calls have begun; bound it with asyncio.timeout."""
        return await self._journal.wait_for(when, times)

    async def watched(self, plural: str) -> None:
        """Wait until somebody watches this resource; bound it with asyncio.timeout."""
        await self._watches.opened(plural)

    # The world

    def put(self, obj: Obj) -> Obj:
        """Create or replace an object with its status, and its namespace if need be; returns it as stored.

        A given uid, creationTimestamp, generation or deletionTimestamp is kept. Another uid than the one that is
        there means another object: the old one is removed first.
        """
        resource = by_kind(obj["kind"], obj["apiVersion"])
        new = views.to_stored(resource, copy.deepcopy(obj))
        metadata = new["metadata"]
        namespace = metadata.setdefault("namespace", "default") if resource.namespaced else ""
        if namespace:
            self._store.ensure_namespace(namespace)
        metadata.pop("resourceVersion", None)
        old = self.find(obj["kind"], namespace, metadata["name"], obj["apiVersion"])
        if old and metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            self._store.remove(resource, namespace, metadata["name"])
            old = None
        if old is None:
            return copy.deepcopy(self._store.create(resource, namespace, new, seed=True))
        return self._change(obj["kind"], namespace, metadata["name"], lambda old: _replaced(old, new))

    def get(self, kind: str, namespace: str, name: str, api_version: str | None = None) -> Obj:
        """A copy of the object; namespace "" for cluster-scoped kinds. Raises ApiError NotFound."""
        return copy.deepcopy(self._store.read(by_kind(kind, api_version), namespace, name))

    def find(self, kind: str, namespace: str, name: str, api_version: str | None = None) -> Obj | None:
        """As `get`, with None for an object that is not there."""
        try:
            return self.get(kind, namespace, name, api_version)
        except ApiError:
            return None

    def list(self, kind: str, namespace: str | None = None) -> list[Obj]:
        """Copies of all objects of a kind, sorted by namespace and name."""
        return copy.deepcopy(self._store.list(by_kind(kind), namespace, lambda _: True))

    def history(self, kind: str) -> tuple[Change, ...]:
        """Every change to objects of a kind, in order."""
        stored = by_kind(kind).stored
        return tuple(change for change in self._store.history if change.key[0] == stored)

    def settle(self) -> None:
        """Let what is there be there for long: no stale read shows a time before now."""
        self._store.long_ago = self._store.version

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the objects; bound it with asyncio.timeout."""
        await self._watches.changed_until(holds)

    def update(self, kind: str, namespace: str, name: str, patch: Obj) -> Obj:
        """Merge a patch into an object, status included. Raises ApiError NotFound."""
        return self._change(kind, namespace, name, lambda old: merge_patch(old, copy.deepcopy(patch)))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object at once, whatever finalizers or `hold_deletions` say. Raises ApiError NotFound."""
        self._store.remove(by_kind(kind), namespace, name)

    def _change(self, kind: str, namespace: str, name: str, change: Callable[[Obj], Obj]) -> Obj:
        update = Update(by_kind(kind), namespace, name, change, everything=True)
        return copy.deepcopy(self._store.update(update))

    # How it behaves

    @property
    def hold_deletions(self) -> bool:
        """While True, deleted pods and namespaces stay with a deletionTimestamp until `delete` removes them."""
        return self._store.hold_deletions

    @hold_deletions.setter
    def hold_deletions(self, held: bool) -> None:
        self._store.hold_deletions = held

    def authorize(self, kind: str, answer: Authorize) -> None:
        """Answer a kind of review (SubjectAccessReview, SelfSubjectAccessReview) with (allowed, reason)."""
        self._server.authorize[kind] = answer

    def drop_watches(self, plural: str | None = None) -> None:
        """Close the connections of the running watches of one resource, or of all."""
        self._watches.drop(plural)

    def expire_watches(self, plural: str | None = None) -> None:
        """End running watches with 410 Gone, and answer 410 to one that starts from before now."""
        self._watches.expire(plural)

    def crash_after(
        self, n: int, callback: Callable[[Call], None], *, effect: bool = True, counting: When = always
    ) -> None:
        """At the n-th call from now (of those that count) call back and close the connection.

        With `effect` the server has acted by then, without it the call was in vain.
        """
        crash = Crash(callback, after_effect=effect)
        self.faults.add(Fault(when=counting, how=crash, times=1, skip=n - 1))

    # Requests

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Journal a request, meet its faults, carry it out."""
        call = await self._begin(request)
        try:
            response = await self._answer(call, request)
            if response is None:
                _close(request)
                return web.Response()
            self._journal.answered(call, response.status)
            return response
        finally:
            self._journal.end(call)

    async def _begin(self, request: web.Request) -> Call:
        target = routes.find_target(request.path)
        watch = request.query.get("watch") in TRUE
        return await self._journal.begin(
            await request.read(),
            verb=routes.verb_of(request.method, target, watch=watch),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            content_type=request.content_type if "Content-Type" in request.headers else "",
            accept=request.headers.get("Accept", ""),
            resource=target.qualified if target else request.path.rpartition("/")[2],
            namespace=(target and target.namespace) or "",
            name=target.name if target else "",
            user=request.headers.get("Impersonate-User", ""),
        )

    async def _answer(self, call: Call, request: web.Request) -> web.StreamResponse | None:
        """The answer, or None when the connection is to be closed instead."""
        how = await self.faults.meet(call)
        if isinstance(how, Meanwhile):
            how.happens()
        if isinstance(how, Silence) and (call.verb == "watch" or call.resource in STREAMS):
            await _for_ever()
        if request.content_length is not None and request.content_length > LARGEST_REQUEST:
            error = too_large(LARGEST_REQUEST)
            return respond(error.body, error.code)
        response: web.StreamResponse | None = None
        if not isinstance(how, Answer | Close | Crash) or how.after_effect:
            try:
                refuse(call, self.fences)
                response = await self._server.act(call, request, how)
            except ApiError as error:
                response = respond(error.body, error.code)
            except Dropped:
                return None
        if isinstance(how, Crash):
            how.callback(call)
        if isinstance(how, Silence):
            await _for_ever()
        if isinstance(how, Answer):
            return _fault_answer(how)
        return None if isinstance(how, Close | Crash) else response


def _replaced(old: Obj, new: Obj) -> Obj:
    kept = {name: old["metadata"][name] for name in ("uid", "resourceVersion")}
    return {**new, "metadata": {**new["metadata"], **kept}}


def _fault_answer(how: Answer) -> web.Response:
    reasons = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
    reasons |= {401: "Unauthorized", 403: "Forbidden", 503: "ServiceUnavailable", 504: "Timeout"}
    body = ApiError(how.status, reasons.get(how.status, "Unknown"), how.message).body
    headers = {} if how.retry_after is None else {"Retry-After": str(how.retry_after)}
    return web.Response(
        status=how.status, body=json.dumps(body).encode(), content_type="application/json", headers=headers
    )


async def _for_ever() -> None:
    """Until the caller hangs up, which cancels."""
    await asyncio.Event().wait()


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@contextlib.asynccontextmanager
async def running_fake() -> AsyncIterator[FakeApi]:
    """A fake on a free port of the loopback interface, for as long as the block runs."""
    fake = FakeApi()
    app = web.Application(client_max_size=2 * LARGEST_REQUEST)  # so that the answer is ours
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}"
        yield fake
    finally:
        await runner.cleanup()
