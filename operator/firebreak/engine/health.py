"""The operator's only port: /healthz (all that it lives by turns), /readyz (incidents are being watched), /metrics.

Not healthy is what only a restart mends: that nothing answers here, or that leadership, the resync or the watch of
incidents hangs. An API server that is away is no reason, nor is work that raises and begins again: a restart would only
keep pods from being contained.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from firebreak.engine.metrics import Metrics
from firebreak.engine.supervise import Pulse


async def serve(port: int, metrics: Metrics, pulse: Pulse, ready: Callable[[], bool]) -> web.AppRunner:
    """Start listening and return the runner, to be cleaned up at the end."""

    async def healthz(_: web.Request) -> web.Response:
        if overdue := pulse.overdue():
            return web.Response(status=503, text=f"hangs: {', '.join(overdue)}\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not watching yet\n")

    async def exposed(_: web.Request) -> web.Response:
        metrics.tasks.set(len(asyncio.all_tasks()))
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposed)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - kubelet's probes and Prometheus come from outside
    return runner
