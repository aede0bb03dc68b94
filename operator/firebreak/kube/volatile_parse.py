"""Turn the text of the volatile capture into data. Pure, bounded, and never surprised: the text is hostile.

The parts are told apart by a random mark that the container could not know in advance. Within a part the text is the
kernel's, but a process chooses its own name, arguments and file names; a name with a line break in it can add lines
to the list of files, and nowhere else. The text itself is the evidence, this is its summary.
"""

import re
from itertools import islice
from typing import Any

from firebreak.kube.procnet import inet_sockets, local_addresses, routes, unix_sockets

MAX_BYTES = 16 * 1024 * 1024
MAX_PROCESSES = 4096
MAX_FILES = 20_000
MAX_ARGUMENTS = 256
MAX_TEXT = 4096
"""Characters of one name or argument."""

_START = re.compile(rb"firebreak-volatile 1 (@[0-9a-zA-Z]{1,64})\n")
_STAT = re.compile(rb"^(\d+) \((.{0,64}?)\) ([A-Za-z]) ((?:-?\d+ ){40,60}-?\d+)\n", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r" /proc/(\d{1,10})/(exe|cwd|root) -> (.*)$")
_OWNER = re.compile(r"^/proc/(\d{1,10})/fd:$")
_FILE = re.compile(r" (\d{1,10}) -> (.*)$")
_SOCKET = re.compile(r"^socket:\[(\d{1,20})\]$")
_INET = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
_STATUS_FIELDS = {
    "Name": "name",
    "State": "state",
    "PPid": "ppid",
    "Uid": "uids",
    "Gid": "gids",
    "CapEff": "capabilities",
}


def parse_volatile(data: bytes) -> dict[str, Any]:
    """Read what VolatileSource delivered. Never raises.

    Keys: `complete` (the last line was there), `clock` (`uptime_seconds`, `unix_seconds`), `processes` (with their
    open files, `observer` marking our own), `sockets` (with the `pids` that hold them), `mounts`, `routes`,
    `addresses`, `kernel`, and `left_out`, which names what exceeded a bound of this summary.
    """
    parts = _parts(data[:MAX_BYTES])
    left_out: list[str] = ["bytes"] if len(data) > MAX_BYTES else []
    processes = _processes(parts, left_out)
    _add_links(processes, parts.get("links", b""))
    holders = _add_files(processes, parts.get("files", b""), left_out)
    return {
        "complete": "end" in parts,
        "clock": _clock(parts.get("clock", b"")),
        "kernel": _text(parts.get("kernel", b"")).strip(),
        "processes": list(processes.values()),
        "sockets": _sockets(parts, holders),
        "mounts": _mounts(parts.get("mounts", b"")),
        "routes": list(routes(_raw(parts, "net route"))),
        "addresses": local_addresses(_raw(parts, "net fib_trie"), _raw(parts, "net if_inet6")),
        "left_out": left_out,
    }


def _parts(data: bytes) -> dict[str, bytes]:
    start = _START.match(data)
    if start is None:
        return {}
    mark = b"\n" + start.group(1) + b" "
    parts: dict[str, bytes] = {}
    for part in data[start.end() - 1 :].split(mark)[1:]:
        name, newline, body = part.partition(b"\n")
        if newline:
            parts.setdefault(name[:100].decode("ascii", "replace"), body)
    return parts


def _processes(parts: dict[str, bytes], left_out: list[str]) -> dict[int, dict[str, Any]]:
    observer = _number(parts.get("observer", b"").strip())
    found: dict[int, dict[str, Any]] = {}
    for name, body in parts.items():
        word, _, pid = name.partition(" ")
        if word != "process" or not pid.isdecimal() or len(pid) > 10:  # noqa: PLR2004 - digits of a pid
            continue
        if len(found) == MAX_PROCESSES:
            left_out.append("processes")
            break
        found[int(pid)] = _process(int(pid), body, observer)
    return found


def _process(pid: int, body: bytes, observer: int | None) -> dict[str, Any]:
    stat = _STAT.search(body)
    status, command = (body[: stat.start()], body[stat.end() :]) if stat else (body, b"")
    fields = _status(status)
    numbers = stat.group(4).split() if stat else []
    ppid = _number(fields.get("ppid", "").encode())
    return {
        "pid": pid,
        "ppid": ppid,
        "observer": observer is not None and observer in {pid, ppid},
        "name": fields.get("name"),
        "state": fields.get("state"),
        "uids": fields.get("uids", "").split(),
        "gids": fields.get("gids", "").split(),
        "capabilities": fields.get("capabilities"),
        "started_ticks": int(numbers[18]) if numbers else None,  # field 22 of proc_pid_stat(5), since boot
        "command": [_text(word) for word in command.split(b"\0", MAX_ARGUMENTS)[:MAX_ARGUMENTS]][:-1],
        "files": {},
    }


def _status(text: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in _text(text, len(text)).split("\n")[:100]:
        key, _, value = line.partition(":\t")
        if key in _STATUS_FIELDS:
            fields.setdefault(_STATUS_FIELDS[key], value[:MAX_TEXT])
    return fields


def _add_links(processes: dict[int, dict[str, Any]], text: bytes) -> None:
    for line in _text(text, len(text)).split("\n"):
        if (match := _LINK.search(line)) and (process := processes.get(int(match[1]))):
            process[match[2]] = match[3][:MAX_TEXT]


def _add_files(processes: dict[int, dict[str, Any]], text: bytes, left_out: list[str]) -> dict[int, list[int]]:
    """Add open files to their processes; return which pids hold the socket with which inode."""
    holders: dict[int, list[int]] = {}
    pid = count = 0
    for line in _text(text, len(text)).split("\n"):
        if owner := _OWNER.match(line):
            pid = int(owner[1])
        elif (file := _FILE.search(line)) and pid in processes:
            count += 1
            if count > MAX_FILES:
                left_out.append("files")
                break
            processes[pid]["files"][file[1]] = file[2][:MAX_TEXT]
            if socket := _SOCKET.match(file[2]):
                holders.setdefault(int(socket[1]), []).append(pid)
    return holders


def _sockets(parts: dict[str, bytes], holders: dict[int, list[int]]) -> list[dict[str, Any]]:
    found = [socket for name in _INET for socket in inet_sockets(name, _raw(parts, f"net {name}"))]
    found += unix_sockets(_raw(parts, "net unix"))
    return [{**socket, "pids": sorted(set(holders.get(socket["inode"], ())))} for socket in found]


def _mounts(text: bytes) -> list[dict[str, str]]:
    keys = ("source", "target", "type", "options")
    lines = (line.split(" ") for line in _text(text, len(text)).split("\n"))
    whole = (fields for fields in lines if len(fields) >= len(keys))
    return [
        {key: field[:MAX_TEXT] for key, field in zip(keys, fields, strict=False)} for fields in islice(whole, MAX_FILES)
    ]


def _clock(text: bytes) -> dict[str, float | int | None]:
    words = text.split()
    uptime = _text(words[0]) if words else ""
    seconds = float(uptime) if re.fullmatch(r"\d{1,12}\.\d{1,4}", uptime) else None
    return {"uptime_seconds": seconds, "unix_seconds": _number(words[-1]) if words else None}


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - digits of 64 bits


def _text(data: bytes, limit: int = MAX_TEXT) -> str:
    """Decode without loss: what is no UTF-8 is shown as a backslash escape."""
    return data[:limit].decode("utf-8", "backslashreplace")


def _raw(parts: dict[str, bytes], name: str) -> str:
    data = parts.get(name, b"")
    return _text(data, len(data))
