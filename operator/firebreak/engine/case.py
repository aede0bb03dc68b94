"""A case: one incident in hand, with its journal and the tools to work on it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import TypeVar

from firebreak.api import bounds
from firebreak.api.playbook import PlaybookSpec, StepOptions
from firebreak.api.status import MORE_SECRETS, IncidentStatus, PodRecord, StepState
from firebreak.engine.hook import CloudHook
from firebreak.engine.journal import Journal
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import Notices
from firebreak.engine.rails import Rails
from firebreak.engine.turns import Turns
from firebreak.engine.undone import Fights
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.client import Api
from firebreak.kube.guard import Guards
from firebreak.kube.rights import Bindings
from firebreak.kube.seats import Seats
from firebreak.kube.tiers import Tiers
from firebreak.model.clock import Clock
from firebreak.model.enforcement import Enforcement
from firebreak.model.facts import Account
from firebreak.model.incident import Incident
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.record import with_step
from firebreak.model.tiers import Tier
from firebreak.model.verdict import GUARD_MISSING, Verdict, record
from firebreak.service.supervise import Pulse
from firebreak.settings import Settings
from firebreak.steps.cloud import CloudIdentity, of_pod, recorded
from firebreak.steps.reach import secrets_of
from firebreak.steps.suspicion import escapes

SURVEYS = (
    8  # surveys whose facts are in memory at once: they keep the calls' seats busy, and more only holds more lists
)
SLOW = 5.0  # seconds: a survey that takes longer keeps no other waiting

OptionsT = TypeVar("OptionsT", bound=StepOptions)


@dataclass
class Tools:
    """What every job may use. `enforcement` is replaced when the cluster was probed anew."""

    api: Api
    settings: Settings
    clock: Clock
    notices: Notices
    tiers: Tiers
    guards: Guards
    metrics: Metrics = field(default_factory=Metrics)
    pulse: Pulse = field(default_factory=Pulse)
    store: EvidenceStore | None = None
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from plan to last answer by a step that counts what is left in the cluster, as cordon does."""
    surveys: Seats = field(default_factory=lambda: Seats(lambda: SURVEYS, SLOW))
    """Held while facts are read and judged. The lists of a namespace may be megabytes for each incident."""
    hook: CloudHook | None = None
    enforcement: Enforcement = field(default_factory=Enforcement)
    rails: Rails = field(init=False)
    turns: Turns = field(init=False)
    bindings: Bindings = field(init=False)

    def __post_init__(self) -> None:
        self.rails = Rails(self.settings, self.clock)
        self.turns = Turns(self.settings.captures)
        self.bindings = Bindings(self.api)


@dataclass
class Case:
    """One incident in the hands of the leader."""

    tools: Tools
    journal: Journal
    conflicts: dict[str, int] = field(default_factory=dict)
    """How often in a row a step met objects that somebody else was changing."""
    fights: Fights = field(default_factory=Fights)
    stirred: set[str] = field(default_factory=set)
    """The steps whose outcome somebody may have undone just now: what a look says may be older than that."""
    looked_after: dict[str, float] = field(default_factory=dict)
    """The steps that this process ran, or is to look at, and when it last did, on the monotonic clock."""
    waiting: dict[str, float] = field(default_factory=dict)
    """When this process last made the plan of a step that waits for people, on the event loop's clock."""
    handed_over: bool = False
    """Whether this process is in the custody record already."""
    seen: float | None = None
    """When this process first saw the incident, on the monotonic clock."""
    planned: tuple[Pod, ...] | None = None
    """In mode Plan: the pods as the steps before would leave them."""

    @property
    def incident(self) -> Incident:
        """The incident as people wrote it last."""
        return self.journal.incident

    @property
    def current(self) -> Incident:
        """The incident with the record as it is in memory."""
        return replace(self.incident, status=self.status)

    @property
    def id(self) -> IncidentRef:
        """Which incident."""
        return self.journal.incident.id

    @property
    def status(self) -> IncidentStatus:
        """The record, with what is not written yet."""
        return self.journal.status

    @property
    def playbook(self) -> PlaybookSpec:
        """The playbook as it was when the incident started."""
        return self.journal.playbook

    def options(self, name: str, kind: type[OptionsT]) -> OptionsT:
        """Return a step's options, the defaults where the playbook does not name the step."""
        found = self.playbook.options(name)
        return found if isinstance(found, kind) else kind()

    def claim(self, verdict: Verdict) -> Callable[[IncidentStatus], IncidentStatus]:
        """Return the edit that records a verdict."""
        now, generation = self.journal.now(), self.incident.generation
        return lambda status: record(status, verdict, now=now, generation=generation)

    async def unguarded(self, tier: Tier) -> str:
        """Say what does not fence Firebreak's own account in a tier, empty when all does; it is put on record."""
        words = await self.tools.guards.missing(tier)
        self.journal.unguarded[tier.name] = words
        return words

    async def obstacle(self, tier: Tier) -> tuple[str, str] | None:
        """Return reason and words of what keeps a tier from being used, a right or a guard that is missing, or None."""
        if missing := await self.tools.tiers.missing(tier, self.id.namespace):
            return "RightsMissing", tier.refusal(missing)
        if words := await self.unguarded(tier):
            return GUARD_MISSING, words
        return None

    async def block(self, name: str, verdict: Verdict) -> None:
        """Say that a step cannot go on, and why."""
        await self.journal.write(
            self.claim(verdict),
            lambda status: with_step(status, name, state=StepState.BLOCKED, message=verdict.message),
        )


def _pinned(pod: Pod, known: AbstractSet[str], clouds: AbstractSet[CloudIdentity]) -> PodRecord:
    """Return what is recorded of a pod at first sight; a container id that changes later means lost evidence."""
    owner = pod.controller or {}
    return PodRecord(
        name=pod.name,
        node=pod.node,
        owner=f"{owner.get('kind')}/{owner.get('name')}"[: bounds.OWNER] if owner else "",
        owner_uid=str(owner.get("uid", ""))[: bounds.UID],
        account=pod.account,
        containers=pod.container_ids,
        secrets=_secrets(pod, known),
        escapes=_escapes(pod, ()),
        clouds=_clouds(pod, clouds),
    )


def _seen_again(record: PodRecord, pod: Pod | None) -> PodRecord:
    """Return a record with what the pod did not have at first sight: it may have started since."""
    if pod is None:
        return record.model_copy(update={"gone": True})
    containers = {**pod.container_ids, **record.containers}
    fields = {"node": record.node or pod.node, "containers": containers, "escapes": _escapes(pod, record.escapes)}
    return record.model_copy(update={"gone": False, **fields})


def _escapes(pod: Pod, known: Iterable[str]) -> list[str]:
    """The ways to its node that a pod had or has: an ephemeral container may open one later."""
    ways = (way[: bounds.ESCAPE] for way in escapes(pod))
    return list(dict.fromkeys([*known, *ways]))[: bounds.ESCAPES]


def _clouds(pod: Pod, known: AbstractSet[CloudIdentity]) -> list[str]:
    """The cloud identities that a pod shows and that are not on record yet: they outlive it."""
    new = (identity for identity in dict.fromkeys(of_pod(pod)) if identity not in known)
    return [identity.record[: bounds.CLOUD] for identity in new][: max(bounds.CLOUDS - len(known), 0)]


def clouds_of(namespace: str, record: PodRecord) -> Iterator[CloudIdentity]:
    """Yield the cloud identities that stand in a pod's record."""
    account = Account(namespace, record.account)
    yield from (found for words in record.clouds if (found := recorded(account, words)))


def _secrets(pod: Pod, known: AbstractSet[str]) -> dict[str, str]:
    """The secrets that a pod names and that are not on record yet: to be rotated also when the pod is gone."""
    ways: dict[str, list[str]] = {}
    for name, way in secrets_of(pod, None):
        if name not in known:
            ways.setdefault(name, []).append(way)
    fitting = [name for name in ways if len(name) <= bounds.OBJECT_NAME][: max(bounds.SECRETS - len(known), 0)]
    listed = {name: "; ".join(dict.fromkeys(ways[name]))[: bounds.WAYS] for name in fitting}
    if left := len(ways) - len(listed):
        listed[MORE_SECRETS] = f"{left} more secrets that pod {pod.name} names: see its pod.json in the evidence"
    return listed


def as_met(pod: Pod, record: PodRecord) -> Pod:
    """Return a pod with what its record alone still knows: its account when it is gone, its owner when detached."""
    kind, _, name = record.owner.partition("/")
    owners = [{"kind": kind, "name": name, "uid": record.owner_uid, "controller": True}] if record.owner else []
    return Pod(
        {
            **pod.raw,
            "metadata": {**pod.metadata, "ownerReferences": pod.metadata.get("ownerReferences") or owners},
            "spec": {"serviceAccountName": record.account, "nodeName": record.node, **pod.spec},
        }
    )


def pin(status: IncidentStatus, pods: tuple[Pod, ...]) -> IncidentStatus:
    """Record pods at first sight; what was pinned then stays, and who is missing now is marked as gone."""
    there = {pod.uid: pod for pod in pods}
    kept = {uid: _seen_again(old, there.get(uid)) for uid, old in status.pods.items()}
    known = {name for record in kept.values() for name in record.secrets}
    namespace = next((pod.namespace for pod in pods), "")
    clouds = {identity for record in kept.values() for identity in clouds_of(namespace, record)}
    new: dict[str, PodRecord] = {}
    for pod in pods:
        if pod.uid not in kept:
            new[pod.uid] = _pinned(pod, known, clouds)
            known |= new[pod.uid].secrets.keys()
            clouds |= set(clouds_of(namespace, new[pod.uid]))
    return status.model_copy(update={"pods": dict(list({**kept, **new}.items())[: bounds.PODS])})
