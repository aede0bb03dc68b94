"""The cases in hand: each is opened once, from what the API server has, with the playbook that it runs."""

import asyncio
import math
from datetime import datetime

from firebreak.api.base import Json
from firebreak.api.playbook import QUARANTINE, PlaybookSpec
from firebreak.api.status import PlaybookSnapshot, StepState
from firebreak.engine.case import Case, Tools
from firebreak.engine.journal import Journal
from firebreak.engine.playbooks import fetch
from firebreak.kube.errors import ApiError
from firebreak.model.incident import Incident, read
from firebreak.model.plan import joined
from firebreak.model.record import ENDED, stamp, step

FirstSight = tuple[datetime, float]
"""When this process first saw an incident: by the clock of records, and by the monotonic one."""

PLAN_AGE = 0.25  # seconds for each open incident until a plan that waits for people is made anew without a reason


class Cases:
    """The leader's cases, by the incident's uid."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cases: dict[str, Case] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._stirred: dict[str, set[str]] = {}
        self._broken = False  # the watch of Approvals

    def get(self, uid: str) -> Case | None:
        """Return the case when it is open."""
        return self._cases.get(uid)

    def ended(self, uid: str, name: str) -> bool:
        """Whether a step ended for now, for all pods: its own slow pause decides when it is looked at again."""
        return name != QUARANTINE and self._rests(uid, name, ENDED)

    def waits(self, uid: str, name: str) -> bool:
        """Whether a step waits for people with a young plan: the more incidents there are, the older it gets."""
        case = self._cases.get(uid)
        made = case.waiting.get(name, -math.inf) if case else -math.inf
        young = asyncio.get_running_loop().time() - made < PLAN_AGE * len(self._cases)
        return young and self._rests(uid, name, frozenset({StepState.WAITING}))

    def _rests(self, uid: str, name: str, states: frozenset[StepState]) -> bool:
        case = self._cases.get(uid)
        return case is not None and step(case.status, name).state in states and not joined(name, case.status)

    def approvals(self, error: ApiError | None) -> None:
        """Take a sign of life, or an error, of the watch of Approvals: a break may have hidden one from us."""
        if error or self._broken:
            for case in self._cases.values():
                case.waiting.clear()
        self._broken = error is not None

    def stir(self, uid: str, name: str) -> None:
        """Note that somebody may have undone a step, also where the case is yet to be opened."""
        case = self._cases.get(uid)
        (case.stirred if case else self._stirred.setdefault(uid, set())).add(name)

    def drop(self, uid: str) -> None:
        """Let go of a case; it is opened anew from what the API server has then."""
        self._cases.pop(uid, None)

    def forget(self, uid: str) -> None:
        """Let go of a case whose incident is gone or closed."""
        self.drop(uid)
        self._opening.pop(uid, None)
        self._stirred.pop(uid, None)

    def clear(self) -> None:
        """Let go of all cases."""
        self._cases.clear()
        self._stirred.clear()

    async def open(self, uid: str, raw: Json, seen: FirstSight | None) -> Case:
        """Return the case, opened from what the API server has: never from memory, never from an old event.

        `seen`: when this process first saw the incident.
        """
        async with self._opening.setdefault(uid, asyncio.Lock()):
            if case := self._cases.get(uid):
                return case
            incident = read(await self._tools.api.get(read(raw).ref))
            playbook, snapshot, problem = await self._playbook(incident)
            journal = Journal(self._tools.api, incident, playbook, self._tools.clock, self._tools.notices)
            journal.problem = problem
            if snapshot:
                journal.note(lambda s: s.model_copy(update={"playbook": snapshot}))
            at, moment = (stamp(seen[0]), seen[1]) if seen else (journal.now(), None)
            if not incident.status.timings.seen_at:
                journal.note(lambda s: s.model_copy(update={"timings": s.timings.model_copy(update={"seen_at": at})}))
            case = Case(self._tools, journal, stirred=self._stirred.pop(uid, set()), seen=moment)
            self._cases[uid] = case
            return case

    async def keep_playbook(self, case: Case) -> None:
        """Take another playbook when people name another, and look again for one that could not be used."""
        taken = case.status.playbook
        if case.journal.problem or (taken and taken.name != case.incident.spec.playbook):
            case.journal.playbook, snapshot, case.journal.problem = await self._playbook(case.incident)
            if snapshot:
                case.journal.note(lambda s: s.model_copy(update={"playbook": snapshot}))

    async def _playbook(self, incident: Incident) -> tuple[PlaybookSpec, PlaybookSnapshot | None, str]:
        """The snapshot of the start, unless people named another playbook since."""
        taken = incident.status.playbook
        if taken and taken.name == incident.spec.playbook:
            return taken.spec, None, ""
        return await fetch(self._tools.api, incident.spec.playbook)
