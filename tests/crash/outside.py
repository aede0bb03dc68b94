"""What stands outside the cluster: the hook that ends cloud identities, and where people are told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from state import TIME
from trouble import Kind

ANSWERS = {Kind.BUSY: 429, Kind.BROKEN: 500}


class Outside:
    """Takes what is posted, and counts it; `befalls` says what befalls the next post to a path."""

    def __init__(self) -> None:
        self.url = ""
        self.befalls: Callable[[str], Kind | None] = lambda _: None
        self.taken: Counter[str] = Counter()

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

    def _take(self, what: str, body: bytes) -> None:
        """The hook is counted by whom it was to end, notices by what they tell."""
        told = json.loads(body)
        if what == "/hook":
            self.taken[f"hook {told['identity']}"] += 1
        else:
            for condition in told["conditions"]:
                words = TIME.sub("T", condition["message"])
                self.taken[f"notice {condition['type']}={condition['status']} {condition['reason']}: {words}"] += 1


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
