"""The guard rails in hand: what is protected, read in the background, and what the breaker has let pass.

Every replica has its own and decides by the same functions; what the leader decided stands in the status.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile

import structlog

from firebreak.api.base import Json
from firebreak.api.incident import Mode, Rail
from firebreak.kube import protected
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError
from firebreak.model.clock import Clock
from firebreak.model.incident import Incident, identify
from firebreak.model.loose import mapping, text
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.rails import Alarm, Held, Limits, Protected
from firebreak.settings import Settings
from firebreak.steps import rails

log = structlog.get_logger()

SIZED_WITHIN = 1.0  # seconds that an automatic cut waits for sizes that are not known yet


class Rails:
    """What may hold a cut back. Nothing here waits for a call, but `refresh` and `size`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.known = Protected(rails.namespaces(settings.namespace, settings.protected_namespaces))
        self.wanted = asyncio.Event()  # set when something is to be read anew
        self._clock = clock
        self._stores = dict.fromkeys(_stores(settings), "it stands before the evidence store")
        self._limits = Limits(
            timedelta(seconds=settings.breaker_window_seconds),
            settings.breaker_namespace,
            settings.breaker_total,
            settings.breaker_reserve,
            settings.breaker_share,
        )
        self._alarms: dict[str, Alarm] = {}
        self._cutting: set[str] = set()
        self._waiting: set[str] = set()  # for sizes, before the breaker decides
        self._tripped: dict[str, str] = {}
        self._asked: set[str] = set()  # namespaces whose sizes are read in the background
        self._sizing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # a storm reads the sizes once
        self._unread: list[str] = []

    def saw(self, raw: Json) -> None:
        """Count an open incident, as the watch shows it."""
        uid, status = identify(raw).uid, mapping(raw.get("status"))
        alarm = self._alarms[uid] = _alarm(raw, self._clock)
        if mapping(status.get("timings")).get("cutAt"):
            self._cutting.add(uid)
        if alarm.automatic and alarm.namespace not in self._asked:
            self._asked.add(alarm.namespace)
            self.wanted.set()

    def forget(self, uid: str) -> None:
        """Count an incident no more: it is closed, or gone."""
        self._alarms.pop(uid, None)
        self._tripped.pop(uid, None)
        self._cutting.discard(uid)

    async def size(self, api: Api, incident: Incident) -> None:
        """Read the sizes of a namespace that the breaker needs for its first automatic incident, for a second at most.

        No other cut waits for a call: not a person's, not a Critical one. What cannot be read holds nothing back.
        """
        namespace = incident.id.namespace
        if not self._asks(incident) or incident.spec.severity == "Critical" or namespace in self.known.sizes:
            return
        self._waiting.add(incident.id.uid)
        try:
            async with asyncio.timeout(SIZED_WITHIN), self._sizing[namespace]:
                if namespace not in self.known.sizes:
                    found = await protected.sizes(api, namespace)
                    self.known = replace(self.known, sizes={**self.known.sizes, namespace: found})
        except (ApiError, TimeoutError) as error:
            why = str(error) or f"no answer within {SIZED_WITHIN:g} s"
            log.warning(
                "decided without the sizes of workloads: no share is held to", incident=str(incident.id), why=why
            )
        finally:
            self._waiting.discard(incident.id.uid)

    def before(self, incident: Incident) -> Held | None:
        """Say what holds a cut back that names its pod, or none yet, without asking anybody."""
        target = incident.spec.target
        if target and target.pod:
            if why := self._protected(incident, target.pod):
                return rails.shield(incident.id, {target.pod: why})
            return self.breaker(incident, (target.pod,))
        if why := self._protected(incident, ""):
            return rails.shield(incident.id, {str(target): why})
        return None

    def _protected(self, incident: Incident, name: str, labels: Mapping[str, str] | None = None) -> str:
        if Rail.PROTECTED in incident.spec.overrides:
            return ""
        return rails.protected(self.known, incident.id.namespace, name, labels)

    def spare(self, incident: Incident, pods: Iterable[Pod]) -> dict[str, str]:
        """Return which of the pods of a target that may grow are protected, by name, and why."""
        return {p.name: why for p in pods if (why := self._protected(incident, p.name, p.labels))}

    def _asks(self, incident: Incident) -> bool:
        """Whether the breaker has a say: it has none in a person's cut, nor in one that it has let pass."""
        automatic = incident.spec.mode is Mode.RESPOND and bool(incident.spec.source)
        return automatic and Rail.BREAKER not in incident.spec.overrides and incident.id.uid not in self._cutting

    def decided(self, incident: Incident) -> Held | None:
        """Return how the breaker holds an incident back by what it decided before; after a restart as well."""
        if not self._asks(incident):
            return None
        status, why = incident.status, self._tripped.get(incident.id.uid)
        recorded = status.condition("Contained") if status.held_back is Rail.BREAKER else None
        if recorded:
            return Held(Rail.BREAKER, recorded.message)
        return rails.tripped(incident.id, why) if why else None

    def breaker(self, incident: Incident, pods: Iterable[str], *, by_a_person: bool = False) -> Held | None:
        """Decide, once for each incident, whether the breaker lets it cut these pods now; what passes counts from here.

        So it is asked last before the cut, with nothing to wait for between. What came before and still waits for
        sizes counts as well: whoever comes later finds them there, and would take its place, here and not on a replica
        that was quicker. `by_a_person`: who approved this very cut is never held back.
        """
        if (held := self.decided(incident)) or not self._asks(incident):
            return held
        uid, alarm = incident.id.uid, _alarm(incident.raw, self._clock, pods)
        before = set(takewhile(lambda other: other != uid, self._alarms)) & self._waiting
        passed = [a for a in self._alarms.values() if a.uid in self._cutting or a.uid in before or not a.automatic]
        if not by_a_person and (why := rails.breaker(alarm, passed, self._limits, self.known)):
            self._tripped[uid] = why
            log.warning("the breaker holds an automatic incident back", incident=str(incident.id), reason=why)
            return rails.tripped(incident.id, why)
        self._alarms[uid] = alarm
        self._cutting.add(uid)
        return None

    def let_pass(self, incident: IncidentRef) -> None:
        """Count what another replica's breaker has let pass, whatever was decided here."""
        self._tripped.pop(incident.uid, None)
        self._cutting.add(incident.uid)

    async def refresh(self, api: Api) -> None:
        """Read anew what is protected. What cannot be read is said once, and what was known of it stays."""
        self.wanted.clear()
        self._asked = {alarm.namespace for alarm in self._alarms.values() if alarm.automatic}
        before = self.known
        known, unread = await protected.read(api, before, self._stores, sorted(self._asked))
        late = {name: found for name, found in self.known.sizes.items() if name not in before.sizes}  # by `size`
        self.known = replace(known, sizes={**late, **known.sizes})
        if unread and unread != self._unread:
            log.warning("guard rails know less than they should: what stands behind webhooks, or sizes", unread=unread)
        self._unread = unread

    async def keep_fresh(self, api: Api, every: float) -> None:
        """Refresh again and again, sooner when something is wanted, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(every):
                    await self.wanted.wait()
            except TimeoutError:
                pass
            await self.refresh(api)


def _stores(settings: Settings) -> Iterable[tuple[str, str]]:
    """The Services that the store's addresses name, in the settings or in the environment of its client."""
    options = [secret.get_secret_value() for secret in settings.store_options.values()]
    named = [value for key, value in os.environ.items() if "ENDPOINT" in key.upper()]
    return [service for url in (*options, *named) if (service := rails.service_of(url))]


def _alarm(raw: Json, clock: Clock, pods: Iterable[str] = ()) -> Alarm:
    """Read loosely what counts of an incident: this runs at every event, and its spec may not even be valid."""
    metadata, spec = mapping(raw.get("metadata")), mapping(raw.get("spec"))
    try:
        created = datetime.fromisoformat(text(metadata.get("creationTimestamp")))
    except ValueError:
        created = clock()
    status = mapping(raw.get("status"))
    waits = status.get("heldBack") and not mapping(status.get("timings")).get("cutAt")
    recorded = () if waits else mapping(status.get("pods")).values()
    there = {text(mapping(pod).get("name")) for pod in recorded if not mapping(pod).get("gone")}
    named = "" if waits else text(mapping(spec.get("target")).get("pod"))
    cut = {*pods, *there, named} - {""}
    return Alarm(
        uid=text(metadata.get("uid")),
        namespace=text(metadata.get("namespace")),
        created=created,
        automatic=bool(spec.get("source")),
        critical=spec.get("severity") == "Critical",
        pods=frozenset(cut if spec.get("mode", Mode.RESPOND) == Mode.RESPOND else ()),
    )
