"""Read the kernel's network tables, /proc/net/*, as proc(5) describes them. Pure; lines that are odd are skipped."""

import ipaddress
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

MAX_ROWS = 20_000
"""Rows of one table. The text itself is kept as evidence; this is the summary."""

TCP_STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
}
LOCAL_ENTRY = "/32 host LOCAL"


def rows(table: str, read: Callable[[list[str]], dict[str, Any]], header: int = 1) -> Iterator[dict[str, Any]]:
    """Read a table line by line, leaving out its header and what cannot be read."""
    for line in table.split("\n")[header : header + MAX_ROWS]:
        try:
            yield read(line.split())
        except (IndexError, ValueError):
            continue


def inet_sockets(protocol: str, table: str) -> Iterator[dict[str, Any]]:
    """Read tcp, udp or raw, of either IP version."""

    def read(fields: list[str]) -> dict[str, Any]:
        state = int(fields[3], 16)
        return {
            "protocol": protocol,
            "local": endpoint(fields[1]),
            "remote": endpoint(fields[2]),
            "state": TCP_STATES.get(state, str(state)) if protocol.startswith("tcp") else None,
            "uid": int(fields[7]),
            "inode": int(fields[9]),
        }

    return rows(table, read)


def unix_sockets(table: str) -> Iterator[dict[str, Any]]:
    """Read the table of unix sockets; those without a path are connections to one that has one."""

    def read(fields: list[str]) -> dict[str, Any]:
        listening = int(fields[3], 16) & 0x10000 != 0  # __SO_ACCEPTCON
        path = " ".join(fields[7:]) or None
        return {"protocol": "unix", "path": path, "listening": listening, "inode": int(fields[6])}

    return rows(table, read)


def routes(table: str) -> Iterator[dict[str, Any]]:
    """Read the IPv4 routes."""

    def read(fields: list[str]) -> dict[str, Any]:
        destination, gateway, mask = (address(fields[i]) for i in (1, 2, 7))
        return {"interface": fields[0], "destination": destination, "gateway": gateway, "mask": mask}

    return rows(table, read)


def local_addresses(fib_trie: str, if_inet6: str) -> list[str]:
    """Read the pod's own addresses, of both IP versions."""
    found: dict[str, None] = {}
    last = ""
    for line in fib_trie.split("\n")[:MAX_ROWS]:
        words = line.split()
        if LOCAL_ENTRY in line:
            found[last] = None
        elif len(words) == 2 and words[0] == "|--":  # noqa: PLR2004 - "|-- 10.0.0.1"
            last = _known(words[1])
    for row in rows(if_inet6, lambda fields: {"address": str(ipaddress.IPv6Address(int(fields[0], 16)))}, header=0):
        found[row["address"]] = None
    return [address for address in found if address]


def endpoint(text: str) -> str:
    """Translate "0100007F:1F90" to "127.0.0.1:8080". Raises ValueError."""
    host, _, port = text.partition(":")
    number = int(port, 16)
    shown = address(host)
    return f"[{shown}]:{number}" if ":" in shown else f"{shown}:{number}"


def address(text: str) -> str:
    """Translate an address as the kernel prints it: 32-bit words in the node's byte order. Raises ValueError."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    if len(words) not in {1, 4} or len(text) % 8 or min(words) < 0:
        raise ValueError(text)
    order = "<" if sys.byteorder == "little" else ">"
    return str(ipaddress.ip_address(struct.pack(f"{order}{len(words)}I", *words)))


def _known(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
