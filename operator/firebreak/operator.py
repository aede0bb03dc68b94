"""The kopf operator: watch, reconnection, start-up and shutdown. The only module that imports kopf.

kopf is the informer here and nothing more: raw event handlers hand hints to the controller and return. Its
finalizers, progress annotations, daemons and timers stay unused: they would write twice before our first line runs.
"""

import asyncio
import gc
import itertools
import logging
from typing import Any, cast

import kopf
from kubernetes.aio.client.configuration import Configuration

from firebreak.api import GROUP, VERSION
from firebreak.engine.controller import OPEN_ONLY
from firebreak.engine.runtime import Runtime
from firebreak.settings import Settings


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
        logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # a line for every event says nothing
        settings.scanning.disabled = True
        settings.persistence.diffbase_storage = _NoDiff()
        settings.persistence.progress_storage = _NoProgress()
        settings.watching.field_selectors[GROUP, VERSION, "incidents"] = OPEN_ONLY
        settings.networking.request_timeout = 30.0

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(await runtime.configuration(), next(logins))

    @kopf.on.event(GROUP, VERSION, "incidents", registry=registry)
    async def incident(event: kopf.RawEvent, **_: Any) -> None:
        runtime.seen(dict(event["object"]), deleted=event["type"] == "DELETED")

    @kopf.on.cleanup(registry=registry)
    async def drain(**_: Any) -> None:
        await runtime.drain()

    return registry


class _NoDiff(kopf.DiffBaseStorage):
    """No last seen state: kopf copies the object at every event for handlers that we have none of."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing is compared."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Nothing is kept."""

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


class _NoProgress(kopf.ProgressStorage):
    """No progress of handlers: ours keep theirs in the status."""

    def fetch(self, **_: Any) -> None:
        """Nothing is kept."""

    def store(self, **_: Any) -> None:
        """Nothing is kept."""

    def purge(self, **_: Any) -> None:
        """Nothing is kept."""

    def touch(self, **_: Any) -> None:
        """Nothing is kept."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Nothing of it lies in the object."""
        return essence


def _connection(configuration: Configuration, number: int) -> kopf.ConnectionInfo:
    """Kopf ends the operator when credentials come back that were refused once: `number` makes them others."""
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
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
