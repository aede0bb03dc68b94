"""What `firebreak watch` does: show every state of an incident as it comes, until it has come to rest."""

from collections.abc import Callable
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime

from rich.console import RenderableType

from firebreak.api.base import Json
from firebreak.api.status import Phase
from firebreak.cli import view
from firebreak.cli.cluster import Cluster, connect
from firebreak.cli.failure import Failure
from firebreak.cli.session import Session
from firebreak.cli.terminal import Form, words
from firebreak.model.incident import BadSpecError, Incident, read

AT_REST = frozenset({Phase.RESPONDED, Phase.WAITING, Phase.PLANNED, Phase.CLOSED, Phase.STALLED})

Show = Callable[[Incident], None]


async def watch_incidents(session: Session, name: str | None, *, forever: bool) -> None:
    """Follow one incident, or all of the namespace. Raises Failure when it stalled or was deleted."""
    async with connect(session.options) as cluster:
        if name:
            await cluster.raw(name)  # one that is not there is told at once
        with ExitStack() as screen:
            last = await _follow(cluster, name, _shower(session, screen, one=name is not None), forever=forever)
    if last.status.phase is Phase.STALLED:
        raise Failure(f"incident {last.id} is stalled", f"firebreak status {last.id.name} -n {last.id.namespace}")


async def _follow(cluster: Cluster, name: str | None, show: Show, *, forever: bool) -> Incident:
    told: dict[str, str] = {}
    async with aclosing(cluster.follow(name)) as states:
        async for raw, deleted in states:
            if deleted and not forever:
                words_ = f"incident {cluster.namespace}/{name} was deleted; its quarantine, if any, stays"
                raise Failure(words_, f"see what is left: firebreak status -n {cluster.namespace}")
            incident = _read(raw)
            if incident is None or deleted or told.get(incident.id.uid) == incident.resource_version:
                continue
            told[incident.id.uid] = incident.resource_version
            show(incident)
            if incident.status.phase in AT_REST and _speaks_of_now(incident) and not forever:
                return incident
    raise AssertionError  # unreachable: following ends only by returning or raising


def _read(raw: Json) -> Incident | None:
    try:
        return read(raw)
    except BadSpecError:
        return None


def _speaks_of_now(incident: Incident) -> bool:
    """Whether the status speaks of the spec as it is: one that was closed a moment ago is not at rest yet."""
    return incident.status.observed_generation >= incident.generation


def _shower(session: Session, screen: ExitStack, *, one: bool) -> Show:
    terminal = session.terminal
    if terminal.form is not Form.TABLE:
        return lambda incident: terminal.record(incident.raw)
    if not terminal.live_here:
        return lambda incident: terminal.say(view.line(incident))
    live = screen.enter_context(terminal.live())
    shown: dict[str, Incident] = {}

    def draw(incident: Incident) -> None:
        shown[incident.id.uid] = incident
        live.update(_picture(shown, one=one), refresh=True)

    return draw


def _picture(shown: dict[str, Incident], *, one: bool) -> RenderableType:
    if not shown:
        return words("")
    if one:
        return view.progress(next(reversed(shown.values())))
    return view.listing(shown.values(), datetime.now(UTC), namespaces=False)
