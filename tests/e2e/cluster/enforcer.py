"""Enforces NetworkPolicies on the local node: watches, compiles (`netpol.py`), and hands the result to nft.

Usage: python -m cluster.enforcer HOST PORT AUTHORITY CERTIFICATE KEY

Runs inside the cluster's network namespace until SIGTERM, and then takes its table away, so that a stopped enforcer
is a cluster that enforces nothing. After SIGKILL the table stays as it was, as with a crashed agent of a real one.
"""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cluster.api import Api
from cluster.netpol import TABLE, compile_table
from cluster.saying import say

RESOURCES = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}
IDLE_SECONDS = 330  # a healthy watch says something (a bookmark) every minute
RETRY_SECONDS = 0.3


class Mirror(threading.Thread):
    """Keeps a copy of all objects of one resource; sets `changed` whenever it differs."""

    def __init__(self, api: Api, path: str, changed: threading.Event) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        self._objects: dict[str, Any] | None = None  # by uid; None until the first list

    def snapshot(self) -> list[Any] | None:
        """The objects as last seen, or None when they have never been listed."""
        with self._lock:
            return None if self._objects is None else list(self._objects.values())

    def run(self) -> None:
        """List and watch for ever; what fails is logged and tried again."""
        while True:
            try:
                self._watch(self._list())
            except (OSError, http.client.HTTPException, ValueError) as failed:
                say(f"watching {self._path}: {failed}")
                time.sleep(RETRY_SECONDS)

    def _list(self) -> str:
        with self._api.open(self._path, timeout=10) as response:
            listed = json.load(response)
        with self._lock:
            self._objects = {item["metadata"]["uid"]: item for item in listed["items"]}
        self._changed.set()
        return str(listed["metadata"]["resourceVersion"])

    def _watch(self, since: str) -> None:
        path = f"{self._path}?watch=1&allowWatchBookmarks=true&resourceVersion={since}"
        with self._api.open(path, timeout=IDLE_SECONDS) as response:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":  # most often: too old a version, list again
                    return
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], event["object"])

    def _apply(self, kind: str, item: Any) -> None:
        with self._lock:
            objects = self._objects if self._objects is not None else {}
            if kind == "DELETED":
                objects.pop(item["metadata"]["uid"], None)
            else:
                objects[item["metadata"]["uid"]] = item
        self._changed.set()


def enforce(api: Api) -> None:
    """Keep the table as the policies want it; returns only by an exception."""
    changed = threading.Event()
    mirrors = {name: Mirror(api, path, changed) for name, path in RESOURCES.items()}
    for mirror in mirrors.values():
        mirror.start()
    written = ""
    while True:
        changed.wait()
        changed.clear()
        started = time.monotonic()
        pods, namespaces, policies = (mirrors[name].snapshot() for name in RESOURCES)
        if pods is None or namespaces is None or policies is None:
            continue
        table = compile_table(pods, namespaces, policies)
        if table != written:
            _load(table)
            written = table
            say(f"table written {1000 * (time.monotonic() - started):.0f} ms after a change")


def _load(table: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)


def main() -> None:
    """Run until SIGTERM. A table that nft refuses ends the program: better none than a wrong one, unseen."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, port, *files = sys.argv[1:]
    authority, certificate, key = map(Path, files)
    try:
        enforce(Api(host, int(port), authority, certificate, key))
    finally:
        subprocess.run(["nft", "delete", "table", *TABLE.split()], capture_output=True, check=False)


if __name__ == "__main__":
    main()
