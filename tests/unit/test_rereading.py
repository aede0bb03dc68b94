"""What something between Firebreak and a living container broke off is read again; what the container ended is not."""

import asyncio
import io
import json
import tarfile
from typing import Any

import pytest

from fake_api import Answer, Call, Close, ExecSession, FakeApi, Fault, Obj
from firebreak.evidence.store import EvidenceStore
from harness import PATIENCE, Replica, replica
from world import incident, shop

LOG = ("shop", "web-1", "c", False)
PREAMBLE = b"firebreak-tar 1\nroot /etc\ncwd /\n\n"


@pytest.fixture
def store() -> EvidenceStore:
    return EvidenceStore.open("memory://")


def archive(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("etc/passwd")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Container:
    """A container whose tar is cut off in its first runs, by whatever `cut` does, or fails with the server's words."""

    def __init__(self, data: bytes, *, runs_cut: int, words: str = "") -> None:
        self.data = data
        self.words = words
        self.runs_cut = runs_cut
        self.runs = 0

    async def shell(self, session: ExecSession) -> None:
        if not any("firebreak-tar" in word for word in session.command):
            await session.exit(127)
            return
        self.runs += 1
        if self.runs <= self.runs_cut and self.words:
            await session.socket.send_bytes(b"\x03" + json.dumps({"status": "Failure", "message": self.words}).encode())
            return
        whole = PREAMBLE + archive(self.data)
        if self.runs <= self.runs_cut:
            await session.stdout(whole[: len(PREAMBLE) + 2048])
            self.cut()
            return  # closed without an exit status: what kubelet does when it ends
        for start in range(0, len(whole), 10_000):
            await session.stdout(whole[start : start + 10_000])
        await session.exit(0)

    def cut(self) -> None:
        """Somebody else's part of the fault."""


async def artifact(firebreak: Replica, store: EvidenceStore, ending: str) -> Obj:
    """The sealed record of an artifact."""
    await firebreak.until("shell", lambda status: bool(status.get("evidence")))
    receipts = [info.key for info in await store.list("") if "/receipts/" in info.key]
    (key,) = (key for key in receipts if ending in key)
    found: Obj = json.loads(await store.read(key))
    return found


async def test_a_copy_that_broke_off_is_made_again_and_is_whole(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    container = Container(bytes(50_000), runs_cut=2)
    fake.containers.on_exec = container.shell
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/files/c.tar")
    assert (found["completeness"], found["reason"], container.runs) == ("Complete", "ReadToEnd", 3)
    assert found["bytes"] == len(archive(bytes(50_000)))


@pytest.mark.parametrize(
    "words",
    [
        'Internal error occurred: error sending request: Post "https://10.0.0.1:10250/exec/": connection refused',
        "Internal error occurred: unable to upgrade connection: pod does not exist",
        'error executing command: rpc error: code = Unavailable desc = "dial unix: no such file or directory"',
    ],
)
async def test_a_node_whose_programs_start_anew_is_asked_again(words: str, fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    container = Container(b"root", runs_cut=2, words=words)
    fake.containers.on_exec = container.shell
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/files/c.tar")
    assert (found["completeness"], container.runs) == ("Complete", 3)


async def test_what_was_read_of_a_container_that_ended_is_kept(fake: FakeApi, store: EvidenceStore) -> None:
    """The next container's files are others: they never take the place of the first one's."""

    class Restarting(Container):
        def cut(self) -> None:
            running = {"name": "c", "containerID": "containerd://another", "restartCount": 1, "state": {"running": {}}}
            fake.update("Pod", "shop", "web-1", {"status": {"containerStatuses": [running]}})

    shop(fake)
    container = Restarting(bytes(50_000), runs_cut=1)
    fake.containers.on_exec = container.shell
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/files/c.tar")
    assert (found["completeness"], found["reason"], container.runs) == ("Partial", "StreamBroken", 1)
    assert found["bytes"] == 2048


FAULTS: dict[str, Any] = {
    "an API server that does not answer": Close(),
    "an API server without its kubelet": Answer(500, message="error dialing backend: connection refused"),
    "an API server that has not read its roles": Answer(
        403, message='is forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "system:discovery" not found'
    ),
    "an API server that has not read its bindings": Answer(403, message='User "x" cannot get resource'),
    "a token that was replaced": Answer(401),
    "an API server with too much to do": Answer(429),
}


@pytest.mark.parametrize(
    "how",
    [
        Close(),
        Answer(429),
        Answer(503),
        Answer(422, message="failed to configure policy: failed to find resource referenced by paramKind: 'Incident'"),
    ],
    ids=["reset", "overloaded", "away", "started and cannot judge yet"],
)
async def test_what_dies_first_is_asked_for_again(how: Any, fake: FakeApi, store: EvidenceStore) -> None:
    """What is recorded as missing is sealed as missing, so one overloaded moment would lose it for good."""

    async def shell(session: ExecSession) -> None:
        await session.stdout(f"{session.command[-1]} processes\n\n{session.command[-1]} end\n".encode())
        await session.exit(0)

    shop(fake)
    fake.containers.on_exec = shell
    fake.faults.add(Fault(when=lambda call: call.resource == "pods/exec" and call.name == "web-1", how=how, times=6))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/volatile/c.txt")
    assert (found["completeness"], found["reason"]) == ("Complete", "ReadToEnd")


@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
async def test_a_log_is_asked_for_again_after(how: Any, fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.containers.logs[LOG] = b"first line\n"

    def the_log(call: Call) -> bool:
        return call.path.endswith("/web-1/log") and "previous" not in call.query

    fake.faults.add(Fault(when=the_log, how=how, times=2))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/logs/c.current.log")
    assert (found["completeness"], found["bytes"]) == ("Complete", 11)


async def test_what_is_refused_for_good_is_not_asked_for_again(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.faults.add(Fault(when=lambda call: call.path.endswith("/web-1/log"), how=Answer(403)))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        found = await artifact(firebreak, store, "/logs/c.current.log")
    assert (found["completeness"], found["reason"]) == ("Missing", "Forbidden")
    assert len([c for c in fake.calls if c.path.endswith("/web-1/log") and "previous" not in c.query]) == 1


async def test_a_capture_that_waits_to_read_again_ends_at_once_with_its_incident(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.faults.add(Fault(when=lambda call: call.path.endswith("/web-1/log"), how=Answer(500)))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        async with asyncio.timeout(PATIENCE):
            await fake.called(lambda call: call.path.endswith("/web-1/log"), times=3)
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed"}, "metadata": {"generation": 2}})
        await firebreak.until("shell", lambda status: status.get("phase") == "Closed")
