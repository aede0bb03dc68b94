"""A Firebreak in the test's own process: the real engine on the fake API server and a store in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_api import FakeApi, Obj
from firebreak.engine import approvals, incidents
from firebreak.engine.case import Tools
from firebreak.engine.controller import Controller
from firebreak.engine.hook import cloud_hook
from firebreak.engine.informer import follow
from firebreak.engine.known import Known
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import Notices
from firebreak.engine.webhook import Webhook, address
from firebreak.engine.work import Work
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.client import Api
from firebreak.kube.configuration import Configuration
from firebreak.kube.guard import Guards
from firebreak.kube.retries import CallLimits
from firebreak.kube.tiers import Tiers
from firebreak.model.enforcement import Enforcement, State
from firebreak.outward.sink import Sink, outputs
from firebreak.settings import Settings

PROVEN = Enforcement(State.PROVEN, "2026-11-21T00:00:00Z", "seen")
PATIENCE = 30.0  # seconds that a test waits for a condition before it fails
IMPATIENT = CallLimits(timeout=PATIENCE, budget=1.0)  # a call may take as long as a busy machine makes it


@dataclass
class Clock:
    """A clock that ticks a millisecond at each look, so that times are in order and the same in every run."""

    moment: datetime = field(default=datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment


def connect(fake: FakeApi, limits: CallLimits = IMPATIENT) -> Api:
    """A client of the fake, with short patience unless other limits are given."""
    return Api(Configuration(fake.url), limits)


@dataclass
class Replica:
    """One replica of the operator: its controller, fed by a watch of the fake."""

    fake: FakeApi
    tools: Tools
    controller: Controller

    def incident(self, name: str, namespace: str = "shop") -> Obj:
        """The incident as the API server has it."""
        return self.fake.get("Incident", namespace, name)

    async def until(self, name: str, holds: Callable[[Obj], bool], namespace: str = "shop") -> Obj:
        """Wait until an incident's status is as wanted; fail with the status that it has."""
        path = f"/apis/firebreak.dev/v1alpha1/namespaces/{namespace}/incidents"
        try:
            async with asyncio.timeout(PATIENCE):
                async for event in self.tools.api.watch(path, "0", fields=f"metadata.name={name}"):
                    if event["type"] != "BOOKMARK" and holds(event["object"].get("status") or {}):
                        return self.incident(name, namespace)
        except TimeoutError:
            pass
        found = self.fake.find("Incident", namespace, name)
        raise AssertionError(f"incident {name} did not get there: {(found or {}).get('status')}")

    async def condition(self, name: str, kind: str, status: str, reason: str = "") -> Obj:
        """Wait until a condition has that status (and reason)."""

        def holds(found: Obj) -> bool:
            return any(
                c["type"] == kind and c["status"] == status and reason in {"", c["reason"]}
                for c in found.get("conditions", [])
            )

        return await self.until(name, holds)


@asynccontextmanager
async def replica(
    fake: FakeApi,
    store: EvidenceStore | None = None,
    *,
    leading: bool = True,
    name: str = "one",
    clock: Clock | None = None,
    limits: CallLimits = IMPATIENT,
    alone: bool = False,
    **settings: Any,
) -> AsyncIterator[Replica]:
    """Run a replica until the block ends; then it is killed, not asked. `settings`: those that differ.

    The fake knows its calls by its name, as their user. `alone`: nobody wakes it or waits for it, and it looks at
    every incident again and again by itself.
    """
    chosen = Settings(**{"pod": name, "follower_seconds": 0.05, "kubectl": "true", **settings})
    async with connect(fake, limits) as api:
        api.identity = {"Impersonate-User": name}
        tools = _tools(api, chosen, clock or Clock(), store)
        controller = Controller(tools)
        controller.lead(leading)
        sources = (incidents.source(controller.relist, controller.seen), approvals.source(api, controller.approved))
        known = Known(api, tools.metrics, controller.look_now.set if alone else controller.wake_all)
        work = [known.keep(), *(follow(api, source) for source in sources)]
        running = asyncio.gather(*work, *([controller.resync(chosen.resync_seconds)] if alone else []))
        try:
            if not alone:
                async with asyncio.timeout(PATIENCE):
                    await fake.watched("incidents")
                    await fake.watched("approvals")
            yield Replica(fake, tools, controller)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await controller.close()
            await tools.notices.close()


def _tools(api: Api, settings: Settings, clock: Clock, store: EvidenceStore | None) -> Tools:
    metrics, there = Metrics(), address(settings)
    webhook = Webhook(there, metrics) if there else None
    siem = Sink(outputs(settings), Work.SIEM, metrics.siem_records, metrics.background_failures)
    return Tools(
        api=api,
        settings=settings,
        clock=clock,
        notices=Notices(api, clock, settings.pod, webhook, settings.cluster, siem),
        tiers=Tiers(api),
        guards=Guards(api, "firebreak"),
        metrics=metrics,
        store=store,
        hook=cloud_hook(settings, clock),
        enforcement=PROVEN,
    )
