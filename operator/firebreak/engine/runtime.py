"""The running operator: connections opened, parts joined, background work kept alive, all of it ended in order."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import structlog
from aiohttp import web

from firebreak.engine import approvals, incidents
from firebreak.engine.case import Tools
from firebreak.engine.controller import Controller
from firebreak.engine.hook import cloud_hook
from firebreak.engine.informer import follow
from firebreak.engine.known import Known
from firebreak.engine.leadership import Leadership
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import Notices
from firebreak.engine.webhook import Webhook, address
from firebreak.engine.work import Work
from firebreak.evidence.store import EvidenceStore
from firebreak.kube import probe
from firebreak.kube.client import Api
from firebreak.kube.configuration import Configuration, load_configuration
from firebreak.kube.errors import ApiError
from firebreak.kube.guard import Guards
from firebreak.kube.tiers import Tiers
from firebreak.model.enforcement import Enforcement, State
from firebreak.model.tiers import TIERS
from firebreak.outward.sink import Sink, outputs
from firebreak.service import health
from firebreak.service.supervise import TURN, Run, attempt, supervise
from firebreak.settings import Settings

log = structlog.get_logger()

PROBE_TIMEOUT = 90.0  # seconds
REREAD = 10.0  # seconds between looks at the record of enforcement: a person who ran `firebreak preflight` waits for it


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def open_store(settings: Settings) -> EvidenceStore | None:
    """Open the evidence store that the settings name. Raises the store's ValueError when they are wrong."""
    if not settings.store:
        return None
    options = {name: secret.get_secret_value() for name, secret in settings.store_options.items()}
    return EvidenceStore.open(settings.store, options)


class Runtime:
    """Everything that runs beside the watch."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.controller = Controller(tools)
        settings = tools.settings
        self._leadership = Leadership(
            tools.api, settings.namespace, settings.pod, settings.lease_seconds, tools.clock, self._led, tools.pulse
        )
        self._known = Known(tools.api, tools.metrics, self.controller.look_now.set)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: web.AppRunner | None = None

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Connect, open the store, and begin. What cannot work says so before any incident comes."""
        api = await Api.connect(settings.kubeconfig)
        metrics, there = Metrics(), address(settings)
        webhook = Webhook(there, metrics) if there else None
        siem = Sink(outputs(settings), Work.SIEM, metrics.siem_records, metrics.background_failures)
        tools = Tools(
            api=api,
            settings=settings,
            clock=now,
            notices=Notices(api, now, settings.pod, webhook, settings.cluster, siem),
            tiers=Tiers(api),
            guards=Guards(api, settings.namespace),
            metrics=metrics,
            hook=cloud_hook(settings, now),
            store=open_store(settings),
        )
        return cls(tools)

    async def __aenter__(self) -> Self:
        tools, every = self.tools, self.tools.settings.resync_seconds
        self._server = await health.serve(tools.settings.port, tools.metrics.registry, tools.pulse, self._ready)
        # Known before the first verdict, or a restart would make it flap, and before the first cut, as far as may be.
        await attempt(Work.ENFORCEMENT, self._look_at_record, tools.metrics.background_failures)
        await attempt(Work.RAILS, partial(tools.rails.refresh, tools.api), tools.metrics.background_failures)
        watched = incidents.source(self.controller.relist, self.controller.seen)
        self._keep(Work.CREDENTIALS, self._known.keep)
        approved = approvals.source(tools.api, self.controller.approved)
        self._keep(Work.RAILS, partial(tools.rails.keep_fresh, tools.api, every))
        self._keep(Work.ENFORCEMENT, self._enforcement)
        self._keep(Work.GUARDS, self._look_at_guards)
        tools.pulse.expect(Work.INCIDENTS, TURN)
        self._keep(Work.INCIDENTS, partial(follow, tools.api, watched, self._turned))
        self._keep(Work.LEADERSHIP, self._leadership.run)
        self._keep(Work.RESYNC, partial(self.controller.resync, every))
        self._keep(Work.APPROVALS, partial(follow, tools.api, approved, self.controller.cases.approvals))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()
        if self._server:
            await self._server.cleanup()
        await self.tools.api.session.close()

    async def configuration(self) -> Configuration:
        """Return the credentials, once the API server takes them."""
        await self._known.until()
        return await load_configuration(self.tools.settings.kubeconfig, None)

    def _turned(self, _: ApiError | None) -> None:
        """Note that the watch of incidents lives."""
        self.tools.pulse.expect(Work.INCIDENTS, TURN)

    def _ready(self) -> bool:
        return self.controller.listed and bool(self._known)

    async def drain(self) -> None:
        """End the work; what was begun is on record and is continued by the next leader."""
        await self.controller.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.tools.notices.close()

    def _keep(self, work: Work, run: Run) -> None:
        task = asyncio.create_task(supervise(work, run, self.tools.metrics.background_failures), name=work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _led(self, leading: bool) -> None:  # noqa: FBT001 - the Lease's callback
        self.controller.lead(leading)
        if leading:
            self._keep(Work.ENFORCEMENT, self._prove_if_leading)

    async def _look_at_guards(self) -> None:
        """Say at the start which tiers are granted and not fenced; each step looks for itself before it begins."""
        try:
            for tier in TIERS:
                granted = not await self.tools.tiers.missing(tier, self.tools.settings.namespace)
                if granted and (words := await self.tools.guards.missing(tier)):
                    log.error("guard missing", tier=tier.name, problem=words)
        except ApiError as error:
            log.warning("guards not tried", error=str(error))

    async def _enforcement(self) -> None:
        """Keep the record of enforcement fresh in memory; of what is new, every incident learns."""
        while True:
            await asyncio.sleep(REREAD)
            before = self.tools.enforcement
            await self._look_at_record()
            if self.tools.enforcement != before:
                self.controller.wake_all()
                await self._prove_if_leading()

    async def _look_at_record(self) -> None:
        """Take over what is on record, where it can be read."""
        try:
            known = await probe.load(self.tools.api, self.tools.settings.namespace)
        except ApiError:
            return  # what was known stays
        self.tools.enforcement = self._counted(known)

    async def _probe(self) -> Enforcement:
        """Run the probe with Firebreak's own image. Raises `ApiError` when that cannot be found out."""
        api, settings = self.tools.api, self.tools.settings
        image, pull_secrets = (
            (settings.image, ()) if settings.image else await probe.own_image(api, settings.namespace, settings.pod)
        )
        return await probe.prove_enforcement(
            api, namespace=settings.namespace, image=image, pull_secrets=pull_secrets, timeout=PROBE_TIMEOUT
        )

    async def _prove_if_leading(self) -> None:
        if self.controller.leading and self.tools.settings.probe:
            await self._prove()

    async def _prove(self) -> None:
        """Prove enforcement once, unless a fresh proof is on record."""
        settings = self.tools.settings
        try:
            known = await probe.load(self.tools.api, settings.namespace)
            if self._counted(known).state is State.PROVEN:
                return  # a cluster that was seen not to enforce is tried again at every start
            proof = await self._probe()
            await probe.save(self.tools.api, settings.namespace, proof)
        except ApiError as error:
            log.warning("enforcement not probed", error=str(error))
            return
        self.tools.enforcement = proof
        log.info("enforcement probed", state=proof.state, detail=proof.detail)
        self.controller.wake_all()

    def _counted(self, known: Enforcement) -> Enforcement:
        return known.counted(self.tools.clock(), timedelta(hours=self.tools.settings.proof_hours))
