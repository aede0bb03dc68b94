"""The running intake: parts joined, background work kept alive, all of it ended in order."""

import asyncio
import gc
import signal
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

import structlog
from aiohttp import web

from firebreak import __version__
from firebreak.detect.allowing import read_allowances
from firebreak.detect.ecs import finding_record
from firebreak.detect.evaluate import Detector
from firebreak.detect.finding import Finding
from firebreak.detect.follow import Tail
from firebreak.detect.rules import SHIPPED, Ruleset
from firebreak.intake.access import Access, Tokens
from firebreak.intake.alerts import Alerts
from firebreak.intake.audit import AuditStream
from firebreak.intake.backlog import Backlog
from firebreak.intake.containers import Containers
from firebreak.intake.desk import Desk
from firebreak.intake.formats import FORMATS, alertmanager, generic
from firebreak.intake.limits import Budget, Rates
from firebreak.intake.listener import Listener
from firebreak.intake.metrics import Metrics
from firebreak.intake.refusal import Refusals
from firebreak.intake.routes import AUDIT, Routes, load
from firebreak.intake.server import Door, Entrance
from firebreak.intake.settings import IntakeSettings
from firebreak.intake.tls import CertificateError, Certificates
from firebreak.intake.work import Work
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError
from firebreak.kube.guard import RefusedBy, trial_of_intake
from firebreak.kube.retries import CallLimits
from firebreak.model.clock import Clock
from firebreak.model.policies import PEOPLE, remedy
from firebreak.outward.sink import Sink, outputs
from firebreak.service import health
from firebreak.service.supervise import TURN, Pulse, Run, supervise

log = structlog.get_logger()

RELOAD = 2.0  # seconds between looks at mounted files
GRACE = 20.0  # seconds for what was accepted to be opened, when this process is told to end
LIMITS = CallLimits(timeout=5.0, budget=7.0)  # below alerts.ANSWER: who waits is told
PATIENT = frozenset({alertmanager.SOURCE, generic.SOURCE})
"""Whose senders wait for the Incident and send again what was refused with 5xx (see `alerts`)."""
PATHS: Mapping[str, str] = {name: "alerts" if name == generic.SOURCE else name for name in FORMATS}
"""Format to path."""
NOBODY = "{} holds no token that is good, so nobody could send: want a file for each sender, with 16 characters or more"
OPEN = "anybody could open incidents: name FIREBREAK_INTAKE_TOKENS, or FIREBREAK_INTAKE_CLIENT_CA with _CLIENT_NAMES"
UNBOUND = "policy firebreak-intake is not in force for this account"
CLEAR = "tokens would cross the network in the clear: name FIREBREAK_INTAKE_TLS"


class StartError(Exception):
    """The intake will not start as it is set. The text says why and what to do."""


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass
class Intake:
    """Everything of a running intake. Open with `async with await Intake.start(settings, insecure=False)`."""

    settings: IntakeSettings
    api: Api
    tokens: Tokens
    certificates: Certificates | None
    access: Access
    routes: Routes
    ruleset: Ruleset
    clock: Clock = now
    metrics: Metrics = field(default_factory=Metrics)
    port: int = 0

    def __post_init__(self) -> None:
        settings, metrics = self.settings, self.metrics
        self._pulse = Pulse()
        self._tasks: list[asyncio.Task[None]] = []
        self._probes: web.AppRunner | None = None
        self.problem = ""  # of the mounted files
        refusals = Refusals(metrics.refused)
        # Of two budgets: a batch of audit events keeps its bytes until its findings have found room.
        bodies, alerts = (Budget(settings.buffer_bytes // 2) for _ in range(2))
        self.desk = Desk(self.api, self.routes, Containers(self.api), metrics, self.clock)
        self.backlog = Backlog(self.desk, alerts, metrics)
        self._siem = Sink(outputs(settings), Work.SIEM, metrics.siem_records, metrics.background_failures)
        self._stream = self._rules(bodies)
        door = Door(
            entrances=self._entrances(),
            access=self.access,
            rates=Rates(settings.rate, settings.burst),
            budget=bodies,
            refusals=refusals,
            metrics=metrics,
            body_seconds=settings.body_seconds,
        )
        self._listener = Listener(
            door.handle, self._context, refusals, most=settings.connections, head_seconds=settings.head_seconds
        )
        metrics.watch("buffer_bytes", "Bytes that are held.", lambda: bodies.held + alerts.held)
        metrics.watch("connections", "Connections that are open.", lambda: self._listener.open)
        metrics.watch("waiting", "Alerts that were accepted and have no Incident yet.", lambda: len(self.backlog))

    @classmethod
    async def start(cls, settings: IntakeSettings, *, insecure: bool) -> Self:
        """Read what is mounted, and connect. Raises `StartError`, and what is wrong with a file."""
        tokens = Tokens(settings.tokens, frozenset({*PATHS.values(), AUDIT}))
        access = Access(tokens, frozenset(settings.client_names), insecure)
        if not insecure and not (len(tokens) or access.names):
            raise StartError(NOBODY.format(settings.tokens) if settings.tokens else OPEN)
        if not insecure and settings.tls is None:
            raise StartError(CLEAR)
        certificates = Certificates(settings.tls, settings.client_ca) if settings.tls else None
        if certificates and settings.client_ca and not settings.client_ca.exists():
            log.warning("no client certificate counts until this file is there", file=str(settings.client_ca))
        routes, ruleset = routes_of(settings.routes), ruleset_of(settings)
        api = await Api.connect(settings.kubeconfig, limits=LIMITS)
        api.session.headers["User-Agent"] = f"firebreak-intake/{__version__}"  # up to the slash: the field manager
        if access.open:
            log.error("insecure: whoever reaches the port opens incidents")
        return cls(settings, api, tokens, certificates, access, routes, ruleset)

    async def __aenter__(self) -> Self:
        try:
            self.port = self._listener.bind(self.settings.port)
            probes = health.serve(self.settings.probe_port, self.metrics.registry, self._pulse, lambda: True)
            self._probes = await probes
        except OSError:  # a port that is taken
            await self.api.session.close()
            raise
        self._keep(Work.LISTEN, self._listener.run)
        self._keep(Work.RELOAD, self._reload)
        self._keep(Work.REPEATS, self.desk.repeats.run)
        self._keep(Work.GUARD, self._look_at_guard)
        self._keep(Work.DETECT, self._stream.run)
        if self.settings.audit_log and self.settings.audit_checkpoint:
            tail = Tail(self.settings.audit_log, self.settings.audit_checkpoint)
            self._keep(Work.FOLLOW, partial(self._stream.follow, tail))
        log.info("listening", port=self.port, paths=sorted(self._entrances()), tls=self.certificates is not None)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing more, and finish what was accepted."""
        await self._listener.close(GRACE)
        await self.backlog.drain(GRACE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._siem.close()
        await self.desk.repeats.flush()
        if self._probes:
            await self._probes.cleanup()
        await self.api.session.close()

    def _entrances(self) -> dict[str, Entrance]:
        most, parts = self.settings.alert_bytes, (self.backlog, self.metrics, self.clock)
        found = {
            PATHS[name]: Entrance(most, Alerts(parse, name in PATIENT, *parts).take) for name, parse in FORMATS.items()
        }
        return found | {AUDIT: Entrance(self.settings.audit_bytes, self._stream.take)}

    def _rules(self, budget: Budget) -> AuditStream:
        detector = Detector(self.ruleset)
        self.metrics.watch_counts(detector.counts)
        return AuditStream(
            lambda event: detector.feed(event, self.clock()), self._tell, self.backlog, budget, self.metrics
        )

    def _tell(self, finding: Finding) -> None:
        if self._siem:
            self._siem.offer(finding_record(finding, self.settings.cluster))

    def _context(self) -> ssl.SSLContext | None:
        return self.certificates.context if self.certificates else None

    def _keep(self, work: Work, run: Run) -> None:
        self._tasks.append(asyncio.create_task(supervise(work, run, self.metrics.background_failures), name=work))

    async def _reload(self) -> None:
        """Look at the mounted files again and again. What is no good is said once, and what was good goes on."""
        while True:
            self._pulse.expect(Work.RELOAD, TURN)
            self.tokens.refresh()
            try:
                if self.certificates and self.certificates.refresh():
                    self._listener.renew()
                    log.info("certificates read")
                self.problem = ""
            except CertificateError as error:
                if str(error) != self.problem:
                    log.error("certificates not read; the ones before go on", problem=str(error))  # noqa: TRY400
                self.problem = str(error)
            await asyncio.sleep(RELOAD)

    async def _look_at_guard(self) -> None:
        """Say at the start whether the API server confines this account; it opens incidents either way."""
        try:
            if await trial_of_intake(self.settings.namespace).refused_by(self.api) is RefusedBy.NOBODY:
                log.error("guard missing", problem=UNBOUND, do=remedy(PEOPLE))
        except ApiError as error:
            log.warning("guard not tried", error=str(error))


def routes_of(file: Path | None) -> Routes:
    """Return the settings file's routes, the shipped ones without a file. Raises `RoutesError`, OSError."""
    return load(file.read_text(), str(file)) if file else Routes()


def ruleset_of(settings: IntakeSettings) -> Ruleset:
    """Return the rules that ship, and those that the settings name. Raises `RuleErrors`, OSError."""
    paths = (SHIPPED, settings.rules) if settings.rules else (SHIPPED,)
    return Ruleset.load(paths, read_allowances(settings.allow) if settings.allow else ())


async def receive(settings: IntakeSettings, *, insecure: bool, stop: asyncio.Event | None = None) -> None:
    """Run the intake until it is told to stop: by SIGTERM or SIGINT, or the event."""
    told = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with await Intake.start(settings, insecure=insecure):
        gc.collect()
        gc.freeze()  # what start-up made stays; a collection that walks it would hold up an alert
        await told.wait()
