"""A thin client: raw JSON over aiohttp, in the few verbs that Firebreak uses.

The official client's model objects cost several times the request itself, and containment is measured in milliseconds;
its loader of kubeconfigs is used (`configuration`).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from firebreak import __version__
from firebreak.api.base import Json
from firebreak.kube.configuration import Configuration, load_configuration, ssl_context
from firebreak.kube.credentials import Credentials
from firebreak.kube.errors import NotFound, TooLarge, Unauthorized, Unavailable, error_from
from firebreak.kube.lanes import Lanes, urgent
from firebreak.kube.lists import Shared, Wanted
from firebreak.kube.retries import DEFAULT_LIMITS, CallLimits, retrying
from firebreak.model.change import Ref, collection

MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
UNAUTHORIZED = 401
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE, REDUCED_PAGE = 500, 20  # objects of a list that are asked for at once
LONGEST_ANSWER = 48 * 2**20  # bytes of one answer: what it may cost before it is refused
LONGEST_LIST = 64 * 2**20  # bytes of all answers of a list that is kept whole, well below the container's memory
WATCH_SILENCE = 90.0  # seconds: the API server sends a bookmark every minute; who is silent for longer is not there
TOO_LONG_LINE = 2**24  # bytes of one watch event; an object in etcd has at most 1.5 MiB


Found = tuple[list[Json], str]  # objects, and the resourceVersion to watch from


@dataclass(frozen=True)
class _Request:
    """What is asked of the API server."""

    method: str
    path: str
    body: Json | None = None
    content_type: str = "application/json"
    params: Mapping[str, str] | None = None
    accept: str = "application/json"


class Api:
    """One connection pool to the API server. Open with `async with await Api.connect()`."""

    def __init__(
        self,
        configuration: Configuration,
        limits: CallLimits = DEFAULT_LIMITS,
        kubeconfig: str | None = None,
        context: str | None = None,
    ) -> None:
        self.base: str = configuration.host.rstrip("/")
        self.limits = limits
        self.kubeconfig = kubeconfig
        self.context = context
        self.ssl = ssl_context(configuration) if self.base.startswith("https") else None
        self.credentials = Credentials(configuration, kubeconfig, context)
        self._lanes = Lanes()
        self._lists = Shared[Found]()
        self.identity: Mapping[str, str] = {}  # headers that say whom to act as, for whoever may impersonate
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.ssl or True, limit=0, keepalive_timeout=60),
            json_serialize=json.dumps,
            headers={"User-Agent": f"firebreak/{__version__}"},  # up to the slash: the field manager of our writes
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.timeout),
        )

    @classmethod
    async def connect(
        cls, kubeconfig: str | None = None, context: str | None = None, limits: CallLimits = DEFAULT_LIMITS
    ) -> Self:
        """Connect as the pod's account when inside a cluster, else by kubeconfig.

        Raises `ConfigurationError` when neither is to be had.
        """
        configuration = await load_configuration(kubeconfig, context)
        return cls(configuration, limits, kubeconfig, context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def headers(self) -> dict[str, str]:
        """Return the authentication headers, fresh."""
        return {**self.identity, **await self.credentials.headers()}

    def _url(self, path: str, params: Mapping[str, str] | None) -> URL:
        """Paths come quoted already; normalizing them again would let a hostile name climb out of its segment."""
        query = f"?{urlencode(params)}" if params else ""
        return URL(f"{self.base}{path}{query}", encoded=True)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> Json:
        """Ask once or, after passing faults, again within the budget. Raises `ApiError`."""
        answer, _ = await self._ask(_Request(method, path, body, content_type, params, accept))
        return answer

    async def _ask(self, request: _Request) -> tuple[Json, int]:
        """Return the answer and how many bytes it had."""
        async for attempt in retrying(self.limits):
            with attempt:
                async with self._lanes.seat(request.path):  # not held while it pauses
                    return await self._authorized(request)
        raise AssertionError  # unreachable: the last error is raised again

    async def _authorized(self, request: _Request) -> tuple[Json, int]:
        while True:
            used = await self.credentials.headers()
            try:
                return await self._once(request)
            except Unauthorized:
                if not await self.credentials.others(used):
                    raise

    async def _once(self, request: _Request) -> tuple[Json, int]:
        what, body = f"{request.method} {request.path}", request.body
        if request.method == "POST":  # a cut's PATCH, which takes the API server longer, leaves before
            await asyncio.sleep(0)
        headers = {"Accept": request.accept, **await self.headers()}
        if body is not None:
            headers["Content-Type"] = request.content_type
        try:
            async with self.session.request(
                request.method,
                self._url(request.path, request.params),
                data=json.dumps(body).encode() if body is not None else None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self.limits.timeout),
            ) as response:
                answer, size = await _json(what, response)
                if response.status >= 400:  # noqa: PLR2004 - HTTP
                    raise error_from(what, response.status, answer, response.headers.get("Retry-After"))
                return answer, size
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(what, f"no answer from the API server ({type(error).__name__}: {error})") from error

    async def get(self, ref: Ref, *, metadata_only: bool = False) -> Json:
        """Read one object; with a uid in the ref only that very one. Raises `NotFound`."""
        found = await self.request("GET", ref.path, accept=METADATA_ONLY if metadata_only else "application/json")
        if ref.uid and found["metadata"]["uid"] != ref.uid:
            raise NotFound(f"GET {ref.path}", f"{ref} is gone; another one has its name now")
        return found

    async def list_all(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
        keep: Callable[[Json], Json | None] | None = None,
    ) -> list[Json]:
        """Return all objects of a kind, in one namespace or in all, selected on the server.

        `keep` reduces each object as it comes, or drops it (None), for kinds that anybody may fill with a megabyte.
        """
        path = collection(kind, namespace)
        items, _ = await self.list_from(path, labels=labels, fields=fields, metadata_only=metadata_only, keep=keep)
        return items

    async def list_from(
        self,
        path: str,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
        keep: Callable[[Json], Json | None] | None = None,
    ) -> Found:
        """Return the objects below a path and the resourceVersion to watch from. Others may share them: change none.

        Raises `TooLarge` when one answer, or all that is kept whole, is longer than a list may be.
        """
        wanted = Wanted(path, labels, fields, METADATA_LIST if metadata_only else "application/json", keep)
        if urgent():  # a cut waits for nobody else's call
            return await self._list(wanted)
        return await self._lists.read(wanted, partial(self._list, wanted))

    async def _list(self, wanted: Wanted) -> Found:
        path, keep = wanted.path, wanted.keep
        params = _selectors(wanted.labels, wanted.fields) | {"limit": str(REDUCED_PAGE if keep else PAGE)}
        items: list[Json] = []
        whole = 0
        while True:
            answer, size = await self._ask(_Request("GET", path, params=params, accept=wanted.accept))
            whole += 0 if keep else size
            if whole > LONGEST_LIST:
                raise TooLarge(f"GET {path}", f"the list is longer than {LONGEST_LIST >> 20} MiB; somebody filled it")
            page = answer.get("items") or []
            items.extend(filter(None, map(keep, page)) if keep else page)
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            params = params | {"continue": metadata["continue"]}

    async def create(self, kind: str, namespace: str | None, body: Json, *, dry_run: bool = False) -> Json:
        """Create an object. Raises `AlreadyExists`."""
        return await self.request("POST", collection(kind, namespace), body=body, params=_WRITE[dry_run])

    async def patch(
        self, ref: Ref, body: Json, *, subresource: str = "", metadata_only: bool = False, dry_run: bool = False
    ) -> Json:
        """Send a JSON merge patch. With a uid in the ref a namesake is refused by `Conflict`."""
        if ref.uid:
            body = body | {"metadata": {**body.get("metadata", {}), "uid": ref.uid}}
        path = f"{ref.path}/{subresource}" if subresource else ref.path
        accept = METADATA_ONLY if metadata_only else "application/json"
        params = _WRITE[dry_run]
        return await self.request("PATCH", path, body=body, content_type=MERGE_PATCH, params=params, accept=accept)

    async def replace(self, ref: Ref, body: Json) -> Json:
        """Put a whole object; its resourceVersion guards against overwriting others. Raises `Conflict`."""
        return await self.request("PUT", ref.path, body=body, params=_WRITE[False])

    async def delete(self, ref: Ref) -> None:
        """Delete an object; with a uid in the ref only that very one."""
        options: Json = {"preconditions": {"uid": ref.uid}} if ref.uid else {}
        await self.request("DELETE", ref.path, body=options)

    async def watch(
        self, path: str, resource_version: str, *, fields: str | None = None, metadata_only: bool = False
    ) -> AsyncIterator[Json]:
        """Yield watch events until the server ends the stream. Raises `Gone` when the version is too old."""
        what = f"WATCH {path}"
        params = {"watch": "1", "resourceVersion": resource_version, "allowWatchBookmarks": "true"}
        params |= _selectors(None, fields)
        used = await self.credentials.headers()
        try:
            async with self.session.get(
                self._url(path, params),
                headers=await self.headers() | ({"Accept": METADATA_ONLY} if metadata_only else {}),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=WATCH_SILENCE),
                read_bufsize=TOO_LONG_LINE,
            ) as response:
                if response.status >= 400:  # noqa: PLR2004 - HTTP
                    if response.status == UNAUTHORIZED:
                        await self.credentials.others(used)  # for the next try
                    answer, _ = await _json(what, response)
                    raise error_from(what, response.status, answer, response.headers.get("Retry-After"))
                async for line in response.content:
                    event = json.loads(line)
                    if event.get("type") == "ERROR":
                        raise error_from(what, int(event["object"].get("code", 500)), event["object"])
                    yield event
        except (aiohttp.ClientError, TimeoutError, ConnectionError, json.JSONDecodeError) as error:
            raise Unavailable(what, f"the watch broke ({type(error).__name__})") from error


_WRITE = {dry: {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {}) for dry in (False, True)}


def _selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    return {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}


async def _json(what: str, response: aiohttp.ClientResponse) -> tuple[Json, int]:
    """Return the answer, and its length. What is no JSON object (a proxy's page, say) counts as empty.

    Raises `TooLarge`.
    """
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > LONGEST_ANSWER:
            raise TooLarge(what, f"the answer is longer than {LONGEST_ANSWER >> 20} MiB; somebody filled the list")
    try:
        answer: Any = json.loads(data)
    except ValueError:
        answer = {}
    return (answer if isinstance(answer, dict) else {}), len(data)
