"""Evidence streams on a real cluster: what a container holds, says and does, and how each ending is told."""

import hashlib
import io
import json
import re
import secrets
import ssl
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.kube.client import Api
from firebreak.kube.describe import DescribeSource
from firebreak.kube.exec import ExecSource
from firebreak.kube.logs import LogSource
from firebreak.kube.source import ContainerRef, Limits, Reason, Source
from firebreak.kube.tarsource import TarSource
from firebreak.kube.volatile import VolatileSource
from firebreak.model.outcome import Completeness, Outcome

# One event loop for all: TLS connections that a test ends are closed in the background, after the test.
pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
TMP = "/tmp"  # noqa: S108 - in the container
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
BUSY = """
dd if=/dev/urandom of=/tmp/big bs=1M count=64
echo marker > /srv/app/main.py
nc -l -p 8080 &
echo ready
wait
"""


def container(name: str, script: str, **more: object) -> dict[str, object]:
    command = ["/bin/busybox", "sh", "-c", script]
    return {"name": name, "image": "busybox:1.35", "imagePullPolicy": "IfNotPresent", "command": command, **more}


def apply(kubectl: Kubectl, namespace: str, name: str, *containers: dict[str, object]) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": containers},
    }
    kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=json.dumps(pod))


def says(kubectl: Kubectl, namespace: str, *arguments: str) -> str:
    """What `kubectl logs` prints, nothing while there is no log."""
    try:
        return kubectl("logs", "--namespace", namespace, *arguments)
    except ClusterError:
        return ""


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl) -> Iterator[str]:
    """A namespace with a busy pod, one whose tools are gone, and one that crashes, for reading only."""
    namespace = f"streams-{secrets.token_hex(4)}"
    kubectl("create", "namespace", namespace)
    wait_until(
        lambda: kubectl("get", "serviceaccounts", "--namespace", namespace, "--output", "name"),
        timeout=20,
        otherwise=f"namespace {namespace} got no default ServiceAccount",
    )
    password = {"name": "PASSWORD", "value": "hunter2\n    Mounts:\nhunter2\fhunter2"}
    apply(kubectl, namespace, "web", container("app", BUSY, workingDir="/srv/app", env=[password]))
    remove = "cd /; busybox rm {}; echo removed; exec busybox sleep 10000"
    no_shell = container("no-shell", remove.format("/bin/sh"))
    apply(kubectl, namespace, "bare", no_shell, container("no-tools", remove.format("/bin/sh /bin/tar")))
    absent = container("absent", "true", image="no-such-image:0", imagePullPolicy="Never")
    apply(kubectl, namespace, "broken", container("crash", "echo last words; exit 3"), absent)
    for word, *arguments in (
        ("ready", "web"),
        ("removed", "bare", "--container=no-shell"),
        ("removed", "bare", "--container=no-tools"),
        ("last words", "broken", "--container=crash", "--previous"),
    ):
        wait_until(
            lambda word=word, arguments=arguments: word in says(kubectl, namespace, *arguments),
            timeout=60,
            otherwise=f"{' '.join(arguments)} did not say {word!r}",
        )
    yield namespace
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(cluster: ClusterInfo) -> AsyncIterator[Api]:
    async with await Api.connect(str(cluster.kubeconfig)) as connected:
        yield connected


async def read(source: Source) -> tuple[bytes, Outcome]:
    data = b"".join([chunk async for chunk in source])
    return data, source.outcome


async def test_files_arrive_byte_for_byte_and_without_the_accounts_token(pods: str, api: Api) -> None:
    web = ContainerRef(pods, "web", "app")
    there, _ = await read(ExecSource(api, web, ["sha256sum", f"{TMP}/big"]))
    token, _ = await read(ExecSource(api, web, ["cat", f"{ACCOUNT}/token"]))
    source = TarSource(api, web, [TMP, "/var/run", "/nowhere"], [ACCOUNT])
    data, outcome = await read(source)
    assert (outcome.completeness, outcome.reason) == (Completeness.COMPLETE, Reason.READ_TO_END)
    assert "not there: /nowhere" in outcome.message
    assert source.preamble.working_directory == "/srv/app"
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        big, main = files.extractfile("./tmp/big"), files.extractfile("./srv/app/main.py")
        assert big is not None
        assert main is not None
        assert hashlib.sha256(big.read()).hexdigest() == there.decode().split()[0]
        assert main.read() == b"marker\n"
        assert "./var/run/secrets/kubernetes.io" in files.getnames()
        assert not [name for name in files.getnames() if "serviceaccount" in name]
    assert len(token) > 100
    assert token not in data
    assert source.verdict.dropped > 0


async def test_a_link_in_the_place_of_a_secret_mount_hides_nothing(pods: str, api: Api) -> None:
    web = ContainerRef(pods, "web", "app")
    await read(ExecSource(api, web, ["ln", "-s", TMP, "/srv/keys"]))
    data, outcome = await read(TarSource(api, web, [TMP], ["/srv/keys"]))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.UNEXPECTED_EXCLUSION)
    assert "the container calls /tmp a secret mount" in outcome.message
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        assert files.getmember("./tmp/big").size == 64 * MIB


@pytest.mark.parametrize("round_", range(3))
async def test_a_pod_deleted_while_its_files_are_read_is_partial(
    namespace: str, api: Api, kubectl: Kubectl, round_: int
) -> None:
    """Three times, for version 5 of the exec protocol calls it success every other time."""
    apply(
        kubectl,
        namespace,
        "web",
        container("app", "truncate -s 8G /tmp/big; echo ready; sleep 10000"),
    )
    wait_until(lambda: "ready" in says(kubectl, namespace, "web"), timeout=60, otherwise="pod web is not ready")
    source = TarSource(api, ContainerRef(namespace, "web", "app"), [TMP])
    read_bytes = 0
    async for chunk in source:
        if read_bytes < MIB <= read_bytes + len(chunk):
            kubectl("delete", "pod", "web", "--namespace", namespace, "--now", "--wait=false")
        read_bytes += len(chunk)
    assert MIB < read_bytes < 8192 * MIB
    assert source.outcome.completeness is Completeness.PARTIAL
    assert "before its end mark" in source.outcome.message


@pytest.mark.parametrize(
    ("command", "completeness", "reason"),
    [
        (["echo", "x"], Completeness.COMPLETE, Reason.READ_TO_END),
        (["sh", "-c", "echo x; exit 7"], Completeness.PARTIAL, Reason.COMMAND_FAILED),
        (["sh", "-c", "kill -9 $$"], Completeness.MISSING, Reason.COMMAND_FAILED),
        (["no-such-program"], Completeness.MISSING, Reason.NO_EXECUTABLE),
        (["/no/such/program"], Completeness.MISSING, Reason.NO_EXECUTABLE),
    ],
)
async def test_each_way_a_command_ends_is_told(
    pods: str, api: Api, command: list[str], completeness: Completeness, reason: Reason
) -> None:
    _, outcome = await read(ExecSource(api, ContainerRef(pods, "web", "app"), command))
    assert (outcome.completeness, outcome.reason) == (completeness, reason), outcome.message


@pytest.mark.parametrize(
    ("pod", "name", "reason"),
    [
        ("web", "nobody", Reason.NO_SUCH_CONTAINER),
        ("nobody", "app", Reason.NOT_FOUND),
        ("broken", "absent", Reason.CONTAINER_NOT_RUNNING),
    ],
)
async def test_exec_where_nothing_runs_is_missing_with_the_reason(
    pods: str, api: Api, pod: str, name: str, reason: Reason
) -> None:
    _, outcome = await read(ExecSource(api, ContainerRef(pods, pod, name), ["true"]))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, reason), outcome.message


@dataclass
class Stranger:
    """The same connection as an account without rights."""

    api: Api

    @property
    def session(self) -> aiohttp.ClientSession:
        return self.api.session

    @property
    def base(self) -> str:
        return self.api.base

    @property
    def ssl(self) -> ssl.SSLContext | None:
        return self.api.ssl

    async def headers(self) -> dict[str, str]:
        return {**await self.api.headers(), "Impersonate-User": "stranger"}


async def test_without_the_right_each_source_says_whose_right_is_missing(pods: str, api: Api) -> None:
    stranger, web = Stranger(api), ContainerRef(pods, "web", "app")
    for source in (TarSource(stranger, web, [TMP]), VolatileSource(stranger, web), LogSource(stranger, web)):
        data, outcome = await read(source)
        assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, Reason.FORBIDDEN)
        assert 'User "stranger" cannot' in outcome.message


async def test_processes_and_sockets_are_seen_and_environments_are_not(pods: str, api: Api) -> None:
    data, outcome = await read(VolatileSource(api, ContainerRef(pods, "web", "app")))
    assert outcome.complete, outcome.message
    assert b"hunter2" not in data
    assert b"nc\0-l\0-p\x008080\0" in data
    assert re.search(rb" /proc/\d+/cwd -> /srv/app\n", data)
    assert re.search(rb":1F90 0+:0000 0A ", data), "nothing listens on port 8080"
    assert re.search(rb"/run/secrets/kubernetes.io/serviceaccount tmpfs ", data)


async def test_without_a_shell_tar_is_run_directly_and_without_both_nothing_can_be(pods: str, api: Api) -> None:
    no_shell, no_tools = ContainerRef(pods, "bare", "no-shell"), ContainerRef(pods, "bare", "no-tools")
    data, outcome = await read(TarSource(api, no_shell, ["/bin"]))
    assert outcome.complete, outcome.message
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        assert "./bin/busybox" in files.getnames()
    _, volatile = await read(VolatileSource(api, no_shell))
    assert (volatile.completeness, volatile.reason) == (Completeness.MISSING, Reason.NO_SHELL)
    _, nothing = await read(TarSource(api, no_tools, ["/bin"]))
    assert (nothing.completeness, nothing.reason) == (Completeness.MISSING, Reason.NO_TAR)


async def test_logs_of_the_dead_and_the_unborn_are_told_apart(pods: str, api: Api) -> None:
    crash, absent = ContainerRef(pods, "broken", "crash"), ContainerRef(pods, "broken", "absent")
    data, outcome = await read(LogSource(api, crash, previous=True))
    assert data.endswith(b"Z last words\n")
    assert outcome.complete
    _, unborn = await read(LogSource(api, absent))
    assert (unborn.completeness, unborn.reason) == (Completeness.MISSING, Reason.NOT_STARTED)
    _, never = await read(LogSource(api, ContainerRef(pods, "web", "app"), previous=True))
    assert (never.completeness, never.reason) == (Completeness.MISSING, Reason.NO_PREVIOUS_CONTAINER)


async def test_a_log_is_cut_at_the_size_bound(pods: str, api: Api) -> None:
    data, outcome = await read(LogSource(api, ContainerRef(pods, "web", "app"), Limits(max_bytes=10)))
    assert (len(data), outcome.completeness, outcome.reason) == (10, Completeness.PARTIAL, Reason.SIZE_LIMIT)


async def test_describe_is_what_kubectl_prints_but_for_the_values(
    pods: str, api: Api, kubectl: Kubectl, cluster: ClusterInfo
) -> None:
    data, outcome = await read(DescribeSource(api, pods, "web", kubectl=str(cluster.bin / "kubectl")))
    assert outcome.complete, outcome.message
    ours, theirs = data.decode(), kubectl("describe", "pod", "web", "--namespace", pods)
    assert "hunter2" not in ours
    begin, _, rest = theirs.partition("      PASSWORD:")
    end = rest[rest.rindex("    Mounts:") : rest.index("Events:")]
    assert ours.partition("Events:")[0] == f"{begin}      PASSWORD:  <left out by Firebreak: 35 bytes>\n{end}"
    assert "Started" in ours.partition("Events:")[2]
