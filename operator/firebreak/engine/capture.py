"""Capture: collect what the plan names, stream it to the store, seal it, read the seal back."""

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

import structlog

from firebreak import __version__
from firebreak.api import bounds
from firebreak.api.playbook import CAPTURE, Capture
from firebreak.api.status import EvidenceReport, IncidentStatus, StepState
from firebreak.engine.case import Case
from firebreak.engine.gather import held
from firebreak.engine.rereading import Rereading
from firebreak.engine.sources import METHODS
from firebreak.engine.turns import Turn
from firebreak.evidence import custody
from firebreak.evidence.artifact import Artifact, ArtifactRequest, Origin
from firebreak.evidence.bundle import Bundle
from firebreak.evidence.custody import Collector
from firebreak.evidence.errors import SealError, StoreError, StoreFull, StoreUnavailable
from firebreak.evidence.keys import key
from firebreak.evidence.layout import IncidentIdentity
from firebreak.evidence.seal import seal
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.errors import PERMANENT
from firebreak.model.pod import Pod
from firebreak.model.record import step, with_step
from firebreak.model.tiers import needed
from firebreak.model.verdict import EVIDENCE, Verdict
from firebreak.model.words import listed
from firebreak.steps import capture
from firebreak.steps.capture import Request

log = structlog.get_logger()

AT_ONCE = 4  # artifacts of one incident read at the same time
STORE_AGAIN, FULL_AGAIN, BLOCKED_AGAIN, TARGET_AGAIN, STARTED_SOON = 5.0, 15.0, 30.0, 5.0, 1.0  # seconds
STARTS_WITHIN = timedelta(seconds=60)  # of its creation; after that the gaps are put on record


async def run(case: Case) -> float | None:
    """Capture what has no receipt yet, then seal. Returns the seconds until the next try, None when it is finished."""
    store = case.tools.store
    if store is None:
        words = "no evidence store is configured: set FIREBREAK_STORE and restart Firebreak"
        return await _blocked(case, "NoStore", words)
    if obstacle := await case.obstacle(needed(CAPTURE)):
        return await _blocked(case, *obstacle)
    try:
        return await _run(case, store)
    except StoreUnavailable as error:
        return await _without_store(case, error)
    except StoreError as error:
        return await _blocked(case, "SealFailed" if isinstance(error, SealError) else "StoreRefused", str(error))
    except PERMANENT as error:
        return await _blocked(case, "Refused", f"the API server refused: {error}")


async def _without_store(case: Case, error: StoreUnavailable) -> float:
    """Say what is the matter with the store; the step goes on and tries again."""
    if isinstance(error, StoreFull):
        reason, words, again = "StoreFull", f"tried again until there is room: {error}", FULL_AGAIN
    else:
        reason, again = "StoreUnavailable", STORE_AGAIN
        words = f"the store does not answer; tried again until it does: {error}"
    await case.journal.write(
        case.claim(Verdict(EVIDENCE, "False", reason, words)), lambda s: with_step(s, CAPTURE, message=words)
    )
    return again


async def _run(case: Case, store: EvidenceStore) -> float | None:
    pods = await _pods(case)
    if not pods:
        return await _nobody(case)
    starting = [pod for pod in pods if _starting(case, pod)]
    here = tuple(pod for pod in pods if pod not in starting)
    wait = bool(starting) and all(case.status.pods[pod.uid].sealed for pod in here)
    attempts, now = step(case.status, CAPTURE).attempts + (not wait), case.journal.now()
    started = step(case.status, CAPTURE).started_at or now
    case.journal.note(lambda s: with_step(s, CAPTURE, state=StepState.RUNNING, attempts=attempts, started_at=started))
    if wait:
        words = f"not started yet: {listed([pod.name for pod in starting])}"
        await case.journal.write(lambda s: with_step(s, CAPTURE, message=words))
    else:
        await _collect_and_seal(case, store, here, more=bool(starting))
    return STARTED_SOON if starting else None


def _starting(case: Case, pod: Pod) -> bool:
    """Whether a pod may begin at any moment: then its evidence is yet to come. One that does not begin is no reason."""
    try:
        born = datetime.fromisoformat(pod.metadata.get("creationTimestamp") or "")
    except ValueError:
        return False
    return pod.starting and case.tools.clock() - born < STARTS_WITHIN


async def _pods(case: Case) -> tuple[Pod, ...]:
    """The pods on record, as they are now. Those that are gone are named too: absence is recorded."""
    there = {pod.uid: pod for pod in await held(case)}
    return tuple(there.get(uid) or _gone(case, uid, record.name) for uid, record in case.status.pods.items())


def _gone(case: Case, uid: str, name: str) -> Pod:
    return Pod({"metadata": {"name": name, "namespace": case.id.namespace, "uid": uid}})


async def _nobody(case: Case) -> float:
    words = "no pod of the target is there; looking again until the incident is closed"
    await case.block(CAPTURE, Verdict(EVIDENCE, "False", "TargetNotFound", words))
    return TARGET_AGAIN


async def _blocked(case: Case, reason: str, words: str) -> float:
    await case.block(CAPTURE, Verdict(EVIDENCE, "False", reason, words))
    return BLOCKED_AGAIN


async def _collect_and_seal(case: Case, store: EvidenceStore, pods: tuple[Pod, ...], *, more: bool) -> None:
    """Capture these pods. `more`: others are about to start, and the step goes on for them."""
    settings = case.tools.settings
    identity = IncidentIdentity(
        namespace=case.id.namespace, name=case.id.name, uid=case.id.uid, cluster=settings.cluster
    )
    bundle = Bundle.open(store, identity, clock=case.tools.clock)
    have = await bundle.receipts()
    if not case.handed_over:  # once for each process that handles the evidence
        began = "resumed" if have else "began"
        await custody.record(bundle, _collector(case), f"{began} to capture for incident {case.id}")
        case.handed_over = True
    options = case.options(CAPTURE, Capture)
    uids = {pod.uid for pod in pods}
    waves = capture.plan(pods, files=bool(options.paths))
    for number, wave in enumerate(waves):
        # A container that restarted since has a previous log now: the one that matters.
        there = tuple(pod for pod in await _pods(case) if pod.uid in uids) if number else ()
        now = capture.plan(there, files=bool(options.paths))[number]
        wanted = {request.name: request for request in (*wave, *now)}
        todo = [request for name, request in wanted.items() if key(*name.split("/")) not in have]
        await _wave(case, bundle, todo, options)
        await case.journal.write()  # people see that it goes on
    await _seal(case, bundle, uids, more=more)


async def _wave(case: Case, bundle: Bundle, requests: Iterable[Request], options: Capture) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(request: Request) -> None:
        async with slots, case.tools.turns.place(request.kind, case.id.namespace) as turn:
            artifact = await _save(case, bundle, request, options, turn)
            case.tools.metrics.evidence_bytes.inc(artifact.bytes)
            log.info("captured", artifact=artifact.name, completeness=artifact.completeness)

    answers = await asyncio.gather(*(one(request) for request in requests), return_exceptions=True)
    for answer in answers:  # all of a wave is tried before the first failure counts
        if isinstance(answer, BaseException):
            raise answer


async def _save(case: Case, bundle: Bundle, request: Request, options: Capture, turn: Turn) -> Artifact:
    pod = request.pod
    record = case.status.pods.get(pod.uid)
    first_sight = record.containers.get(request.container or "") if record else None
    reading = Rereading(case, request, options, first_sight, turn)
    origin = Origin(
        namespace=pod.namespace, name=pod.name, uid=pod.uid, container=request.container, container_id=first_sight
    )
    wanted = ArtifactRequest(
        name=key(*request.name.split("/")),
        origin=origin,
        media_type=request.media_type,
        method=METHODS[request.kind],
    )
    return await bundle.save(wanted, await reading.open(), limit=options.max_bytes, again=reading.again)


def _collector(case: Case) -> Collector:
    settings = case.tools.settings
    return Collector(account=f"{settings.namespace}/firebreak", pod=settings.pod, version=__version__)


async def _seal(case: Case, bundle: Bundle, uids: AbstractSet[str], *, more: bool) -> None:
    """Seal, read back, and claim only what the seal says: sealed with gaps is not preserved."""
    collector = _collector(case)
    sealed = await seal(bundle, collector)
    await custody.record(bundle, collector, f"sealed the evidence of incident {case.id}: SHA-256 {sealed.digest}")
    gaps = [f"{gap.name}: {gap.completeness}/{gap.reason}: {gap.message}"[: bounds.GAP] for gap in sealed.gaps]
    report = EvidenceReport(
        url=bundle.url,
        artifacts=sealed.artifacts,
        complete=sealed.artifacts - len(gaps),
        bytes=sealed.bytes,
        gaps=gaps[: bounds.GAPS],
        seal=sealed.digest,
    )
    verdict = judge(report, len(gaps), local=bundle.store.local)
    ended = StepState.DONE if verdict.holds else StepState.PARTIAL
    state, now = StepState.RUNNING if more else ended, case.journal.now()
    await case.journal.write(
        case.claim(verdict),
        lambda s: with_step(s, CAPTURE, state=state, finished_at=None if more else now, message=verdict.message),
        lambda s: _with_sealed(s, uids),
        lambda s: s.model_copy(
            update={"evidence": report, "timings": s.timings.model_copy(update={"sealed_at": now})},
        ),
    )


def _with_sealed(status: IncidentStatus, uids: AbstractSet[str]) -> IncidentStatus:
    """Pods that join later are not in this seal: they are captured and sealed in a further one."""
    pods = {uid: pod.model_copy(update={"sealed": pod.sealed or uid in uids}) for uid, pod in status.pods.items()}
    return status.model_copy(update={"pods": pods})


def judge(report: EvidenceReport, gaps: int, *, local: bool) -> Verdict:
    """Say what the evidence is worth. What lies beside the operator is no evidence against who owns the node."""
    size = f"{report.artifacts} artifacts, {report.bytes} bytes"
    if gaps:
        words = f"sealed {size}, {gaps} with gaps: {listed(report.gaps, 3, '; ')}"
        return Verdict(EVIDENCE, "False", "Incomplete", words)
    if local:
        return Verdict(EVIDENCE, "True", "SealedLocally", f"{size}, on the operator's own disk: for trying out only")
    return Verdict(EVIDENCE, "True", "Sealed", size)
