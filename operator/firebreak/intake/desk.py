"""The desk: an alert becomes an Incident, once, whoever else hands in the same one at the same moment.

No database: the Incident's name is a function of the alert, so the API server's uniqueness decides between replicas.
What is there already is a repeat; what is closed and happens again gets the next generation of the name, `-2`, `-3`.
What the API server will not have as it is (a namespace that is not there, a playbook that may not be used) is kept as
a plan without a target that says why, for nothing may be dropped silently.
"""

import asyncio
from dataclasses import replace

import structlog

from firebreak.api.base import Json
from firebreak.api.incident import Mode
from firebreak.intake.alert import Alert, Severity
from firebreak.intake.containers import Containers
from firebreak.intake.metrics import Metrics
from firebreak.intake.opening import Opening, incident, place
from firebreak.intake.repeats import Key, Repeats, news
from firebreak.intake.routes import Decision, Routes
from firebreak.intake.taken import Outcome, Taken
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, Forbidden, Invalid, NotFound
from firebreak.kube.lanes import Lane, lane
from firebreak.kube.seats import Seats
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.clock import Clock
from firebreak.model.loose import mapping
from firebreak.model.words import printable

log = structlog.get_logger()

GENERATIONS = 20  # incidents of one alert within its window
AT_ONCE = 8  # alerts whose calls are under way: as many as a cut's calls have seats (kube.lanes)
PLAYBOOK = "contain"  # of what is kept although it was refused: the one that every route may name


class NamesTaken(Exception):
    """All names that an alert's incident may have are taken; the message says which."""

    def __init__(self, name: str) -> None:
        self.message = f"{GENERATIONS} incidents have the name {name}, and none is about this, or all are closed"
        super().__init__(self.message)


class Desk:
    """Opens incidents. `routes` may be replaced at any time; `clock` is the wall clock."""

    def __init__(self, api: Api, routes: Routes, containers: Containers, metrics: Metrics, clock: Clock) -> None:
        self.routes = routes
        self.repeats = Repeats(api, self._again, metrics.uncounted)
        self._api = api
        self._containers = containers
        self._metrics = metrics
        self._clock = clock
        self._seats = Seats(lambda: AT_ONCE)
        self._under_way: dict[Key, asyncio.Task[Taken]] = {}

    async def take(self, alert: Alert, turn: str) -> Taken:
        """Open the incident of an alert of which `at_once` tells nothing, or count it, however long it had to wait.

        Senders take turns by `turn`, the critical ones of each apart. Raises `Unavailable`, and other errors that are
        no answer to this alert; it may be taken again then.
        """
        taken = await self._take(alert, self.routes.decide(alert), turn)
        self._metrics.alerts.labels(alert.source, taken.outcome).inc()
        return taken

    def at_once(self, alert: Alert) -> Taken | None:
        """Return what becomes of an alert about which nobody needs to be asked: old, ignored, or a repeat."""
        if old := self.routes.stale(alert, self._clock()):
            log.warning("alert refused", source=alert.source, rule=alert.rule, why=str(old))
            taken = Taken(Outcome.STALE, why=str(old))
        elif (decision := self.routes.decide(alert)).ignore:
            log.info("alert ignored", source=alert.source, rule=alert.rule, route=decision.route)
            taken = Taken(Outcome.IGNORED, why=f"route {decision.route} says so")
        else:
            return self.again(alert, 1)
        self._metrics.alerts.labels(alert.source, taken.outcome).inc()
        return taken

    def again(self, alert: Alert, times: int) -> Taken | None:
        """Count so many repeats of an alert; None when no incident of it is known here."""
        decision = self.routes.decide(alert)
        known = self.repeats.count(_key(alert, decision), alert, times)
        if known is None:
            return None
        self._metrics.alerts.labels(alert.source, Outcome.REPEATED).inc(times)
        return Taken(Outcome.REPEATED, known.namespace or "", known.name)

    async def _take(self, alert: Alert, decision: Decision, turn: str) -> Taken:
        key = _key(alert, decision)
        while under_way := self._under_way.get(key):
            await asyncio.shield(under_way)
        if known := self.repeats.count(key, alert):
            return Taken(Outcome.REPEATED, known.namespace or "", known.name)
        task = asyncio.create_task(self._open(key, alert, decision, turn))
        self._under_way[key] = task
        task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)  # who waits may go; what was begun is finished

    def _done(self, key: Key, task: asyncio.Task[Taken]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # who waits is told; who went away need not be

    async def _open(self, key: Key, alert: Alert, decision: Decision, turn: str) -> Taken:
        opening = incident(alert, decision)
        if opening.unresolved:
            resolved = await self._containers.resolve(opening.unresolved)
            opening = incident(replace(alert, subject=resolved.subject), decision, lost=resolved.why)
        async with self._seats.seat(f"{turn} {alert.severity is Severity.CRITICAL}"):
            with lane(Lane.CUT):
                try:
                    return await self._create(key, opening, alert, decision)
                except NamesTaken as error:
                    return await self._keep(key, alert, decision, error.message)
                except (NotFound, Forbidden, Invalid) as error:
                    why = f"the API server refused it: {printable(error.message)}"
                    return await self._keep(key, alert, decision, why)

    async def _keep(self, key: Key, alert: Alert, decision: Decision, why: str) -> Taken:
        """Keep an alert that cannot be what its route says as a plan, where such things are looked for."""
        log.error("alert kept as a plan", source=alert.source, rule=alert.rule, route=decision.route, why=why)
        plan = incident(alert, replace(decision, playbook=PLAYBOOK), lost=why)
        try:
            return await self._create(key, plan, alert, decision)
        except (NamesTaken, NotFound, Forbidden, Invalid) as error:
            words = f"namespace {decision.fallback_namespace} does not take it either: {printable(error.message)}"
            log.error("alert lost", source=alert.source, rule=alert.rule, summary=alert.summary, why=words)  # noqa: TRY400
            return Taken(Outcome.LOST, why=words)

    async def _create(self, key: Key, opening: Opening, alert: Alert, decision: Decision) -> Taken:
        """Create the first generation that is neither over nor of something else. Raises `ApiError`, `NamesTaken`."""
        for generation in range(1, GENERATIONS + 1):
            name = opening.name if generation == 1 else f"{opening.name}-{generation}"
            ref = Ref("Incident", name, opening.namespace)
            created = await self._created(ref, opening.body)
            found = None if created else await find(self._api, ref)
            if found and (news(alert, found) or not _covers(found, opening.body)):
                continue
            self.repeats.learn(key, ref, alert, decision)
            if created:
                log.info("incident opened", incident=name, namespace=opening.namespace, rule=alert.rule)
                return Taken(Outcome.OPENED, opening.namespace, name)
            self.repeats.count(key, alert)  # of one that went at this very moment, the count finds it gone
            return Taken(Outcome.REPEATED, opening.namespace, name)
        raise NamesTaken(opening.name)

    async def _created(self, ref: Ref, body: Json) -> bool:
        named = {**body, "metadata": {**body["metadata"], "name": ref.name}}
        try:
            await self._api.create("Incident", ref.namespace, named)
        except AlreadyExists:
            return False
        return True

    async def _again(self, alert: Alert, decision: Decision) -> None:
        await self._take(alert, decision, "repeats")


def _key(alert: Alert, decision: Decision) -> Key:
    return (*place(alert, decision), *decision.reach)


def _covers(found: Json, wanted: Json) -> bool:
    """Whether an incident of the name is about the same thing: who may create incidents could take the name before.

    And goes as far (`Decision.reach`): what is only planned covers nothing that is to be responded to.
    """
    there, asked = mapping(found.get("spec")), wanted["spec"]
    if any(there.get(key) != asked.get(key) for key in ("target", "podUID")):
        return False
    as_far = all(there.get(key) == asked[key] for key in ("mode", "playbook"))
    as_bad = there.get("severity") == Severity.CRITICAL or asked["severity"] != Severity.CRITICAL
    return asked["mode"] == Mode.PLAN or (as_far and as_bad)
