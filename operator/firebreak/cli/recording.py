"""Putting a release on record: the operator does not look at closed incidents, and none may go on claiming a cut."""

from datetime import UTC, datetime

from firebreak.api.incident import IncidentStatus
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden, NotFound
from firebreak.model.incident import Incident, read_status
from firebreak.model.record import difference, dump, stamp
from firebreak.model.verdict import CONTAINED, IDENTITY, Verdict, record, summary


async def record_release(api: Api, incident: Incident, *, network: bool, rights: bool) -> str:
    """Say in the incident's status what was released; return why it could not be said, or nothing.

    Needs the right to patch incidents/status. Without it the release stands all the same.
    """
    try:
        raw = await api.get(incident.ref)
        before = read_status(raw)
        after = released(before, incident, network=network, rights=rights, now=stamp(datetime.now(UTC)))
        if patch := difference(dump(before), dump(after)):
            await api.patch(incident.ref, {"status": patch}, subresource="status")
    except NotFound:
        return ""
    except Forbidden as error:
        return f"the incident's status still tells of the time before the release: {error.message}"
    return ""


def released(status: IncidentStatus, incident: Incident, *, network: bool, rights: bool, now: str) -> IncidentStatus:
    """Return the status that no longer claims what was lifted."""
    lifted = [(CONTAINED, "a person lifted the quarantine")] if network else []
    lifted += [(IDENTITY, "a person gave the rights back")] if rights else []
    claimed = [(kind, words) for kind, words in lifted if _claims(status, kind)]
    if not claimed:
        return status
    for kind, words in claimed:
        verdict = Verdict(kind, "False", "Released", words)
        status = record(status, verdict, now=now, generation=incident.generation)
    held = [] if network else status.held
    return status.model_copy(update={"held": held, "message": summary(incident.id, status, [])})


def _claims(status: IncidentStatus, kind: str) -> bool:
    condition = status.condition(kind)
    return condition is not None and condition.status != "False"
