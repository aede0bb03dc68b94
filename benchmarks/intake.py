"""An alert posted to the pod contained, against a bare client that sends the same two calls.

The intake's way starts when Falco's alert is posted, over a connection that is open, and ends when the API server has
answered the later of label and policy: it holds TLS, the Incident's creation, the watch and the cut. The bare client's
way is its two calls. Both clocks are this machine's. The breaker is set aside, for it would stop fifty at once.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from benchmarks.figures import Figure, Section
from benchmarks.scene import Scene, milliseconds, scene
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from installed import NAMESPACE, Kubectl
from receiving import HOST, TOKEN, Intake, Object, deployed, falco

AT_ONCE = 50
STORMS = 3
AIM = 2.5
Post = Callable[[Object], Awaitable[None]]
BREAKER = ("FIREBREAK_BREAKER_NAMESPACE", "FIREBREAK_BREAKER_TOTAL")


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Measure both ways in turn, one at a time and fifty at once. Firebreak must be running."""
    kubectl = kubectl_of(info)
    with TemporaryDirectory() as folder, _unbroken(kubectl), deployed(kubectl, Path(folder)) as intake:
        async with scene(info) as at, _sender(intake) as post:
            await _alert(at, post, ["warm"])
            alone = [(await _alert(at, post, [f"f{n}"]), await _bare(at, [f"b{n}"])) for n in range(rounds)]
        storms = []
        for _ in range(STORMS):
            async with scene(info) as at, _sender(intake) as post:
                names = [[f"{way}{number}" for number in range(AT_ONCE)] for way in "fb"]
                storms.append((await _alert(at, post, names[0]), await _bare(at, names[1])))
    figures = (
        Figure("one alert: posted to contained", "ms", [ours for ours, _ in alone]),
        Figure("bare client: both calls", "ms", [bare for _, bare in alone]),
        Figure("ratio, pair by pair", "", [ours / bare for ours, bare in alone], AIM),
        Figure(f"{AT_ONCE} alerts at once: the last is contained", "ms", [ours for ours, _ in storms]),
        Figure(f"bare client: {AT_ONCE} at once", "ms", [bare for _, bare in storms]),
        Figure(f"ratio of {AT_ONCE} at once", "", [ours / bare for ours, bare in storms], AIM),
    )
    return Section("intake", "An alert of Falco's: posted to contained", figures)


async def _alert(at: Scene, post: Post, pods: list[str]) -> float:
    await asyncio.gather(*(at.pod(pod) for pod in pods))
    alerts = [falco(at.namespace, pod) for pod in pods]
    begun = datetime.now(UTC)
    await asyncio.gather(*(post(alert) for alert in alerts))
    incidents = [await at.about(pod) for pod in pods]
    cuts = [await at.cut(incident) for incident in incidents]
    await asyncio.gather(*(at.settled(incident) for incident in incidents))
    return milliseconds(begun, max(cut.ended for cut in cuts))


async def _bare(at: Scene, pods: list[str]) -> float:
    await asyncio.gather(*(at.pod(pod) for pod in pods))
    cuts = await at.cut_bare(pods)
    return milliseconds(min(cut.began for cut in cuts), max(cut.ended for cut in cuts))


@asynccontextmanager
async def _sender(intake: Intake) -> AsyncIterator[Post]:
    """Falco with connections that are open."""
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(intake.folder / "ca.crt")), limit=AT_ONCE)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=trust, headers=headers) as session:

        async def post(alert: Object) -> None:
            url = f"https://{intake.address}/falco"
            async with session.post(url, json=alert, server_hostname=HOST) as answer:
                answer.raise_for_status()
                await answer.read()

        yield post


@contextmanager
def _unbroken(kubectl: Kubectl) -> Iterator[None]:
    """The operator with a breaker that lets fifty pass."""
    deployment = ("deployment/firebreak", "-n", NAMESPACE)

    def set_to(*variables: str) -> None:
        kubectl("set", "env", *deployment, *variables)
        kubectl("rollout", "status", *deployment, "--timeout=120s")

    set_to(*(f"{name}=1000" for name in BREAKER))
    try:
        yield
    finally:
        set_to(*(f"{name}-" for name in BREAKER))
