"""What `firebreak plan` does: open an incident of mode Plan if need be, and show the Changes."""

from firebreak.api.base import Json
from firebreak.cli import view
from firebreak.cli.cluster import connect
from firebreak.cli.containing import Opening, open_incident, require, settle
from firebreak.cli.session import Session
from firebreak.model.incident import Incident

CARRY_OUT = '{"spec":{"mode":"Respond"}}'


async def show_plan(session: Session, subject: Opening | str, *, seconds: float) -> None:
    """Show the plan of an incident, or of one opened for it. Raises Failure."""
    async with connect(session.options) as cluster:
        if isinstance(subject, Opening):
            await open_incident(cluster, session.terminal, subject)
            incident = await settle(cluster, subject, seconds=seconds)
            require(incident)
        else:
            incident = await cluster.incident(subject)
    session.terminal.emit(as_json(incident), lambda: view.plan(incident))
    if isinstance(subject, Opening):
        where = f"incident {incident.id.name} -n {incident.id.namespace}"
        session.terminal.note(f"to carry it out: kubectl patch {where} --type merge -p '{CARRY_OUT}'")
        session.terminal.note(f"to drop it: kubectl delete {where}")


def as_json(incident: Incident) -> Json:
    """Return the plan for programs: each step's state and Changes."""
    steps = (incident.raw.get("status") or {}).get("steps") or {}
    return {"incident": incident.id.name, "namespace": incident.id.namespace, "steps": steps}
