"""What stands outside the cluster: the hook that ends cloud identities, and where people are told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

from aiohttp import web

from state import TIME
from trouble import Kind

ANSWERS = {Kind.BUSY: 429, Kind.BROKEN: 500}


class Outside:
    """Takes what is posted, and counts it; `befalls` says what befalls the next post to a path."""

    def __init__(self) -> None:
        self.url = ""
        self.befalls: Callable[[str], Kind | None] = lambda _: None
        self.ended: Counter[str] = Counter()
        self.told: dict[str, list[str]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        what, body = request.path, await request.read()
        kind = self.befalls(what)
        if kind in ANSWERS:
            return web.Response(status=ANSWERS[kind], headers={"Retry-After": "1"} if kind is Kind.BUSY else {})
        if kind is not Kind.DIES_BEFORE:
            self._take(what, body)
        if kind is Kind.LOST and request.transport:
            request.transport.abort()
        elif kind is not None:
            await asyncio.Event().wait()  # until the caller gives up
        return web.json_response({"revoked": True})

    @property
    def repeated(self) -> Counter[str]:
        """How often, by type of condition, people were told what was the last that they had been told of it."""
        return Counter(kind for kind, kept in self.told.items() for before, now in pairwise(kept) if now == before)

    def _take(self, what: str, body: bytes) -> None:
        told = json.loads(body)
        if what == "/hook":
            self.ended[str(told["identity"])] += 1
        else:
            for condition in told["conditions"]:
                words = TIME.sub("T", condition["message"])
                kept = self.told.setdefault(condition["type"], [])
                kept.append(f"{condition['type']}={condition['status']} {condition['reason']}: {words}")


@asynccontextmanager
async def standing_outside() -> AsyncIterator[Outside]:
    """Run it on a free port of the loopback interface until the block ends."""
    outside = Outside()
    app = web.Application()
    app.router.add_post("/{path:.*}", outside.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        outside.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield outside
    finally:
        await runner.cleanup()
