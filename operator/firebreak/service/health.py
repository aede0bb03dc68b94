"""The port for probes: /healthz (all that the process lives by turns), /readyz (it does its work), /metrics.

Not healthy is what only a restart mends: that nothing answers here, or that work which it lives by hangs. An API
server that is away is no reason, nor is work that raises and begins again: a restart would only keep pods from being
contained.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest

from firebreak.service.supervise import Pulse

IDLE = 20.0  # seconds; Prometheus asks every fifteen or more
HEADER, HEADERS = 2048, 32  # bytes of each, and how many: nobody proves anything here, so little of a head is held


def observe_process(registry: CollectorRegistry) -> None:
    """Show what the process takes: memory, CPU, file descriptors, by the names that everybody knows; and tasks."""
    ProcessCollector(registry=registry)
    tasks = Gauge("firebreak_tasks", "Tasks of the event loop: what grows for ever leaks.", registry=registry)
    tasks.set_function(_tasks)


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked from outside the loop
        return 0


async def serve(port: int, registry: CollectorRegistry, pulse: Pulse, ready: Callable[[], bool]) -> web.AppRunner:
    """Start listening and return the runner, to be cleaned up at the end."""

    async def healthz(_: web.Request) -> web.Response:
        if overdue := pulse.overdue():
            return web.Response(status=503, text=f"hangs: {', '.join(overdue)}\n")
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready yet\n")

    async def exposed(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposed)])
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=IDLE, max_line_size=HEADER, max_field_size=HEADER, max_headers=HEADERS
    )
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - kubelet's probes and Prometheus come from outside
    return runner
