"""The controller: takes hints from the watch, asks the planner what may run, and keeps every incident moving."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from firebreak.api.base import Json
from firebreak.api.incident import Mode
from firebreak.api.playbook import CAPTURE, QUARANTINE, STEP_NAMES
from firebreak.api.status import Phase, StepState
from firebreak.engine import capture, containment, planning, stage
from firebreak.engine.case import Case, Tools
from firebreak.engine.cases import Cases, FirstSight
from firebreak.engine.cutting import Cut, cut, grows, uncut
from firebreak.engine.eradicate import STAGES
from firebreak.engine.following import Following
from firebreak.engine.incidents import listed
from firebreak.engine.jobs import JobKey, Jobs
from firebreak.engine.journal import SupersededError, report_invalid
from firebreak.engine.watches import Watches
from firebreak.engine.work import Work
from firebreak.kube import survey
from firebreak.kube.errors import PERMANENT, ApiError, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from firebreak.kube.seats import Seats
from firebreak.model.incident import BadSpecError, identify, read, reference
from firebreak.model.loose import mapping
from firebreak.model.plan import PLAN_JOB, joined, ready, sealed
from firebreak.model.rails import Held
from firebreak.model.record import AT_REST, ENDED, step
from firebreak.service.supervise import TURN
from firebreak.steps.drift import Followed

log = structlog.get_logger()

FOLLOW, OPEN, CLOSE = "follow", "open", "close"
LIST_AGAIN = 1.0  # seconds: after a change of leaders nothing is cut before the list
SHORT, LONG = 32, 128  # jobs of one kind at once: short ones, and those that may wait for pods or for people
Handler = Callable[[Case], Awaitable[float | None]]
_FIRST = {Mode.RESPOND: (QUARANTINE,), Mode.PRESERVE: (OPEN,), Mode.PLAN: (PLAN_JOB,)}


class Controller:
    """All incidents in hand. `seen` and `lead` never block; the work is done by jobs."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.leading = False
        self.listed = False  # whether the API server has let us see the incidents
        self._latest: dict[str, Json] = {}
        self._seen: dict[str, FirstSight] = {}
        self.cases = Cases(tools)
        self._following = Following(tools, self._latest)
        self._watches = Watches(tools.api, tools.metrics, self._hint)
        self.look_now = asyncio.Event()  # list the incidents, and look at each
        self.jobs = Jobs(self._run)
        tools.metrics.incidents.set_function(lambda: len(self._latest))
        tools.metrics.conditions.incidents = lambda: list(self._latest.values())
        tools.metrics.jobs.set_function(lambda: len(self.jobs))
        self._places = {name: Seats(lambda: LONG) for name in STEP_NAMES if name != QUARANTINE}
        self._places |= {name: Seats(lambda: SHORT) for name in (QUARANTINE, OPEN, CLOSE, PLAN_JOB)}
        self._handlers: Mapping[str, Handler] = {
            QUARANTINE: self._quarantine,
            CAPTURE: capture.run,
            PLAN_JOB: planning.run,
            CLOSE: self._close,
            OPEN: containment.leave_uncut,
            **{each.name: partial(stage.run, stage=each) for each in STAGES},
        }

    def seen(self, raw: Json, *, deleted: bool) -> None:
        """Take a hint. A deleted incident lifts nothing; a closed one leaves the watch as deleted.

        A bug that one incident meets must not keep the others from being seen.
        """
        try:
            self._take(raw, deleted=deleted)
        except Exception:  # it is logged and counted, and the resync tries again
            self.tools.metrics.background_failures.labels(Work.INCIDENTS).inc()
            log.exception("an incident could not be taken in", incident=str(identify(raw)))

    def _take(self, raw: Json, *, deleted: bool) -> None:
        uid = identify(raw).uid
        if deleted:
            self._forget(uid)
            return
        self._seen.setdefault(uid, (self.tools.clock(), time.monotonic()))
        before, self._latest[uid] = self._latest.get(uid), raw
        self.tools.rails.saw(raw)
        self._following.saw(before, raw)
        self._watches.keep(Followed.of(raw), leading=self.leading)
        if before is None or before["metadata"].get("generation") != raw["metadata"].get("generation"):
            self.wake(uid)  # else only the status moved, and that was us

    def approved(self, raw: Json) -> None:
        """Take a hint that somebody approved something: the incident that it names looks again."""
        wanted = f"{raw['metadata'].get('namespace')}/{mapping(raw.get('spec')).get('incident')}"
        for uid, each in list(self._latest.items()):
            if self.leading and str(identify(each)) == wanted:
                self.wake(uid)

    def lead(self, leading: bool) -> None:  # noqa: FBT001 - the Lease's callback
        """Begin or stop to do what must happen once."""
        self.leading = leading
        self.tools.metrics.leader.set(leading)
        self.jobs.drop(lambda _: True)  # what must happen once happens on the leader only
        self.cases.clear()
        self.look_now.set()

    def wake_all(self) -> None:
        """Look at every incident in hand."""
        for uid in list(self._latest):
            self.wake(uid)

    async def resync(self, every: float) -> None:
        """Look at every open incident again and again, and at once when leadership changes, until cancelled.

        What the API server has is looked at, never an old event: an incident that was closed while the watch was
        broken must not be cut again.
        """
        while True:
            self.tools.pulse.expect(Work.RESYNC, every + TURN)
            pause = every
            try:
                await self.relist()
                for uid in list(self._latest):
                    self.wake(uid, resync=True)
                    await asyncio.sleep(0)  # a cut may be due, and to read a thousand incidents takes a while
                self.tools.metrics.resyncs.inc()
            except Unauthorized:
                pass  # `Known` says so, and when it is over
            except ApiError as error:
                log.warning("incidents could not be listed", error=str(error), next_try_in=LIST_AGAIN)
                pause = LIST_AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.look_now.wait()
            self.look_now.clear()

    async def relist(self) -> str:
        """Take over what the API server has; return of which version. Raises `ApiError` when it does not say."""
        known = set(self._latest)  # what comes while the list is read may be newer, and is not gone
        incidents, version = await listed(self.tools.api)
        self.listed = True
        for uid in known - set(incidents):
            self._forget(uid)
        for raw in incidents.values():
            self.seen(raw, deleted=False)
        return version

    def wake(self, uid: str, *, resync: bool = False) -> None:
        """Make everything that may run for an incident run. `resync`: nothing says that the world moved."""
        raw = self._latest.get(uid)
        for name in self._due(uid, raw) if raw else ():
            key = JobKey(uid, name)
            if not (self.cases.ended(uid, name) and key in self.jobs) and not (resync and self.cases.waits(uid, name)):
                self.jobs.wake(key)

    def _due(self, uid: str, raw: Json) -> tuple[str, ...]:
        try:
            incident = read(raw)
        except BadSpecError as error:
            log.warning("incident cannot be understood", incident=str(identify(raw)), error=str(error))
            return (OPEN,) if self.leading else ()
        if not self.leading:
            return (FOLLOW,) if uncut(incident) or grows(incident) else ()
        case = self.cases.get(uid)
        if case:
            case.journal.refresh(incident)
        if incident.closed:
            return (CLOSE,)
        if case is None:  # the cut waits for nothing, not even for the playbook
            return _FIRST[incident.spec.mode]
        return ready(incident.spec, case.status, case.playbook)

    async def close(self) -> None:
        """End all jobs. What they did is in the status and the store; the next leader continues."""
        await self.jobs.close()
        self._watches.close()

    def _forget(self, uid: str) -> None:
        raw = self._latest.pop(uid, None)
        self.cases.forget(uid)
        self._seen.pop(uid, None)
        self._watches.end(uid)
        self.tools.rails.forget(uid)
        if raw is not None:
            log.info("incident left the watch; its quarantine stays", incident=str(identify(raw)))
            self.jobs.drop(lambda key: key.uid == uid)

    async def _run(self, key: JobKey) -> float | None:
        """Do one job once."""
        raw = self._latest.get(key.uid)
        if raw is None or (key.job != FOLLOW and not self.leading):
            return None
        structlog.contextvars.bind_contextvars(incident=str(identify(raw)), step=key.job)  # of this job's task alone
        started, before = time.monotonic(), self._progress(key)
        result = "error"
        try:
            again = await (
                self._following.follow(key.uid, lambda: self.leading) if key.job == FOLLOW else self._lead_job(key, raw)
            )
            result = "again" if again is not None else "settled"
        except NotFound as error:
            if await survey.find(self.tools.api, reference(raw)):
                raise
            log.info("the incident was deleted meanwhile", error=str(error))
            self._forget(key.uid)
            return None
        except Unauthorized:
            return None  # no answer to anything; `Known` says so, and begins anew when it is over
        except BadSpecError as error:
            await report_invalid(self.tools.api, raw, str(error), self.tools.clock())
            again = None
        except SupersededError as error:
            log.warning("stepping back", reason=str(error))
            self.cases.drop(key.uid)
            self.jobs.drop(lambda other: other.uid == key.uid and other != key)
            again = 1.0
        finally:
            self.tools.metrics.step_seconds.labels(key.job).observe(time.monotonic() - started)
            self.tools.metrics.step_results.labels(key.job, result).inc()
        if key.job not in {CLOSE, FOLLOW} and (again is None or self._progress(key) != before):
            self._wake_others(key)
        return again

    def _progress(self, key: JobKey) -> object:
        """What other steps may wait for: it differs when a job has moved something."""
        case = self.cases.get(key.uid)
        return case and (step(case.status, key.job).state, len(case.status.pods), sealed(case.status))

    def _wake_others(self, key: JobKey) -> None:
        """Start what this job made possible, or what ran before a restart; what waits is asked at the resync."""
        case, raw = self.cases.get(key.uid), self._latest.get(key.uid)
        if case is None or raw is None:
            return
        for name in self._due(key.uid, raw):
            state = step(case.status, name).state
            asked = name in case.looked_after or state is not StepState.WAITING  # approved while nobody led, say
            waits = (state in AT_REST and asked) or JobKey(key.uid, name) in self.jobs
            again = state in ENDED and joined(name, case.status)
            if name not in {QUARANTINE, key.job} and (again or not waits):
                self.jobs.wake(JobKey(key.uid, name))

    async def _lead_job(self, key: JobKey, raw: Json) -> float | None:
        incident = read(raw)
        made: Cut | Held | ApiError | None = None
        if key.job == QUARANTINE and self.cases.get(key.uid) is None and uncut(incident):
            try:
                made = await cut(self.tools, incident)
            except (Forbidden, Invalid) as error:
                made = error
        async with self._places[key.job].seat(incident.id.namespace):
            return await self._respond(key, self._latest.get(key.uid, raw), made)

    async def _respond(self, key: JobKey, raw: Json, made: Cut | Held | ApiError | None) -> float | None:
        """Do what comes after the first cut; `made`: what became of it, if it was tried just now."""
        case = await self.cases.open(key.uid, raw, self._seen.get(key.uid))
        if isinstance(made, ApiError):
            return await containment.refused(case, made)
        if isinstance(made, Cut):
            containment.record_cut(case, made)
        if case.incident.over:
            self._forget(key.uid)
            return None
        await self.cases.keep_playbook(case)
        if key.job not in {*self._due(key.uid, raw), OPEN}:
            return None  # settled meanwhile
        return await self._handlers[key.job](case)

    def _hint(self, uid: str, name: str) -> None:
        """Look at a step of an incident: something that concerns it has changed."""
        raw = self._latest.get(uid)
        if raw and name == QUARANTINE:
            with contextlib.suppress(BadSpecError):
                self.jobs.wake(JobKey(uid, _FIRST[read(raw).spec.mode][0] if self.leading else FOLLOW))
        elif raw and self.leading:
            self.cases.stir(uid, name)
            self.jobs.wake(JobKey(uid, name))

    async def _quarantine(self, case: Case) -> float | None:
        try:
            return await containment.contain(case, lambda: self._wake_others(JobKey(case.id.uid, QUARANTINE)))
        except (*PERMANENT, Unavailable) as error:
            said = containment.unverified if case.status.timings.cut_at else containment.refused
            return await said(case, error)

    async def _close(self, case: Case) -> None:
        """The last word. The quarantine stays until somebody with the right to lifts it."""
        self.jobs.drop(lambda key: key.uid == case.id.uid and key.job != CLOSE)
        timings = case.status.timings.model_copy(update={"closed_at": case.journal.now()})
        await case.journal.write(lambda s: s.model_copy(update={"phase": Phase.CLOSED, "timings": timings}))
