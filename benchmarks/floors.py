"""What a capture is measured against: the same files on other ways, each in seconds."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import obstore

from benchmarks.scene import Scene
from cluster.provider import ClusterInfo
from firebreak.evidence.keys import Key
from firebreak.evidence.location import connect
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.source import ContainerRef
from firebreak.kube.tarsource import TarSource
from incidents import store_options
from installed import BUCKET

OBJECT = Key("bench/piped.tar")


async def to_nowhere(info: ClusterInfo, at: Scene, pod: str) -> float:
    """`kubectl exec tar` to /dev/null: puts nothing anywhere."""
    began = time.monotonic()
    kubectl = await _kubectl(info, at, pod, subprocess.DEVNULL)
    _succeeded(await kubectl.wait())
    return time.monotonic() - began


async def piped(info: ClusterInfo, at: Scene, pod: str) -> float:
    """`kubectl exec tar | an upload` to the same store: neither hashed nor filtered nor judged."""
    url, options = f"s3://{BUCKET}", store_options(info)
    command = (sys.executable, "-m", "benchmarks.piping", url, OBJECT)
    reading, writing = os.pipe()
    began = time.monotonic()
    upload = await asyncio.create_subprocess_exec(*command, stdin=reading, env={**os.environ, **options})
    os.close(reading)
    kubectl = await _kubectl(info, at, pod, writing)
    os.close(writing)
    _succeeded(await kubectl.wait(), await upload.wait())
    seconds = time.monotonic() - began
    await obstore.delete_async(connect(url, options).whole, OBJECT)
    return seconds


async def to_discarding(server: EvidenceStore, at: Scene, pod: str) -> float:
    """Firebreak's own way, in this process, to a store that keeps nothing: what is left where a store costs no CPU."""
    began = time.monotonic()
    source = TarSource(at.api, ContainerRef(at.namespace, pod, "c"), ["/data"])
    await server.put_stream(OBJECT, aiter(source))
    assert source.outcome.complete, source.outcome  # noqa: S101 - else it measured nothing
    return time.monotonic() - began


@asynccontextmanager
async def discarding() -> AsyncIterator[EvidenceStore]:
    """Run an S3 server that keeps nothing until the block ends."""
    command = (sys.executable, "-m", "benchmarks.discarding")
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout  # noqa: S101 - asked for above
        port = int(await process.stdout.readline())
        options = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": "us-east-1",
        }
        yield EvidenceStore.open("s3://nowhere", options)
    finally:
        process.kill()
        await process.wait()


async def _kubectl(info: ClusterInfo, at: Scene, pod: str, output: int) -> asyncio.subprocess.Process:
    command = (info.bin / "kubectl", "--kubeconfig", info.kubeconfig, "exec", "--namespace", at.namespace, pod, "--")
    return await asyncio.create_subprocess_exec(
        *command, "tar", "cf", "-", "/data", stdout=output, stderr=subprocess.DEVNULL
    )


def _succeeded(*codes: int) -> None:
    assert not any(codes), codes  # noqa: S101 - else it measured nothing
