"""Policy accepted to first packet dropped: what comes after Firebreak's part, and is the network plugin's.

This machine connects to a pod again and again while a bare client cuts it. Nobody listens there: as long as packets
pass, the pod's kernel refuses at once.
"""

import asyncio
import socket
import threading
from datetime import UTC, datetime

from benchmarks.figures import Figure, Section
from benchmarks.scene import Scene, milliseconds, scene
from benchmarks.waiting import Unmeasurable
from cluster.provider import ClusterInfo

PORT = 8080
IDLE = "touch /ready; exec sleep 1000000"
DROPPED = 0.5  # seconds without an answer: a connection in this cluster takes less than a hundredth of that
WARM = 50  # connections before the cut


class Knocker(threading.Thread):
    """Connects until nobody answers; `began` is when the connection began that did not come about."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self.warm = threading.Event()
        self.began: datetime | None = None

    def run(self) -> None:
        """Knock."""
        answered = 0
        while True:
            began = datetime.now(UTC)
            try:
                socket.create_connection((self._address, PORT), timeout=DROPPED).close()
            except ConnectionRefusedError:
                pass
            except OSError:
                self.began = began
                self.warm.set()
                return
            answered += 1
            if answered == WARM:
                self.warm.set()


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Cut pods of which this machine reaches a port."""
    async with scene(info) as at:
        names = [f"p{number}" for number in range(rounds)]
        addresses = await asyncio.gather(*(at.running(name, IDLE) for name in names))
        values = [await _dropped(at, *each) for each in zip(names, addresses, strict=True)]
    figure = Figure("both calls answered to the first packet dropped", "ms", values)
    return Section("packets", "What the network plugin takes after the policy is accepted", (figure,))


async def _dropped(at: Scene, name: str, address: str) -> float:
    knocker = Knocker(address)
    knocker.start()
    await asyncio.to_thread(knocker.warm.wait)
    if knocker.began:
        message = f"pod {name} at {address}:{PORT} does not answer this machine: packets cannot be measured from here"
        raise Unmeasurable(message)
    (cut,) = await at.cut_bare([name])
    await asyncio.to_thread(knocker.join)
    assert knocker.began is not None  # noqa: S101 - the thread ended
    return milliseconds(cut.ended, knocker.began)
