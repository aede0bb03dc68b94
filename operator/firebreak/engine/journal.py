"""The journal of one incident: its status is the only state, and this is the only place that writes it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import structlog

from firebreak.api.base import Json
from firebreak.api.playbook import PlaybookSpec
from firebreak.api.status import IncidentStatus, Phase
from firebreak.engine.notices import Notices
from firebreak.kube.client import Api
from firebreak.kube.errors import Conflict, Invalid
from firebreak.model.clock import Clock
from firebreak.model.incident import Incident, read, read_status, reference
from firebreak.model.plan import steps_of
from firebreak.model.record import difference, dump, stamp
from firebreak.model.verdict import READY, RECONCILING, STALLED, Verdict, conclude, record

log = structlog.get_logger()

MOST_TRIES = 5  # of one write, while people edit the incident
Edit = Callable[[IncidentStatus], IncidentStatus]


INVALID: Final[tuple[tuple[str, Literal["True", "False"]], ...]] = (
    (STALLED, "True"),
    (READY, "False"),
    (RECONCILING, "False"),
)


class SupersededError(Exception):
    """Somebody else writes this incident's status, or it was closed: stop, and read the world again."""


class Journal:
    """Edits are applied in memory at once and written together; several edits may share one write."""

    def __init__(self, api: Api, incident: Incident, playbook: PlaybookSpec, clock: Clock, notices: Notices) -> None:
        self.incident = incident
        self.playbook = playbook
        self.status = incident.status
        self.problem = ""  # what keeps the whole incident from going on, in words
        self.unguarded: dict[
            str, str
        ] = {}  # by tier: what does not fence our own account, in words; empty when all does
        self.clock = clock
        self._api = api
        self._notices = notices
        self._written = dump(incident.status)
        self._version = incident.resource_version
        self._lock = asyncio.Lock()

    def now(self) -> str:
        """The time, as it stands in records."""
        return stamp(self.clock())

    def note(self, *edits: Edit) -> None:
        """Apply edits in memory; the next write carries them."""
        for edit in edits:
            self.status = edit(self.status)

    def refresh(self, incident: Incident) -> None:
        """Take over what people wrote, unless it is older than what we know. The status stays ours."""
        if incident.generation >= self.incident.generation:
            self.incident = incident

    async def write(self, *edits: Edit) -> None:
        """Apply edits and write the status.

        Raises `NotFound` when the incident was deleted, also when a new one has its name, and `SupersededError`.
        """
        self.note(*edits)
        async with self._lock:
            before = self._written
            await self._flush()
        self._notices.announce(self.incident, before, self._written, self._notified)

    def _notified(self, wait: str) -> None:
        """Keep which wait for a person was told outside the cluster; the next write carries it."""
        self.note(lambda s: s.model_copy(update={"notified": wait}))

    async def intend(self, *edits: Edit) -> None:
        """Write before acting. Raises `SupersededError` when people closed the incident meanwhile."""
        await self.write(*edits)
        if self.incident.closed:
            raise SupersededError(f"incident {self.incident.id} was closed")

    async def _flush(self) -> None:
        """Write what differs, if nobody else wrote since: a patch of a status is not refused for its uid (seen)."""
        for _ in range(MOST_TRIES):
            after = self._concluded()
            patch = difference(self._written, after)
            if not patch:
                return
            body = {"metadata": {"resourceVersion": self._version}, "status": patch}
            try:
                answer = await self._api.patch(self.incident.ref, body, subresource="status")
            except Conflict:
                if await self._reread(after):
                    return
            except Invalid as error:
                if "unknown field" in error.message:
                    await self._say_outdated(error)
                raise
            else:
                self._version, self._written = answer["metadata"]["resourceVersion"], after
                return
        raise SupersededError(f"incident {self.incident.id} kept changing while its status was written")

    def _concluded(self) -> Json:
        incident = self.incident
        self.status = conclude(
            incident.id,
            incident.spec,
            self.status,
            steps_of(incident.spec, self.playbook, self.status),
            problem=self.problem,
            unguarded=tuple(filter(None, self.unguarded.values())),
            now=self.now(),
            generation=incident.generation,
        )
        return dump(self.status)

    async def _say_outdated(self, error: Invalid) -> None:
        """The CRD does not know what this Firebreak writes: say so in what every version knows. The cut goes on."""
        words = (
            "this cluster's CRDs are older than the Firebreak that runs, which can put nothing on record: "
            f"kubectl apply --server-side -k crds, of the version that runs ({error.message})"
        )
        verdict = Verdict(STALLED, "True", "OutdatedCRD", words)
        told = record(
            IncidentStatus.model_validate(self._written),
            verdict,
            now=self.now(),
            generation=self.incident.generation,
        )
        after = dump(told.model_copy(update={"phase": Phase.STALLED, "message": words}))
        if patch := difference(self._written, after):
            body = {"metadata": {"resourceVersion": self._version}, "status": patch}
            answer = await self._api.patch(self.incident.ref, body, subresource="status")
            self._version, self._written = answer["metadata"]["resourceVersion"], after

    async def _reread(self, after: Json) -> bool:
        """Look who wrote: people may at any time, another leader means that we stop. True: it was we, unanswered."""
        raw = await self._api.get(self.incident.ref)
        there = dump(read_status(raw))
        if there not in (self._written, after):
            raise SupersededError(f"the status of incident {self.incident.id} was written by somebody else")
        self.incident = read(raw)
        self._version, self._written = self.incident.resource_version, there
        return there == after


async def report_invalid(api: Api, raw: Json, problem: str, moment: datetime) -> None:
    """Say in the status of an incident that its spec cannot be understood. Nothing else of it is touched."""
    now = stamp(moment)
    generation = int(raw["metadata"].get("generation", 1))
    words = f"the spec cannot be carried out: {problem}. Correct it and apply it again"
    before = read_status(raw)
    after = before.model_copy(update={"phase": Phase.STALLED, "message": words, "observed_generation": generation})
    for kind, status in INVALID:
        after = record(after, Verdict(kind, status, "InvalidSpec", words), now=now, generation=generation)
    if patch := difference(dump(before), dump(after)):
        version = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        await api.patch(reference(raw), {"metadata": version, "status": patch}, subresource="status")
