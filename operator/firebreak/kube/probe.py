"""Proving that the cluster enforces NetworkPolicies: two pods, a deny-all policy on one, packets tried both ways.

both pods reach each other ──► policy on one of them ──► all four paths cut? ──► policy removed ──► all back?
      │ no: Unproven                                        │ no: NotEnforced       │ no: Unproven
                                                                                    └ yes: Proven
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import AlreadyExists, ApiError, Invalid, NotFound, Unavailable, error_from
from firebreak.kube.probe_objects import CUT, FREE, RUN_LABEL, Run, hopeless, state_in_words
from firebreak.model.change import Ref
from firebreak.model.clock import Clock
from firebreak.model.enforcement import Enforcement, Round, Sight, State, judge
from firebreak.model.names import MANAGED_BY
from firebreak.model.tiers import ENFORCEMENT

START_WITHIN = 90.0  # seconds: the image may have to be pulled
CUT_WITHIN = 15.0  # seconds a cluster has to enforce a policy
BACK_WITHIN = 40.0  # seconds: a connection's retransmissions come at doubling intervals
LOOK_EVERY = 0.3  # seconds between looks at pods and logs
ABANDONED = timedelta(minutes=15)  # older than any run that is still under way
LOG_LINES = 20
LOG_BYTES = 16 * 1024
KEY = "enforcement.json"


class _CannotTry(Exception):
    """The trial cannot be carried out: nothing is shown either way."""


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


async def prove_enforcement(
    api: Api,
    *,
    namespace: str,
    image: str,
    pull_secrets: tuple[str, ...] = (),
    timeout: float = START_WITHIN,  # noqa: ASYNC109 - it bounds one phase only; the others have bounds of their own
    clock: Clock = now,
) -> Enforcement:
    """Run the probe in a namespace and say what it showed. What cannot be tried is Unproven, with the reason.

    `timeout`: seconds for the pods to start and reach each other; the trial itself takes a minute at most after that.
    Leaves nothing behind; what a killed run left is removed by a later one.
    """
    run = Run(secrets.token_hex(4), namespace, image, pull_secrets)
    at = clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        await _sweep(api, namespace, clock() - ABANDONED)
        return await _Trial(api, run).outcome(at, timeout)
    except _CannotTry as error:
        return Enforcement(State.UNPROVEN, at, f"could not be tried: {error}")
    except ApiError as error:
        return Enforcement(State.UNPROVEN, at, f"could not be tried: {error}")
    finally:
        await _remove(api, run.policy, run.pod(CUT), run.pod(FREE))


async def own_image(api: Api, namespace: str, pod: str) -> tuple[str, tuple[str, ...]]:
    """Return the image of this very pod and the names of its pull secrets: what a probe pod can run as well.

    Raises `NotFound` outside a cluster.
    """
    spec = (await api.get(Ref("Pod", pod, namespace))).get("spec") or {}
    containers = spec.get("containers") or [{}]
    return str(containers[0].get("image", "")), tuple(s["name"] for s in spec.get("imagePullSecrets") or [])


async def save(api: Api, namespace: str, enforcement: Enforcement) -> None:
    """Record an outcome in the ConfigMap `firebreak-enforcement`. Raises `ApiError`."""
    ref = Ref("ConfigMap", ENFORCEMENT, namespace)
    body: Json = {
        "metadata": {"name": ref.name, "namespace": namespace, "labels": dict(MANAGED_BY)},
        "data": {KEY: enforcement.to_json()},
    }
    try:
        await api.patch(ref, body)
    except NotFound:
        try:
            await api.create("ConfigMap", namespace, body)
        except AlreadyExists:  # another replica was quicker; the later proof counts
            await api.patch(ref, body)


async def load(api: Api, namespace: str) -> Enforcement:
    """Return the recorded outcome; Unproven when there is none. Raises `ApiError`."""
    try:
        record = await api.get(Ref("ConfigMap", ENFORCEMENT, namespace))
    except NotFound:
        return Enforcement()
    return Enforcement.from_json(str((record.get("data") or {}).get(KEY, "")))


class _Trial:
    """One run, step by step."""

    def __init__(self, api: Api, run: Run) -> None:
        self._api = api
        self._run = run
        self._nodes: list[str] = []

    async def outcome(self, at: str, start_within: float) -> Enforcement:
        before = await self._start(start_within)
        await self._api.create("NetworkPolicy", self._run.namespace, self._run.policy_body())
        under = await self._watch(lambda sight: sight.is_cut, before, CUT_WITHIN)
        await self._api.delete(self._run.policy)
        after = await self._watch(lambda sight: sight.flows, await self._look(), BACK_WITHIN)
        return judge(under, after, at=at, waited=CUT_WITHIN, nodes=tuple(self._nodes))

    async def _start(self, within: float) -> Sight:
        """Start both pods and wait until they reach each other."""
        deadline = asyncio.get_running_loop().time() + within
        address = await self._start_pod(CUT, None, deadline)
        await self._start_pod(FREE, address, deadline)
        sight = await self._watch(lambda s: s.flows, Sight(), deadline - asyncio.get_running_loop().time())
        if not sight.flows:
            raise _CannotTry(
                f"before any policy of the probe these paths did not work: {', '.join(sight.silent)}; look for "
                f"NetworkPolicies in {self._run.namespace} that select the probe's pods"
            )
        return sight

    async def _start_pod(self, role: str, peer: str | None, deadline: float) -> str:
        """Create a pod and return its address once it runs."""
        ref = self._run.pod(role)
        await self._api.create("Pod", self._run.namespace, self._run.pod_body(role, peer))
        while True:
            pod = await self._api.get(ref)
            status = pod.get("status") or {}
            if status.get("phase") == "Running" and status.get("podIP"):
                self._nodes.append(str((pod.get("spec") or {}).get("nodeName", "")))
                return str(status["podIP"])
            if hopeless(pod) or asyncio.get_running_loop().time() > deadline:
                raise _CannotTry(f"{ref} with image {self._run.image} does not run: {state_in_words(pod)}")
            await asyncio.sleep(LOOK_EVERY)

    async def _watch(self, wanted: Callable[[Sight], bool], since: Sight, within: float) -> Sight:
        """Return the first sight that is as wanted, or the last one when time is up."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            sight = (await self._look()).since(since)
            if wanted(sight) or asyncio.get_running_loop().time() > deadline:
                return sight
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> Sight:
        cut, free = await asyncio.gather(self._rounds(CUT), self._rounds(FREE))
        return Sight(cut, free)

    async def _rounds(self, role: str) -> tuple[Round, ...]:
        try:
            lines = await _log(self._api, self._run.pod(role))
        except (NotFound, Invalid):  # no container yet, or none any more: nothing was seen
            return ()
        found = (Round.parse(line, self._run.id) for line in lines)
        return tuple(report for report in found if report)


async def _log(api: Api, pod: Ref) -> list[str]:
    """Return the last lines of a pod's log. Raises `ApiError`."""
    what = f"GET {pod.path}/log"
    params = {"tailLines": str(LOG_LINES), "limitBytes": str(LOG_BYTES)}
    timeout = aiohttp.ClientTimeout(total=api.limits.timeout)
    try:
        headers = await api.headers()
        async with api.session.get(
            f"{api.base}{pod.path}/log", params=params, headers=headers, timeout=timeout
        ) as answer:
            text = (await answer.read()).decode(errors="replace")
            if answer.status != 200:  # noqa: PLR2004 - HTTP
                raise error_from(what, answer.status, {"message": text})
            return text.splitlines()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(what, f"no answer from the API server ({type(error).__name__})") from error


async def _sweep(api: Api, namespace: str, before: datetime) -> None:
    """Remove what killed runs left behind: older ones only, for another replica may be probing now."""
    for kind in ("NetworkPolicy", "Pod"):
        for found in await api.list_all(kind, namespace, labels=RUN_LABEL, metadata_only=True):
            metadata = found["metadata"]
            if datetime.fromisoformat(metadata["creationTimestamp"]) < before:
                await _remove(api, Ref(kind, metadata["name"], namespace, metadata["uid"]))


async def _remove(api: Api, *refs: Ref) -> None:
    """Delete objects that may be gone already; what cannot be removed now is removed by a later run."""
    for ref in refs:
        with contextlib.suppress(ApiError):
            await api.delete(ref)
