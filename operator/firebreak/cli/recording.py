"""Putting a release on record: the operator does not look at closed incidents, and none may go on claiming a cut."""

from contextlib import suppress
from datetime import UTC, datetime

from firebreak.api.status import IncidentStatus
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, Conflict, NotFound
from firebreak.model.incident import Incident, read_status
from firebreak.model.record import difference, dump, stamp
from firebreak.model.verdict import CONTAINED, IDENTITY, Verdict, record, summary

MOST_TRIES = 5  # each after somebody wrote the status at the same moment


async def record_release(api: Api, incident: Incident, *, network: bool, rights: bool) -> str:
    """Say in the incident's status what was released; return why it could not be said, or nothing.

    Needs the right to patch incidents/status. Without it the release stands all the same, but the pods that are held
    by name stay locked.
    """
    try:
        for _ in range(MOST_TRIES):
            with suppress(Conflict):  # somebody wrote meanwhile: judge again by what is there now
                await _record(api, incident, network=network, rights=rights)
                return ""
        why = "it kept changing"
    except NotFound:
        return ""
    except ApiError as error:
        why = error.message
    words = "and evictions of its pods and execs into them stay refused; the same command says it again"
    return f"the incident's status still tells of the time before the release ({why}), {words}"


async def _record(api: Api, incident: Incident, *, network: bool, rights: bool) -> None:
    """Write what differs, if nobody wrote since it was read: lists are replaced whole. Raises `ApiError`."""
    raw = await api.get(incident.ref)
    before = read_status(raw)
    after = released(before, incident, network=network, rights=rights, now=stamp(datetime.now(UTC)))
    if patch := difference(dump(before), dump(after)):
        version = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        await api.patch(incident.ref, {"metadata": version, "status": patch}, subresource="status")


def released(status: IncidentStatus, incident: Incident, *, network: bool, rights: bool, now: str) -> IncidentStatus:
    """Return the status that no longer claims what was lifted, and holds no pod when its network is back."""
    if network:
        status = status.model_copy(update={"held": []})
    lifted = [(CONTAINED, "a person lifted the quarantine")] if network else []
    lifted += [(IDENTITY, "a person gave the rights back")] if rights else []
    claimed = [(kind, words) for kind, words in lifted if _claims(status, kind)]
    if not claimed:
        return status
    for kind, words in claimed:
        verdict = Verdict(kind, "False", "Released", words)
        status = record(status, verdict, now=now, generation=incident.generation)
    return status.model_copy(update={"message": summary(incident.id, status, [])})


def _claims(status: IncidentStatus, kind: str) -> bool:
    condition = status.condition(kind)
    return condition is not None and condition.status != "False"
