"""One request at a time: find the target, act on the store, answer as the real API server does."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from . import errors, routes, views
from .access import Authorize
from .containers import Containers
from .errors import ApiError
from .faults import Expire, Stale
from .journal import Call, Journal
from .paging import Pages
from .resources import Obj, Resource
from .routes import Target
from .rules import OTHER_NAMESPACE, Update, merge_patch
from .selectors import Matches, parse_fields, parse_labels
from .store import Store
from .watching import Watches, WatchRequest

MERGE_PATCH = "application/merge-patch+json"
TRUE = {"true", "1"}


def respond(body: Obj, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


USER = "ann"
"""As whom everybody is authenticated."""


def query_matches(resource: Resource, query: Mapping[str, str]) -> Matches:
    """The label and field selectors of a list or watch."""
    labels = parse_labels(query.get("labelSelector", ""))
    fields = parse_fields(resource, query.get("fieldSelector", ""))
    return lambda obj: labels(obj) and fields(obj)


@dataclass
class Server:
    """Carries out calls; faults other than Stale and Expire are the concern of the caller."""

    store: Store
    watches: Watches
    journal: Journal
    containers: Containers
    authorize: dict[str, Authorize]
    pages: Pages = field(default_factory=Pages)

    async def act(self, call: Call, request: web.Request, how: object) -> web.StreamResponse:
        """Raises ApiError, and Dropped when the connection of a watch is to be closed."""
        if (document := routes.discovery(call.path)) and call.method == "GET":
            return respond(document)
        if (kind := routes.review_kind(call.path)) and call.method == "POST":
            return self._review(kind, call)
        if call.path == routes.WHO_AM_I and call.method == "POST":
            head = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
            return respond({**head, "status": {"userInfo": {"username": USER}}}, 201)
        target = routes.find_target(call.path)
        if target is None:
            if routes.is_served(call.path):
                raise errors.no_such_resource()
            return web.Response(status=404, text="404 page not found\n")
        _check_subresource(target)
        return await self._act_on(target, call, request, how)

    async def _act_on(self, target: Target, call: Call, request: web.Request, how: object) -> web.StreamResponse:
        if call.verb == "watch":
            return await self._watch(call, target, request, expire=isinstance(how, Expire))
        if call.verb == "list":
            return self._list(call, target, stale=isinstance(how, Stale))
        if call.method == "GET":
            return await self._get(call, target, request, stale=isinstance(how, Stale))
        return self._write(call, target)

    def _review(self, kind: str, call: Call) -> web.Response:
        allowed, reason = self.authorize[kind](call.body.get("spec") or {})
        status = {"allowed": allowed, **({"reason": reason} if reason else {})}
        head = {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        return respond({**head, "spec": call.body.get("spec"), "status": status}, 201)

    def _list(self, call: Call, target: Target, *, stale: bool) -> web.Response:
        resource = target.resource
        metadata = views.wants_metadata(call.accept, many=True)
        matches = query_matches(resource, call.query)
        objs, version = self.store.list(resource, target.namespace, matches), self.store.version
        if stale:
            before, version = self.store.stale(resource, target.namespace, None)
            objs = [before[key] for key in sorted(before) if matches(before[key])]
        if token := call.query.get("continue"):
            objs, version = self.pages.left(token)
        page, more = self.pages.cut(objs, version, int(call.query.get("limit", "0")))
        return respond(views.as_list(resource, page, version, more, metadata=metadata))

    async def _get(self, call: Call, target: Target, request: web.Request, *, stale: bool) -> web.StreamResponse:
        resource, namespace, name = target.resource, target.namespace or "", target.name
        if stale:
            before, _ = self.store.stale(resource, namespace, name)
            if (resource.stored, namespace, name) not in before:
                raise errors.not_found(resource, name)
            return self._answer(call, resource, before[resource.stored, namespace, name])
        obj = self.store.read(resource, namespace, name)
        if target.qualified == "pods/log":
            return self.containers.log(obj, call.query)
        if target.qualified == "pods/exec":
            return await self.containers.exec(obj, request)
        return self._answer(call, resource, obj)

    def _write(self, call: Call, target: Target) -> web.Response:
        if not target.name and call.method != "POST":
            raise errors.method_not_allowed()
        if call.method == "DELETE":
            return self._delete(call, target)
        if not isinstance(call.body, dict):
            raise errors.bad_request("the body of a write must be one JSON object")
        if call.method == "POST":
            return self._create(call, target)
        if call.method == "PUT":
            return self._put(call, target)
        if call.method == "PATCH":
            if call.content_type != MERGE_PATCH:
                raise errors.unsupported_media(call.content_type)
            return self._answer(call, target.resource, self._update(call, target, put=False))
        raise errors.method_not_allowed()

    def _create(self, call: Call, target: Target) -> web.Response:
        resource, namespace = target.resource, target.namespace
        if target.name or (resource.namespaced and namespace is None):
            raise errors.method_not_allowed()
        _check_body(resource, namespace or "", call.body)
        body = views.to_stored(resource, call.body)
        if resource.has_status and resource.plural != "nodes":
            body = {key: value for key, value in body.items() if key != "status"}
        if resource.plural == "pods":
            body["status"] = {"phase": "Pending"}
        new = self.store.create(resource, namespace or "", body, dry_run=_dry_run(call))
        return self._answer(call, resource, new, 201)

    def _put(self, call: Call, target: Target) -> web.Response:
        resource, namespace = target.resource, target.namespace or ""
        _check_body(resource, namespace, call.body)
        sent: Obj = call.body.get("metadata") or {}
        if not sent.get("name"):
            message = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
            raise errors.bad_request(message)
        if resource.put_creates and not self.store.has(resource, namespace, target.name):
            body = {**call.body, "metadata": {**sent, "resourceVersion": ""}}
            new = self.store.create(resource, namespace, views.to_stored(resource, body), dry_run=_dry_run(call))
            return self._answer(call, resource, new, 201)
        return self._answer(call, resource, self._update(call, target, put=True))

    def _update(self, call: Call, target: Target, *, put: bool) -> Obj:
        resource = target.resource

        def change(current: Obj) -> Obj:
            body = call.body if put else merge_patch(views.from_stored(resource, current), call.body)
            return views.to_stored(resource, body)

        return self.store.update(
            Update(
                resource=resource,
                namespace=target.namespace or "",
                name=target.name,
                change=change,
                status=target.subresource == "status",
                put=put,
                dry_run=_dry_run(call),
            )
        )

    def _delete(self, call: Call, target: Target) -> web.Response:
        resource = target.resource
        if target.subresource:
            raise errors.method_not_allowed()
        options = dict(call.body or {})
        if _dry_run(call):
            options["dryRun"] = ["All"]
        if "gracePeriodSeconds" in call.query:
            options["gracePeriodSeconds"] = int(call.query["gracePeriodSeconds"])
        obj, gone = self.store.delete(resource, target.namespace or "", target.name, options)
        if not gone or resource.answers_deleted:
            return self._answer(call, resource, obj)
        group = {"group": resource.group} if resource.group else {}
        details = {"name": target.name, **group, "kind": resource.plural, "uid": obj["metadata"]["uid"]}
        head: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return respond({**head, "details": details})

    def _answer(self, call: Call, resource: Resource, obj: Obj, status: int = 200) -> web.Response:
        if views.wants_metadata(call.accept, many=False):
            return respond(views.metadata_only(obj), status)
        return respond(views.from_stored(resource, obj), status)

    async def _watch(self, call: Call, target: Target, request: web.Request, *, expire: bool) -> web.StreamResponse:
        resource = target.resource
        metadata = views.wants_metadata(call.accept, many=False)
        _check_since(call.query.get("resourceVersion", ""))
        watch = WatchRequest(
            resource=resource,
            namespace=target.namespace,
            matches=query_matches(resource, call.query),
            since=call.query.get("resourceVersion", ""),
            initial_events_end=call.query.get("sendInitialEvents") in TRUE,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self.journal.answered(call, 200)
        seconds = float(call.query["timeoutSeconds"]) if "timeoutSeconds" in call.query else None
        try:
            if expire:
                raise errors.too_old(1, self.store.version)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds), contextlib.aclosing(self.watches.follow(watch)) as events:
                    async for kind, obj in events:
                        shown = views.metadata_only(obj) if metadata else views.from_stored(resource, obj)
                        await _send(response, kind, shown)
        except ApiError as error:
            await _send(response, "ERROR", error.body)
        except ConnectionResetError:
            pass  # the watcher hung up
        return response


async def _send(response: web.StreamResponse, kind: str, obj: Any) -> None:
    await response.write(json.dumps({"type": kind, "object": obj}).encode() + b"\n")


def _dry_run(call: Call) -> bool:
    return call.query.get("dryRun") == "All"


def _check_since(version: str) -> None:
    if version and not version.isdecimal():
        problem = f'strconv.ParseUint: parsing "{version}": invalid syntax'
        raise errors.internal(f'resourceVersion: Invalid value: "{version}": {problem}')


def _check_subresource(target: Target) -> None:
    known = {""} | ({"status"} if target.resource.has_status else set())
    if target.resource.plural == "pods":
        known |= {"log", "exec"}
    if target.subresource not in known:
        raise errors.no_such_resource()


def _check_body(resource: Resource, namespace: str, body: Obj) -> None:
    """Refuse a body that is about something else than the URL."""
    sent = (body.get("apiVersion", resource.api_version), body.get("kind", resource.kind))
    if sent != (resource.api_version, resource.kind):
        raise errors.bad_request(
            f'{sent[1]} in version "{sent[0]}" cannot be handled as a {resource.kind}: not what this path serves'
        )
    if (body.get("metadata") or {}).get("namespace", namespace) != namespace:
        raise errors.bad_request(OTHER_NAMESPACE)
