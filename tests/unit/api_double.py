"""A small API server on loopback for tests of streams: real HTTP and WebSockets, answers as told."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class LoopbackConnection:
    """What a source needs of a connection, to a server that wants one token."""

    session: aiohttp.ClientSession
    base: str
    ssl: None = None
    requests: list[str] = field(default_factory=list)

    async def headers(self) -> dict[str, str]:
        return {"Authorization": "Bearer right"}


@dataclass
class ApiDouble:
    """Serves `handler` for every path; `async with` it to get the connection."""

    handler: Handler

    async def __aenter__(self) -> LoopbackConnection:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._checked)
        self._server = TestServer(app)
        await self._server.start_server()
        self._session = aiohttp.ClientSession()
        self._connection = LoopbackConnection(self._session, str(self._server.make_url("")).rstrip("/"))
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._server.close()

    async def _checked(self, request: web.Request) -> web.StreamResponse:
        self._connection.requests.append(f"{request.method} {request.path_qs}")
        if request.headers.get("Authorization") != "Bearer right":
            return refused(401, "Unauthorized")
        return await self.handler(request)


def refused(code: int, message: str) -> web.Response:
    """A Status as the API server writes it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return web.Response(status=code, text=json.dumps(body), content_type="application/json")


def exit_status(code: int) -> bytes:
    """The Status on channel 3, with its channel byte."""
    if code == 0:
        return b"\x03" + b'{"metadata":{},"status":"Success"}'
    cause = {"reason": "ExitCode", "message": str(code)}
    status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    return b"\x03" + json.dumps(status | {"message": f"command terminated with exit code {code}"}).encode()


def exec_answer(
    *messages: bytes, close: int | None = 1000, protocols: tuple[str, ...] = ("v4.channel.k8s.io",)
) -> Handler:
    """Answer an exec with these messages, then a close frame; `close=None` cuts the connection instead."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=protocols)
        await socket.prepare(request)
        for message in messages:
            await socket.send_bytes(message)
        if close is not None:
            await socket.close(code=close)
        elif request.transport is not None:
            request.transport.close()
        return socket

    return answer
