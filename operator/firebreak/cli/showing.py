"""What `firebreak status` does: read incidents and what is left of quarantines, and show them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import RenderableType

from firebreak.api.base import Json
from firebreak.cli import view
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.lifting import Orphan, orphans, quarantined
from firebreak.cli.session import Session
from firebreak.cli.terminal import exact, stack, words
from firebreak.kube.errors import ApiError, Forbidden
from firebreak.model.incident import BadSpecError, Incident, read
from firebreak.model.names import IncidentRef


async def show_all(session: Session, *, everywhere: bool) -> None:
    """Show the table of incidents, and the quarantines without one."""
    async with connect(session.options) as cluster:
        namespace = None if everywhere else cluster.namespace
        raw = await cluster.api.list_all("Incident", namespace)
        left = await _orphans(cluster, session, namespace, raw)
    incidents = [incident for each in raw if (incident := _readable(session, each))]
    value = {"incidents": raw, "orphans": [_orphan(each) for each in left]}
    session.terminal.emit(value, lambda: _table(incidents, left, cluster.namespace, everywhere=everywhere))


async def _orphans(cluster: Cluster, session: Session, namespace: str | None, raw: list[Json]) -> list[Orphan]:
    """A person who may read incidents may not be allowed to read policies: then it is said that nothing is known."""
    try:
        return await orphans(cluster, namespace, raw)
    except Forbidden as error:
        session.terminal.note(f"whether quarantines are left without an incident is unknown: {error}")
        return []


def _readable(session: Session, raw: Json) -> Incident | None:
    try:
        return read(raw)
    except BadSpecError as error:
        metadata = raw["metadata"]
        session.terminal.note(f"incident {metadata['namespace']}/{metadata['name']} cannot be read: {error}")
        return None


def _table(incidents: list[Incident], left: list[Orphan], namespace: str, *, everywhere: bool) -> RenderableType:
    where = "any namespace" if everywhere else f"namespace {namespace}"
    body = view.listing(incidents, datetime.now(UTC), namespaces=everywhere)
    return stack(body if incidents else words(f"no incident in {where}"), _left(left) if left else None)


def _left(left: Iterable[Orphan]) -> RenderableType:
    blocks = [(words(f"{o.incident.namespace}/{o.policy}"), exact(f"  {o.command}")) for o in left]
    title = words("QUARANTINES WITHOUT AN INCIDENT, each with the command that releases it", "bold")
    return stack(words(""), title, *(part for block in blocks for part in block))


def _orphan(orphan: Orphan) -> Json:
    ref = orphan.incident
    found = {"namespace": ref.namespace, "incident": ref.name, "uid": ref.uid}
    return {**found, "policy": orphan.policy, "release": orphan.command}


async def show_one(session: Session, name: str) -> None:
    """Show one incident whole."""
    async with connect(session.options) as cluster:
        incident = await cluster.incident(name)
        quarantine = await _quarantine(cluster, incident.id)
    waiting = [{"step": step, **change.model_dump(mode="json", by_alias=True)}
               for step, change in view.waiting_changes(incident.status)]  # fmt: skip
    value = {**incident.raw, "quarantine": quarantine, "waiting": waiting}
    session.terminal.emit(value, lambda: view.overview(incident, quarantine, datetime.now(UTC)))


async def _quarantine(cluster: Cluster, incident: IncidentRef) -> str:
    """Say, from the world and not from the record, whether anything is under this incident's quarantine now."""
    try:
        facts = await quarantined(cluster.api, incident)
    except ApiError as error:
        return f"unknown ({error})"
    pods = ", ".join(pod.name for pod in facts.pods)
    if facts.policy and pods:
        return f"{pods} under policy {incident.policy}"
    if facts.policy:
        return f"policy {incident.policy} is there, no pod carries its label now"
    return f"{pods} labelled, but the policy is gone: NOT cut" if pods else "none in place"
