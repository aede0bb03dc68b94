"""A customer of the shop, who asks its Service again and again, and a look at what stands behind that Service."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from shop import Shop, address
from shop_objects import IMAGE

PAUSE = 0.025  # seconds between the starts of two requests
PATIENCE = 1.0  # seconds after which a request is lost

# A new connection for each request; one that hangs does not hold up the next. A line of JSON says how each went.
ASK = f"""
import asyncio, json, sys, time
async def ask(host):
    at, by = time.time(), ""
    try:
        async with asyncio.timeout({PATIENCE}):
            reader, writer = await asyncio.open_connection(host, 80)
            writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
            by = (await reader.read()).decode().split()[-1]
            writer.close()
    except (OSError, TimeoutError):
        pass
    print(json.dumps({{"at": at, "by": by}}), flush=True)
async def main(host):
    tasks = set()
    while True:
        task = asyncio.create_task(ask(host))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep({PAUSE})
asyncio.run(main(sys.argv[1]))
"""


@dataclass(frozen=True)
class Request:
    """One request: when it began (the cluster's clock, seconds), and which pod answered; none when it was lost."""

    at: float
    by: str


@dataclass(frozen=True)
class Customer:
    """A pod that asks the shop's Service 40 times a second."""

    shop: Shop

    def come(self) -> None:
        """Start, and return when every pod of the shop has answered."""
        host = self.shop.get("service", "web")["spec"]["clusterIP"]
        self.shop.apply(_pod(host))
        address(self.shop.kubectl, self.shop.namespace, "customer")
        self.sees(set(self.shop.pods()))

    def requests(self) -> list[Request]:
        """All requests that have ended, in the order of their beginning."""
        lines = self.shop.run("logs", "customer").splitlines()
        return sorted((Request(**json.loads(line)) for line in lines), key=lambda request: request.at)

    def sees(self, pods: set[str], *, after: float = 0, number: int = 40) -> None:
        """Wait until so many requests that began after a moment were answered, by each of these pods."""

        def answered() -> bool:
            by = [request.by for request in self.requests() if request.at > after]
            return len(by) >= number and pods <= set(by)

        wait_until(answered, timeout=30, otherwise=f"the customer was not served by all of {sorted(pods)}")


def _pod(host: str) -> dict[str, Any]:
    container = {"name": "ask", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "customer"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{**container, "command": ["python", "-c", ASK, host]}],
        },
    }


@dataclass
class Endpoints:
    """What stands behind a Service, as the API server told it: (when the news came here, the addresses)."""

    news: list[tuple[float, set[str]]] = field(default_factory=list)

    def left(self, ip: str) -> float | None:
        """When the news came that an address is not there any more; None while it is there."""
        last_with = max((n for n, (_, addresses) in enumerate(self.news) if ip in addresses), default=None)
        if last_with is None or last_with + 1 == len(self.news):
            return None
        return self.news[last_with + 1][0]


@contextmanager
def watched_endpoints(cluster: ClusterInfo, shop: Shop) -> Iterator[Endpoints]:
    """Follow the EndpointSlice of the shop's Service for as long as the block runs."""
    kubectl = [str(cluster.bin / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "--namespace", shop.namespace]
    what = ["get", "endpointslices", "--selector", "kubernetes.io/service-name=web", "--watch"]
    form = ["--output", "jsonpath={.endpoints[*].addresses[*]}{'\\n'}"]
    found = Endpoints()
    with subprocess.Popen([*kubectl, *what, *form], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout

        def read() -> None:
            found.news.extend((time.time(), set(line.split())) for line in lines)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            wait_until(lambda: found.news, timeout=20, otherwise="the Service web has no EndpointSlice")
            yield found
        finally:
            process.terminate()
            reader.join()
