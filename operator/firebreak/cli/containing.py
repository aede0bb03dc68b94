"""What `firebreak contain` does: write the Incident, wait for what it is about, say honestly what came of it."""

import asyncio
import json
from dataclasses import dataclass

import yaml

from firebreak.api import bounds
from firebreak.api.base import Json
from firebreak.api.incident import Mode
from firebreak.api.status import Phase
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.failure import Failure
from firebreak.cli.opening import manifest, pinned, wait_for, wanted_condition
from firebreak.cli.session import Session
from firebreak.cli.terminal import Form, Terminal, words
from firebreak.model.change import Ref
from firebreak.model.incident import Incident

PASSING = frozenset({"TargetNotFound", "NotCut"})  # reasons of Contained=False that the operator goes on about


@dataclass(frozen=True)
class Opening:
    """The incident that a person wants to open."""

    name: str
    target: Ref
    reason: str
    mode: str
    severity: str | None = None
    playbook: str | None = None

    def incident(self, target: Ref | None = None, opened_by: str | None = None) -> Json:
        """Return the Incident, about the target as it was found."""
        return manifest(
            self.name,
            target or self.target,
            mode=self.mode,
            reason=self.reason,
            severity=self.severity,
            playbook=self.playbook,
            openedBy=opened_by if opened_by and len(opened_by) <= bounds.USER else None,
        )

    def as_text(self, form: Form) -> str:
        """Return the manifest: JSON when asked for, else YAML."""
        if form is Form.JSON:
            return json.dumps(self.incident(), indent=2)
        return yaml.safe_dump(self.incident(), sort_keys=False)


async def contain_target(session: Session, opening: Opening, *, seconds: float | None) -> None:
    """Open the incident and, unless `seconds` is None, wait. Raises Failure when it is not verified to hold."""
    async with connect(session.options) as cluster:
        created = await open_incident(cluster, session.terminal, opening)
        if seconds is None:
            session.terminal.emit(created, lambda: words(f"incident {opening.name} opened"))
            return
        incident = await settle(cluster, opening, seconds=seconds)
    session.terminal.emit(incident.raw, lambda: words(incident.status.message))
    require(incident)


async def open_incident(cluster: Cluster, terminal: Terminal, opening: Opening) -> Json:
    """Write the Incident and return it. Raises Failure when the target is not there."""
    target, user = await asyncio.gather(pinned(cluster, opening.target), cluster.user())
    created = await cluster.api.create("Incident", target.namespace, opening.incident(target, user))
    terminal.note(f"opened incident {target.namespace}/{opening.name} about {target}")
    return created


async def settle(cluster: Cluster, opening: Opening, *, seconds: float) -> Incident:
    """Wait until it is decided whether the incident came to what it is about."""
    wanted = wanted_condition(Mode(opening.mode)) or "its plan"
    return await wait_for(cluster, opening.name, decided, seconds=seconds, waited_for=wanted)


def require(incident: Incident) -> None:
    """Raise Failure when the incident did not come to what it is about."""
    if problem := unmet(incident):
        raise Failure(problem, f"firebreak status {incident.id.name} -n {incident.id.namespace}")


def decided(incident: Incident) -> bool:
    """Return whether waiting longer would tell a person nothing new about what was asked."""
    if incident.status.phase in {Phase.STALLED, Phase.CLOSED}:
        return True
    kind = wanted_condition(incident.spec.mode)
    if kind is None:
        return incident.status.phase is Phase.PLANNED
    condition = incident.status.condition(kind)
    if condition is None:
        return False
    return condition.status != "False" or (kind == "Contained" and condition.reason not in PASSING)


def unmet(incident: Incident) -> str:
    """Return what is not as asked, empty when all is."""
    kind = wanted_condition(incident.spec.mode)
    if kind is None:
        planned = incident.status.phase is Phase.PLANNED
        return "" if planned else f"no plan: {incident.status.message}"
    condition = incident.status.condition(kind)
    if condition is None:
        return f"{kind} was never observed: {incident.status.message}"
    return (
        "" if condition.status == "True" else f"{kind} is {condition.status} ({condition.reason}): {condition.message}"
    )
