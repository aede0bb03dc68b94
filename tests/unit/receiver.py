"""A server outside the cluster, on loopback, that takes what is posted or misbehaves as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from yarl import URL

PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Reply:
    """One answer. `hang`: none at all, until the caller gives up."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False


@dataclass
class Receiver:
    """What came in, and the answers to give in this order; after them every post is taken."""

    replies: list[Reply] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: URL = field(default_factory=URL)
    otherwise: Reply = field(default_factory=Reply)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    gave_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        reply = self.replies.pop(0) if self.replies else self.otherwise
        async with self.arrived:
            self.arrived.notify_all()
        if reply.hang:
            await self.gave_up.wait()
        return web.Response(status=reply.status, text=reply.body, headers=reply.headers)

    async def posts(self, number: int) -> list[bytes]:
        """Wait until so many posts came in."""
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.bodies) >= number)
        return self.bodies


@asynccontextmanager
async def receiving(*replies: Reply, **fields: Any) -> AsyncIterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver(replies=list(replies), **fields)
    app = web.Application()
    app.router.add_post("/services/T000/SECRETPATH", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = URL(f"http://127.0.0.1:{port}/services/T000/SECRETPATH?token=SECRETQUERY")
    try:
        yield receiver
    finally:
        receiver.gave_up.set()
        await runner.cleanup()
