"""The kopf operator: start-up, signals and shutdown. The only module that imports kopf.

kopf watches nothing: `engine.informer` does, for what comes through kopf is cut half a millisecond later. Nor are there
its finalizers, progress annotations, daemons or timers, which would write twice before our first line runs.
"""

import asyncio
import gc
import itertools
import sys
from typing import Any, cast

from firebreak.engine.runtime import Runtime
from firebreak.kube.configuration import Configuration
from firebreak.settings import Settings

# kopf loads the whole official client where it is installed, to know its objects, which do not occur here: 19 MiB and
# half a second of a start. Python tells it that there is none.
_LOADED = "kubernetes.client" in sys.modules
if not _LOADED:
    sys.modules["kubernetes.client"] = cast("Any", None)
import kopf  # noqa: E402

if not _LOADED:
    del sys.modules["kubernetes.client"]


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run the operator until it is told to stop (signal, or the event)."""
    async with await Runtime.start(settings) as runtime:
        gc.collect()
        gc.freeze()  # what start-up made stays: a full collection that walks it stops everything for 40 ms, cuts too
        await kopf.operator(
            registry=_handlers(runtime),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            identity=cast("Any", settings.pod),  # else kopf asks for the uid's name, which a container may not have
        )


def _handlers(runtime: Runtime) -> kopf.OperatorRegistry:
    registry, logins = kopf.OperatorRegistry(), itertools.count()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(await runtime.configuration(), next(logins))

    @kopf.on.cleanup(registry=registry)
    async def drain(**_: Any) -> None:
        await runtime.drain()

    return registry


async def _connection(configuration: Configuration, number: int) -> kopf.ConnectionInfo:
    """Kopf ends the operator when credentials come back that were refused once: `number` makes them others."""
    scheme, _, token = (await configuration.authorization()).partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() or None,
        token=token or None,
        priority=number,
    )
