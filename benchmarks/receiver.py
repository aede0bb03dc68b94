"""An intake that answers: the deployed one, or a process of this checkout where nothing runs pods.

`FIREBREAK_INTAKE_KUBECONFIG` names a kubeconfig of the intake's own account: then it is a process here, on loopback,
with a certificate and tokens as the deployed one has, and the operator has to be running already, its breaker set wide.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from benchmarks.process import Operator
from benchmarks.waiting import until
from cluster import pki
from cluster.provider import ClusterInfo
from conftest import kubectl_of
from installed import NAMESPACE, Kubectl
from receiving import HOST, TOKEN, as_process, deployed

ACCOUNT = "FIREBREAK_INTAKE_KUBECONFIG"
PORT = 17920  # and the next, for its probes
CONNECTIONS = 50
BREAKER = ("FIREBREAK_BREAKER_NAMESPACE", "FIREBREAK_BREAKER_TOTAL")
Post = Callable[[Any], Awaitable[int]]


@dataclass(frozen=True)
class Receiver:
    """Where alerts are posted, and the process if it is one of ours."""

    address: str
    authority: Path
    process: Operator | None = None


@asynccontextmanager
async def receiver(info: ClusterInfo) -> AsyncIterator[Receiver]:
    """Run an intake until the block ends."""
    kubeconfig = os.environ.get(ACCOUNT)
    with TemporaryDirectory() as name:
        folder = Path(name)
        if kubeconfig:
            async with _process(folder, kubeconfig) as found:
                yield found
            return
        kubectl, stack = kubectl_of(info), ExitStack()

        def deploy() -> str:
            stack.enter_context(_unbroken(kubectl))
            return stack.enter_context(deployed(kubectl, folder)).address

        try:
            address = await asyncio.to_thread(deploy)  # it has an event loop of its own
            yield Receiver(address, folder / "ca.crt")
        finally:
            await asyncio.to_thread(stack.close)


@asynccontextmanager
async def sender(to: Receiver) -> AsyncIterator[Post]:
    """Falco with connections that are open; a post returns the status that it was answered with."""
    trust = ssl.create_default_context(cafile=str(to.authority))
    connector = aiohttp.TCPConnector(ssl=trust, limit=CONNECTIONS)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post(alert: Any) -> int:
            async with session.post(f"https://{to.address}/falco", json=alert, server_hostname=HOST) as answer:
                await answer.read()
                return answer.status

        yield post


@asynccontextmanager
async def _process(folder: Path, kubeconfig: str) -> AsyncIterator[Receiver]:
    pki.authority(folder, "ca", "intake-ca")
    command, environment = as_process(folder, kubeconfig, port=PORT, probes=PORT + 1)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
    try:
        found = Receiver(f"127.0.0.1:{PORT}", folder / "ca.crt", Operator(process))
        await until(lambda: _answers(found))
        yield found
    finally:
        process.terminate()
        await process.wait()


async def _answers(to: Receiver) -> bool | None:
    """Whether it answers at all; what is no alert is refused."""
    try:
        async with sender(to) as post:
            return bool(await post({}))
    except aiohttp.ClientError:
        return None


@contextmanager
def _unbroken(kubectl: Kubectl) -> Iterator[None]:
    """The operator with a breaker that lets a storm pass."""
    deployment = ("deployment/firebreak", "-n", NAMESPACE)

    def set_to(*variables: str) -> None:
        kubectl("set", "env", *deployment, *variables)
        kubectl("rollout", "status", *deployment, "--timeout=120s")

    set_to(*(f"{name}=1000" for name in BREAKER))
    try:
        yield
    finally:
        set_to(*(f"{name}-" for name in BREAKER))
