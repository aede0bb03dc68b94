"""What `kubectl describe pod` prints, by the real kubectl, without literal environment values.

Cutting values out of the printed text cannot be done safely: a value may span lines and look like the lines around it
(a form feed in one starts a line of its own). So kubectl never sees them. It talks to a small window on loopback
that shows it one pod, redacted, and that pod's events, and nothing else; it gets no credentials. The window's address
is a secret: it goes into a file of our own and not into the arguments, which everybody on the machine can read.
"""

import asyncio
import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from firebreak.kube.exec import Excerpt
from firebreak.kube.source import Connection, Limits, Reason, Source, StreamEnded, describe, printable, refusal
from firebreak.model.redact import redact_pod

CHUNK = 64 * 1024
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of one answer of the API server. etcd keeps objects below 1.5 MiB; events come in pages of 500."""
LIMITS = Limits(max_bytes=4 * 1024 * 1024, connect_seconds=10, idle_seconds=20, total_seconds=30)

_VERBS = ["get", "list"]
_DISCOVERY: dict[str, dict[str, Any]] = {
    "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": _VERBS},
            {"name": "events", "singularName": "event", "namespaced": True, "kind": "Event", "verbs": _VERBS},
        ],
    },
}
"""All of the API that kubectl gets to know: enough to resolve `pod`, and no answer of a broken extension server."""


class Window:
    """Shows one pod and its events, read-only, to whoever knows the secret path. `trouble` is what went wrong."""

    def __init__(self, connection: Connection, namespace: str, pod: str) -> None:
        self._connection = connection
        self._pod = f"api/v1/namespaces/{namespace}/pods/{pod}"
        self._events = f"api/v1/namespaces/{namespace}/events"
        self._about = {f"involvedObject.namespace={namespace}", f"involvedObject.name={pod}"}
        self._secret = secrets.token_hex(32)
        self.trouble: dict[str, StreamEnded] = {}

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        """Serve on loopback and give the URL. Raises OSError when no port can be had."""
        app = web.Application()
        app.router.add_get(f"/{self._secret}/{{path:.*}}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/{self._secret}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path in _DISCOVERY:
            return web.json_response(_DISCOVERY[path])
        if path not in {self._pod, self._events}:
            raise web.HTTPNotFound
        try:
            body = await self._fetch(path, self._query(request.query) if path == self._events else {})
        except StreamEnded as end:
            self.trouble["pod" if path == self._pod else "events"] = end
            raise web.HTTPBadGateway(text=str(end)) from end
        return web.json_response(redact_pod(body))

    def _query(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return what of a query for events is passed on. Raises StreamEnded when it is not about the pod alone.

        Terms of a selector are joined by "and", so further ones only narrow it; an escaped comma could hide one.
        """
        selector = asked.get("fieldSelector", "")
        if "\\" in selector or not self._about <= set(selector.split(",")):
            text = (
                f"kubectl asked for events that are not the pod's own ({printable(selector, 200)!r}); read them apart."
            )
            raise StreamEnded(Reason.REFUSED, text)
        pages = {key: asked[key] for key in ("limit", "continue") if key in asked}
        return {"fieldSelector": f"{selector},involvedObject.kind=Pod", **pages}  # others may have its name

    async def _fetch(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        connection = self._connection
        try:
            async with connection.session.get(
                f"{connection.base}/{path}",
                params=query,
                headers={**await connection.headers(), "Accept": "application/json"},
                ssl=connection.ssl or True,
                timeout=aiohttp.ClientTimeout(total=LIMITS.connect_seconds),
            ) as answer:
                body = await _bounded(answer.content)
        except (aiohttp.ClientError, OSError) as error:
            raise StreamEnded(Reason.UNREACHABLE, f"Could not read {path}: {describe(error)}.") from error
        if answer.status != 200:  # noqa: PLR2004 - HTTP OK
            raise refusal(answer.status, body)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise StreamEnded(Reason.SERVER_ERROR, f"The answer for {path} is no JSON.") from error
        return found if isinstance(found, dict) else {}


class DescribeSource(Source):
    """The text of `kubectl describe pod`. `kubectl` is the program's path, or a name to find on PATH.

    Needs the rights `get` on pods and `list` on events; without the latter it is Partial, for kubectl would print
    "<none>" where it could not look.
    """

    def __init__(
        self, connection: Connection, namespace: str, pod: str, *, kubectl: str = "kubectl", limits: Limits = LIMITS
    ) -> None:
        super().__init__(limits)
        self._window = Window(connection, namespace, pod)
        self._namespace, self._pod, self._kubectl = namespace, pod, kubectl

    def _praise(self) -> str:
        return "As kubectl prints it; literal environment values were left out."

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async with self._window.opened() as server, self._running(server) as (process, errors):
            while chunk := await self._read(process):
                yield chunk
            code = await self._ended(process)
        self._judge(code, errors.text())

    @contextlib.asynccontextmanager
    async def _running(self, server: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Excerpt]]:
        with tempfile.NamedTemporaryFile("w", prefix="firebreak-kubeconfig-") as config:  # mode 0600
            config.write(kubeconfig(server))
            config.flush()
            async with self._started(config.name) as running:
                yield running

    @contextlib.asynccontextmanager
    async def _started(self, config: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Excerpt]]:
        try:
            process = await asyncio.create_subprocess_exec(
                self._kubectl,
                "describe",
                f"--namespace={self._namespace}",
                f"--cache-dir={os.devnull}",
                "--",
                "pod",
                self._pod,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "KUBECONFIG": config, "TZ": "UTC"},
            )
        except OSError as error:
            text = f"{self._kubectl} cannot be run ({describe(error)}); name the kubectl program in the settings."
            raise StreamEnded(Reason.KUBECTL_NOT_FOUND, text) from error
        errors = Excerpt()
        listener = asyncio.create_task(_listen(process, errors))
        try:
            yield process, errors
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await asyncio.wait({listener}, timeout=1)  # a child of kubectl could keep the pipe open
            listener.cancel()

    def _too_slow(self) -> StreamEnded:
        """No container is asked anything here: who is slow is the API server, or this replica in a storm."""
        idle, total = self.limits.idle_seconds, self.limits.total_seconds
        text = f"kubectl printed nothing for {idle:g} s, or was not done after {total:g} s; "
        return StreamEnded(Reason.KUBECTL_SLOW, f"{text}the API server or this replica is busy.")

    async def _read(self, process: asyncio.subprocess.Process) -> bytes:
        if process.stdout is None:
            return b""
        try:
            return await asyncio.wait_for(process.stdout.read(CHUNK), self._patience())
        except TimeoutError:
            raise self._too_slow() from None

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        try:
            return await asyncio.wait_for(process.wait(), self._patience())
        except TimeoutError:
            raise self._too_slow() from None

    def _judge(self, code: int, said: str) -> None:
        for what, end in self._window.trouble.items():
            raise StreamEnded(end.reason, f"The {what} could not be read. {end}")
        if code:
            text = f"kubectl ended with exit code {code}; it said: {printable(said, 600)}"
            raise StreamEnded(Reason.KUBECTL_FAILED, text)


def kubeconfig(server: str) -> str:
    """Write a kubeconfig, which may be JSON, that knows one server and no credentials."""
    return json.dumps(
        {
            "clusters": [{"name": "window", "cluster": {"server": server}}],
            "contexts": [{"name": "window", "context": {"cluster": "window"}}],
            "current-context": "window",
        }
    )


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await content.read(CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise StreamEnded(Reason.SIZE_LIMIT, f"The API server's answer exceeds {MAX_ANSWER} bytes.")
    return bytes(body)


async def _listen(process: asyncio.subprocess.Process, errors: Excerpt) -> None:
    while process.stderr is not None and (chunk := await process.stderr.read(CHUNK)):
        errors.add(chunk)
