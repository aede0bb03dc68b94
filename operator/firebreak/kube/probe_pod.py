"""What runs inside the two pods of the enforcement probe: `python -m firebreak.kube.probe_pod`.

Each pod listens and talks to the other: one connection is kept, new ones are opened all the time, and its own node is
called as well. After every round it prints one JSON line that says what got through; `kube.probe` reads these from
the pods' logs, which come by way of the kubelet and not through the network that is being cut.

The first pod is told no peer: it learns the address from the second one's greeting, which carries the run's id.
Standard library only, and no other module of Firebreak: the pod should answer as soon as it runs.
"""

import argparse
import asyncio
import ipaddress
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PAUSE = 0.2  # seconds between rounds
PATIENCE = 1.0  # seconds until what has not answered counts as cut
KUBELET_PORT = 10250
LONGEST_LINE = 256  # bytes; whoever sends more is not our peer


@dataclass(frozen=True)
class Options:
    """Who we are: the run's id, our address and port, our node's address, and the peer's, when we are told it."""

    run: str
    address: str
    port: int
    node: str
    peer: str | None


class Conversation:
    """A connection to the peer, greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, options: Options, peer: str) -> "Conversation":
        """Connect and greet. Raises OSError, or ValueError when somebody else answers."""
        reader, writer = await asyncio.open_connection(peer, options.port, limit=LONGEST_LINE)
        conversation = cls(reader, writer)
        try:
            await conversation.says_back(f"{options.run} {options.address}")
        except BaseException:
            conversation.close()
            raise
        return conversation

    async def says_back(self, line: str) -> None:
        """Send a line and read until it comes back; late answers to earlier lines are passed over."""
        self._writer.write(f"{line}\n".encode())
        await self._writer.drain()
        while (answer := await self._reader.readline()) != f"{line}\n".encode():
            if not answer:
                raise ConnectionResetError("the peer closed the connection")

    def close(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()


class Talker:
    """Answers the peer, and reports round by round what gets through to it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._peer = options.peer
        self._kept: Conversation | None = None

    async def run(self) -> None:
        """Serve and report until cancelled."""
        server = await asyncio.start_server(self._serve, self._options.address, self._options.port, limit=LONGEST_LINE)
        async with server:
            number = 0
            while True:
                if self._peer:
                    number += 1
                    await self._round(number, self._peer)
                await asyncio.sleep(PAUSE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echo the lines of whoever greets with the run's id."""
        try:
            greeting = await reader.readline()
            run, _, address = greeting.decode().strip().partition(" ")
            if run != self._options.run:
                return
            self._peer = self._peer or str(ipaddress.ip_address(address))
            writer.write(greeting)
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except (OSError, ValueError):
            pass  # not our peer, or cut: either way there is nothing to answer
        finally:
            writer.transport.abort()

    async def _round(self, number: int, peer: str) -> None:
        new, established, node = await asyncio.gather(
            self._opens(peer), self._keeps(number, peer), reaches(self._options.node)
        )
        report = {"run": self._options.run, "round": number, "new": new, "established": established, "node": node}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()

    async def _opens(self, peer: str) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                (await Conversation.open(self._options, peer)).close()
        except (OSError, ValueError):  # TimeoutError is an OSError
            return False
        return True

    async def _keeps(self, number: int, peer: str) -> bool:
        """Whether the kept connection carries a line there and back. A silent one is kept: it may come back."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._kept = self._kept or await Conversation.open(self._options, peer)
                await self._kept.says_back(str(number))
        except TimeoutError:
            return False
        except (OSError, ValueError):
            if self._kept:
                self._kept.close()
            self._kept = None
            return False
        return True


async def reaches(node: str) -> bool:
    """Whether the node's kubelet port answers; a refusal is an answer."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(node, KUBELET_PORT)
            writer.transport.abort()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


async def serve_until_ended(options: Options) -> None:
    """Run until SIGTERM: as process 1 of a container the signal would otherwise be ignored."""
    talking = asyncio.create_task(Talker(options).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, talking.cancel)
    await asyncio.wait([talking])
    if not talking.cancelled():
        talking.result()


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="probe_pod", description="One of the two pods of the enforcement probe.")
    parser.add_argument("--run", required=True, help="the run's id")
    parser.add_argument("--address", required=True, help="this pod's address")
    parser.add_argument("--port", required=True, type=int, help="the port that both pods listen on")
    parser.add_argument("--node", required=True, help="the address of this pod's node")
    parser.add_argument("--peer", help="the other pod's address; without it, wait to be greeted")
    found = parser.parse_args(arguments)
    return Options(found.run, found.address, found.port, found.node, found.peer)


if __name__ == "__main__":
    asyncio.run(serve_until_ended(parse()))
