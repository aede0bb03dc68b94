"""The volatile capture: the script in real shells, and what each ending of it is worth."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from api_double import ApiDouble, Handler, exec_answer, exit_status
from firebreak.kube.source import ContainerRef, Limits, Reason
from firebreak.kube.volatile import LIMITS, VolatileSource, volatile_command
from firebreak.model.outcome import Completeness, Outcome

WEB = ContainerRef("shop", "web-1", "app")
TOOLS = ("sh", "cat", "ls", "date")


def shells() -> dict[str, dict[str, str]]:
    """Sets of tools that this machine has: GNU with either shell, and busybox."""
    gnu = {tool: shutil.which(tool) or "" for tool in TOOLS}
    sets = {shell: gnu | {"sh": path} for shell in ("dash", "bash") if (path := shutil.which(shell))}
    if busybox := shutil.which("busybox"):
        sets["busybox"] = dict.fromkeys(TOOLS, busybox)
    return sets


@pytest.fixture(params=sorted(shells()))
def tools(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with one shell and its tools only."""
    for tool, path in shells()[request.param].items():
        (tmp_path / tool).symlink_to(path)
    return str(tmp_path)


def test_the_script_sees_a_process_with_its_socket_in_every_shell(tools: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = volatile_command("@m")
        done = subprocess.run(
            [f"{tools}/sh", *command[1:]],
            env={"PATH": tools, "TOKEN": "hunter2-in-the-environment"},
            capture_output=True,
            check=True,
            timeout=20,
        )
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
    assert b"hunter2" not in done.stdout
    parts = dict(part.partition("\n")[::2] for part in done.stdout.decode(errors="replace").split("\n@m ")[1:])
    pid = os.getpid()
    assert Path("/proc/self/cmdline").read_text() in parts[f"process {pid}"]
    assert f"\nUid:\t{os.getuid()}\t" in parts[f"process {pid}"]
    assert f" /proc/{pid}/cwd -> {Path.cwd()}\n" in parts["links"]
    own = parts["files"].partition(f"/proc/{pid}/fd:\n")[2].partition("\n\n")[0]
    assert f" -> socket:[{inode}]" in own
    assert f" 0100007F:{port:04X} 00000000:0000 0A " in parts["net tcp"]
    assert f"process {parts['observer'].strip()}" in parts
    assert " /proc proc " in parts["mounts"]
    assert list(parts)[-1] == "end"


async def run(handler: Handler, limits: Limits = LIMITS) -> tuple[bytes, Outcome]:
    async with ApiDouble(handler) as connection:
        source = VolatileSource(connection, WEB, limits)
        data = b"".join([chunk async for chunk in source])
        return data, source.outcome


async def test_a_container_without_a_shell_is_missing_with_that_reason() -> None:
    said = b'\x03{"status":"Failure","message":"exec: \\"sh\\": executable file not found in $PATH"}'
    _, outcome = await run(exec_answer(said))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.NO_SHELL)


async def test_a_script_whose_last_line_is_not_there_is_partial_even_with_success() -> None:
    text = b"firebreak-volatile 1 @m\n@m clock\n1.0 2.0\n\n@m end\n"  # with another mark than ours
    data, outcome = await run(exec_answer(b"\x01" + text, exit_status(0)))
    assert data == text
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.STREAM_BROKEN)


async def trickling(request: web.Request) -> web.StreamResponse:
    """A byte of stdout and of stderr now and then, for ever."""
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await socket.send_bytes(b"\x01.")
            await socket.send_bytes(b"\x02.")
            with contextlib.suppress(TimeoutError):
                await socket.receive(timeout=0.05)
    return socket


async def test_a_container_that_trickles_is_left_when_the_overall_time_is_over() -> None:
    assert LIMITS.total_seconds == 20
    assert LIMITS.idle_seconds == 10
    async with asyncio.timeout(5):
        _, outcome = await run(trickling, Limits(idle_seconds=5, total_seconds=0.5))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.TIMED_OUT)
