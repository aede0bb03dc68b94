"""The checks of `firebreak preflight`: each looks at one thing that Firebreak stands on and says what it saw."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

import aiohttp

from firebreak.api.base import Json
from firebreak.api.crd import CRDS
from firebreak.cli.text import moment
from firebreak.evidence.errors import AlreadyExists
from firebreak.evidence.keys import key
from firebreak.evidence.store import Deletion, EvidenceStore, Stored
from firebreak.kube import probe as probing
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden, NotFound
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.clock import Clock
from firebreak.model.enforcement import Enforcement, State
from firebreak.settings import Settings

MOST_SKEW = 2.0  # seconds; the Date header has whole seconds
PROBE_TIMEOUT = 90.0  # seconds for the probe's pods to start
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INSTALL = "firebreak crds | kubectl apply -f -"
UNDELETABLE = (
    "take the right to delete objects and versions from these credentials (S3: s3:DeleteObject, "
    "s3:DeleteObjectVersion), and give the bucket versions and object lock"
)


class Outcome(StrEnum):
    """What a check saw. `LEFT_OUT` is a choice; `UNKNOWN` fails nothing and proves nothing."""

    OK = "ok"
    LEFT_OUT = "left out"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Check:
    """One look: what at, what it showed, and what a person does about it."""

    name: str
    outcome: Outcome
    detail: str
    remedy: str = ""


async def server(api: Api, clock: Clock) -> list[Check]:
    """Ask for the version, and compare clocks. Raises `Unavailable` when there is no answer at all."""
    version = await api.request("GET", "/version")
    reached = Check("api server", Outcome.OK, f"{api.base} runs Kubernetes {version.get('gitVersion', '?')}")
    return [reached, await _clock(api, clock)]


async def _clock(api: Api, clock: Clock) -> Check:
    timeout = aiohttp.ClientTimeout(total=api.limits.timeout)
    try:
        async with api.session.get(f"{api.base}/version", headers=await api.headers(), timeout=timeout) as answer:
            theirs, ours = answer.headers.get("Date", ""), clock()
        skew = abs((parsedate_to_datetime(theirs) + timedelta(seconds=0.5) - ours).total_seconds())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return Check("clock", Outcome.UNKNOWN, f"the API server's time cannot be read ({type(error).__name__})")
    if skew > MOST_SKEW:
        words = f"this clock and the API server's are {skew:.1f} s apart: times in records would contradict each other"
        return Check("clock", Outcome.FAILED, words, "synchronise both with NTP")
    return Check("clock", Outcome.OK, f"within {MOST_SKEW:g} s of the API server's")


async def definitions(api: Api) -> list[Check]:
    """Look whether the CRDs are there and are those of this version."""
    return [await _definition(api, crd()) for crd in CRDS.values()]


async def _definition(api: Api, wanted: Json) -> Check:
    name = wanted["metadata"]["name"]
    try:
        live = await api.request("GET", f"{DEFINITIONS}/{name}")
    except NotFound:
        return Check(f"crd {name}", Outcome.FAILED, "not installed", INSTALL)
    except Forbidden as error:
        return Check(
            f"crd {name}", Outcome.UNKNOWN, str(error), f"ask somebody who may read it: kubectl get crd {name}"
        )
    conditions = (live.get("status") or {}).get("conditions") or []
    if not any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions):
        return Check(f"crd {name}", Outcome.FAILED, "installed but not established", f"kubectl describe crd {name}")
    if _meaning(live) != _meaning(wanted):
        return Check(f"crd {name}", Outcome.FAILED, "installed, but not the one of this version", INSTALL)
    return Check(f"crd {name}", Outcome.OK, "installed, equal to this version's")


def _meaning(definition: Json) -> str:
    """What a CRD says, without what the API server fills in or leaves out."""
    versions = [
        (
            v["name"],
            v["schema"],
            v.get("selectableFields"),
            [(c["name"], c["jsonPath"]) for c in v["additionalPrinterColumns"]],
        )
        for v in definition["spec"]["versions"]
        if v.get("additionalPrinterColumns")
    ]
    return json.dumps([definition["spec"]["scope"], versions], sort_keys=True)


async def evidence_store(store: EvidenceStore | None, namespace: str) -> Check:
    """Write a small object, read it back, and see whether it can be overwritten or deleted. Raises `StoreError`.

    `namespace` is where the operator runs: a store that is not known here is checked there.
    """
    if store is None:
        words = "FIREBREAK_STORE is not set here; capture needs it where the operator runs"
        there = f"kubectl exec -n {namespace} deployment/firebreak -- firebreak preflight --no-probe"
        return Check("store", Outcome.UNKNOWN, words, there)
    token = secrets.token_hex(16)
    where, data = key("preflight", token), token.encode()
    stored = await store.create(where, data)
    if await store.read(where) != data:
        return Check(
            "store",
            Outcome.FAILED,
            f"{store.url} returned other bytes than were written",
            "use another store: this one loses evidence",
        )
    try:
        await store.create(where, b"overwritten")
    except AlreadyExists:
        return _kept(store, stored, await store.deletion(stored))
    words = f"{store.url} lets evidence be overwritten: it honours no conditional writes"
    return Check("store", Outcome.FAILED, words, "use a store that does (S3 If-None-Match), or switch it on")


def _kept(store: EvidenceStore, stored: Stored, deletion: Deletion) -> Check:
    """Say how safe evidence is in a store that refuses to overwrite."""
    seen = f"{store.url}: written, read back, not overwritten"
    if store.local:
        words = f"{seen}; it lies on this machine's own disk, for trying out"
        return Check("store", Outcome.WARNING, words, "name a bucket in FIREBREAK_STORE")
    if deletion is Deletion.GONE:
        words = f"{seen}; but these credentials can delete evidence: the object is gone"
        return Check("store", Outcome.WARNING, words, UNDELETABLE)
    if deletion is Deletion.HIDDEN:
        words = f"{seen}; a deletion hid it and its version stays; whether these credentials may delete versions, too, "
        return Check("store", Outcome.UNKNOWN, words + "cannot be asked here", UNDELETABLE)
    if stored.version is None:
        words = f"{seen}, not deleted; but the bucket keeps no versions: a stream could be written over"
        return Check("store", Outcome.WARNING, words, "switch versions on, and object lock where the store has it")
    return Check("store", Outcome.OK, f"{seen}, not deleted")


async def enforcement(
    api: Api, settings: Settings, clock: Clock, *, image: str | None, probe: bool
) -> AsyncIterator[Check]:
    """Prove that NetworkPolicies are enforced and keep the record, or read the record. Raises `ApiError`."""
    if not probe:
        known = await probing.load(api, settings.namespace)
        yield _told(known.counted(clock(), timedelta(hours=settings.proof_hours)))
        return
    chosen, pull_secrets = await _image(api, settings, image)
    if not chosen:
        words = "not probed: it is not known which image the probe may run"
        yield Check("enforcement", Outcome.UNKNOWN, words, "name Firebreak's own with --image or FIREBREAK_IMAGE")
        return
    proof = await probing.prove_enforcement(
        api, namespace=settings.namespace, image=chosen, pull_secrets=pull_secrets, timeout=PROBE_TIMEOUT
    )
    await probing.save(api, settings.namespace, proof)
    yield _told(proof)


async def _image(api: Api, settings: Settings, image: str | None) -> tuple[str, tuple[str, ...]]:
    """What was asked for, else the setting, else what the operator's Deployment runs."""
    if image or settings.image:
        return image or settings.image, ()
    deployment = await find(api, Ref("Deployment", "firebreak", settings.namespace)) or {}
    spec = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = spec.get("containers") or [{}]
    return str(containers[0].get("image", "")), tuple(s["name"] for s in spec.get("imagePullSecrets") or [])


def _told(proof: Enforcement) -> Check:
    when = f" (probed {proof.at})" if moment(proof.at) else ""
    if proof.state is State.PROVEN:
        return Check("enforcement", Outcome.OK, f"proven{when}: {proof.detail}")
    if proof.state is State.NOT_ENFORCED:
        remedy = "install a network plugin that enforces NetworkPolicies: without one nothing is ever cut off"
        return Check("enforcement", Outcome.FAILED, f"not enforced{when}: {proof.detail}", remedy)
    return Check("enforcement", Outcome.FAILED, f"unproven{when}: {proof.detail}", "firebreak preflight --probe")
