"""The volatile capture: the script in real shells, and its text read as data however hostile it is."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_double import ApiDouble, exec_answer, exit_status
from firebreak.kube.source import ContainerRef, Reason
from firebreak.kube.volatile import VolatileSource, volatile_command
from firebreak.kube.volatile_parse import MAX_FILES, parse_volatile
from firebreak.model.outcome import Completeness, Outcome

WEB = ContainerRef("shop", "web-1", "app")
TOOLS = ("sh", "cat", "ls", "date")
ANY = "0.0.0.0"  # noqa: S104 - a route's destination; nothing is bound

TEMPLATE = rb"""firebreak-volatile 1 @m
@m clock
2424.99 4306.81
1795227224

@m observer
9

@m links
lrwxrwxrwx    1 0        0                0 Nov 21 02:13 /proc/1/cwd -> /srv/my app
lrwxrwxrwx    1 0        0                0 Nov 21 02:13 /proc/1/exe -> /bin/nc (deleted)
lrwxrwxrwx    1 0        0                0 Nov 21 02:13 /proc/9/root

@m files
/proc/1/fd:
total 0
lrwx------    1 0        0               64 Nov 21 02:13 0 -> /dev/null
lrwx------    1 0        0               64 Nov 21 02:13 3 -> socket:[32860]

/proc/9/fd:
total 0

@m process 1
Name:	nc
State:	S (sleeping)
PPid:	0
Uid:	1000	1000	1000	1000
Gid:	0	0	0	0
CapEff:	00000000a80425fb
STAT
COMMAND
@m process 9
Name:	sh
PPid:	0

@m net tcp
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 32860 1 0000 100 0 0 10 0
   1: 0A00F40A:C350 0103F40A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 7 1 0000 100 0 0 10 0
   2: nonsense

@m net tcp6
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 8 1 0

@m net unix
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 55 /run/a b.sock

@m net route
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100F40A	0003	0	0	0	00000000	0	0	0

@m net fib_trie
Main:
        |-- 10.244.0.10
           /32 host LOCAL
        |-- 10.244.0.255
           /32 link BROADCAST

@m mounts
overlay / overlay rw,relatime 0 0
tmpfs /run/secrets tmpfs ro 0 0

@m kernel
Linux version 6.18
web-1

@m end
"""
STAT = b"1 (n) c) S 0 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 233347" + b" 7" * 30
SAMPLE = TEMPLATE.replace(b"STAT", STAT).replace(b"COMMAND", b"nc\0-l\0 odd\nname \xff\0")


def test_a_capture_is_read_into_data() -> None:
    found = parse_volatile(SAMPLE)
    first, observer = found.pop("processes")
    assert first == {
        "pid": 1,
        "ppid": 0,
        "observer": False,
        "name": "nc",
        "state": "S (sleeping)",
        "uids": ["1000"] * 4,
        "gids": ["0"] * 4,
        "capabilities": "00000000a80425fb",
        "started_ticks": 233347,
        "command": ["nc", "-l", " odd\nname \\xff"],
        "files": {"0": "/dev/null", "3": "socket:[32860]"},
        "cwd": "/srv/my app",
        "exe": "/bin/nc (deleted)",
    }
    assert (observer["pid"], observer["observer"], observer["started_ticks"], observer["files"]) == (9, True, None, {})
    tcp = {"protocol": "tcp", "uid": 1000, "inode": 32860, "pids": [1], "state": "LISTEN"}
    assert found == {
        "complete": True,
        "clock": {"uptime_seconds": 2424.99, "unix_seconds": 1795227224},
        "kernel": "Linux version 6.18\nweb-1",
        "sockets": [
            tcp | {"local": "127.0.0.1:8080", "remote": "0.0.0.0:0"},
            tcp | {"local": "10.244.0.10:50000", "remote": "10.244.3.1:443", "state": "ESTABLISHED", "uid": 0}
            | {"inode": 7, "pids": []},
            tcp | {"protocol": "tcp6", "local": "[::1]:80", "remote": "[::]:0", "uid": 0, "inode": 8, "pids": []},
            {"protocol": "unix", "path": "/run/a b.sock", "listening": True, "inode": 55, "pids": []},
        ],
        "mounts": [
            {"source": "overlay", "target": "/", "type": "overlay", "options": "rw,relatime"},
            {"source": "tmpfs", "target": "/run/secrets", "type": "tmpfs", "options": "ro"},
        ],
        "routes": [{"interface": "eth0", "destination": ANY, "gateway": "10.244.0.1", "mask": ANY}],
        "addresses": ["10.244.0.10"],
        "left_out": [],
    }  # fmt: skip


@given(st.integers(0, len(SAMPLE)))
def test_a_cut_capture_is_read_as_far_as_it_goes_and_is_not_complete(length: int) -> None:
    found = parse_volatile(SAMPLE[:length])
    assert found["complete"] is (length >= len(SAMPLE))
    json.dumps(found)


@given(st.integers(0, len(SAMPLE)), st.binary(max_size=30))
def test_a_damaged_capture_is_read_without_error(position: int, noise: bytes) -> None:
    json.dumps(parse_volatile(SAMPLE[:position] + noise + SAMPLE[position + len(noise) :]))


@given(st.binary())
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    assert not parse_volatile(data)["complete"]
    json.dumps(parse_volatile(b"firebreak-volatile 1 @m\n@m " + data))


def test_a_summary_is_bounded_and_says_what_it_leaves_out() -> None:
    files = b"".join(b"l 1 0 0 0 Nov 21 02:13 %d -> /x\n" % i for i in range(MAX_FILES + 1))
    found = parse_volatile(b"firebreak-volatile 1 @m\n@m files\n/proc/1/fd:\n" + files + b"\n@m process 1\nName:\tx\n")
    assert len(found["processes"][0]["files"]) == MAX_FILES
    assert found["left_out"] == ["files"]


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
        found = parse_volatile(done.stdout)
        port = server.getsockname()[1]
    assert b"hunter2" not in done.stdout
    assert found["complete"]
    mine = next(process for process in found["processes"] if process["pid"] == os.getpid())
    assert mine["cwd"] == str(Path.cwd())
    assert mine["command"] == Path("/proc/self/cmdline").read_text().split("\0")[:-1]
    assert mine["uids"][0] == str(os.getuid())
    assert any(process["observer"] for process in found["processes"])
    listening = next(entry for entry in found["sockets"] if entry.get("local") == f"127.0.0.1:{port}")
    assert (listening["state"], listening["pids"]) == ("LISTEN", [os.getpid()])
    assert "127.0.0.1" in found["addresses"]
    assert any(mount["target"] == "/proc" for mount in found["mounts"])


async def run(*messages: bytes) -> tuple[bytes, Outcome]:
    async with ApiDouble(exec_answer(*messages)) as connection:
        source = VolatileSource(connection, WEB)
        data = b"".join([chunk async for chunk in source])
        return data, source.outcome


async def test_a_container_without_a_shell_is_missing_with_that_reason() -> None:
    _, outcome = await run(b'\x03{"status":"Failure","message":"exec: \\"sh\\": executable file not found in $PATH"}')
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.NO_SHELL)


async def test_a_script_whose_last_line_is_not_there_is_partial_even_with_success() -> None:
    data, outcome = await run(b"\x01" + SAMPLE, exit_status(0))
    assert data == SAMPLE
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.STREAM_BROKEN)
