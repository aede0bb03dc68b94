"""The listening socket: connections accepted one by one, so that every one of them is bounded before a byte is read.

A socket of asyncio's own `Server` accepts whatever comes, and keeps its first TLS context for good. Here each new
connection gets the certificate of that moment; handshake and headers have their time; one address may hold a quarter of
all connections, and when all are taken the kernel's queue holds who comes next.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from firebreak.intake.refusal import Refusals, Refused

WAITING = 128  # connections in the kernel's queue
FULL = 0.2  # seconds between looks at whether a connection ended
SOON = 0.5  # seconds in which a request is begun, when all connections are taken
SHARE = 4  # one address may hold one connection in so many
LINGER = 1.0  # seconds for which what follows a refusal is read and thrown away, so that the sender sees the answer
LONGEST_LINE = 8190  # bytes of the request line, and of each header
LONGEST_HEAD = 2**15  # bytes of both together that are held while the head is not whole: nobody has proven anything yet
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Malformed(logging.Logger):
    """Takes what aiohttp would log, a traceback for each request that is no HTTP, and refuses in our own way."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__("firebreak.intake.http")
        self.parent = logging.getLogger()
        self._refusals = refusals

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        """Called with the sender's address as the only argument, and the error."""
        if not self._refused(args, exc_info):
            super().exception(msg, *args, exc_info=exc_info, **more)

    def debug(self, msg: object, *args: object, exc_info: Any = None, **more: Any) -> None:
        """The same, of what begins with no method at all."""
        if not self._refused(args, exc_info):
            super().debug(msg, *args, exc_info=exc_info, **more)

    def _refused(self, args: tuple[object, ...], error: object) -> bool:
        if not isinstance(error, HttpProcessingError):
            return False
        words = "this is no HTTP/1.1 request with a head of at most 32 KiB, in 128 headers of 8 KiB"
        self._refusals.note(plain(str(args[0])), Refused(400, "malformed", words))
        return True


class _Connection(web.RequestHandler):
    """One connection. aiohttp bounds headers one by one, which is a megabyte of each connection: here all of them."""

    __slots__ = ("_head", "since")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count from here on."""
        self._head = 0
        self.since = self._loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Count what comes while a request is waited for: it is part of a head."""
        super().data_received(data)
        if not self._idle:
            self._head = 0
            return
        self._head += len(data)
        if self._head > LONGEST_HEAD and isinstance(self.transport, asyncio.Transport):
            peer = self.peername
            address = peer[0] if isinstance(peer, tuple) else ""
            self.log_exception("from %s", address, exc_info=HttpProcessingError(code=431))
            self.transport.write(TOO_LONG)
            self.force_close()

    def retire(self) -> None:
        """End with the answer to the request that is under way; at once when there is none."""
        if self._idle:
            self.force_close()  # aiohttp's close() would leave it open, with nobody behind it
        else:
            self.close()

    def drop(self) -> None:
        """End at once: a goodbye of TLS may take a second."""
        transport = self.transport
        self.force_close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    @property
    def unused(self) -> bool:
        """Whether no request ever came."""
        return self._idle and self._request_count == 0

    @property
    def _idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()


class _Http(web.Server):
    """aiohttp's server with connections of ours."""

    def __call__(self) -> _Connection:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Listener:
    """Accepts connections and speaks HTTP on them. `context` returns the TLS context of the moment, None for none."""

    def __init__(
        self,
        handler: Handler,
        context: Callable[[], ssl.SSLContext | None],
        refusals: Refusals,
        *,
        most: int,
        head_seconds: float,
    ) -> None:
        self._context = context
        self._refusals = refusals
        self._most = most
        self._head_seconds = head_seconds
        self._greeting: dict[asyncio.Task[None], tuple[str, float]] = {}
        self._http = _Http(
            handler,
            keepalive_timeout=head_seconds,  # counts from the connection's beginning, and again after each answer
            lingering_time=LINGER,
            auto_decompress=False,  # a body that unfolds is bounded by who wants one
            access_log=None,
            logger=_Malformed(refusals),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._socket: socket.socket | None = None

    @property
    def open(self) -> int:
        """How many connections there are, those included whose handshake is under way."""
        return len(self._greeting) + len(self._http.connections)

    def bind(self, port: int) -> int:
        """Begin to listen, on all addresses of both families where there are both; return the port. Raises OSError."""
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        address = ("", port)
        self._socket = socket.create_server(
            address, family=family, dualstack_ipv6=family is socket.AF_INET6, backlog=WAITING
        )
        self._socket.setblocking(False)
        return int(self._socket.getsockname()[1])

    async def run(self) -> None:
        """Accept until cancelled. Raises OSError when no more files may be opened: it is to be begun again."""
        loop = asyncio.get_running_loop()
        assert self._socket is not None, "bind comes first"  # noqa: S101 - a bug, not an input
        while True:
            while self.open >= self._most:  # noqa: ASYNC110 - aiohttp tells nobody that a connection ended
                await asyncio.sleep(0 if self._made_room(loop.time()) else FULL)
            connection, peer = await loop.sock_accept(self._socket)
            address = plain(str(peer[0]))
            if self._of(address) >= max(1, self._most // SHARE):
                connection.close()
                words = "too many connections of one address are open: what is behind it has to reuse them"
                self._refusals.note(address, Refused(0, "connections", words))
                continue
            task = asyncio.create_task(self._greet(connection, address))
            self._greeting[task] = address, loop.time()
            task.add_done_callback(lambda done: self._greeting.pop(done, None))

    def _made_room(self, now: float) -> bool:
        """End what has been open for longest without a request, if that is long; return whether there was any.

        So who only holds connections shuts nobody out.
        """
        unused = [each for each in self._http.connections if isinstance(each, _Connection) and each.unused]
        ends: list[tuple[float, Callable[[], object]]] = [(each.since, each.drop) for each in unused]
        ends += [(since, task.cancel) for task, (_, since) in self._greeting.items() if not task.cancelling()]
        since, end = min(ends, key=lambda each: each[0], default=(now, None))
        if end is None or now - since < SOON:
            return False
        end()
        return True

    def _of(self, address: str) -> int:
        held = Counter(each for each, _ in self._greeting.values())
        for each in self._http.connections:
            peer = each.peername
            held[plain(str(peer[0])) if isinstance(peer, tuple) else ""] += 1
        return held[address]

    async def _greet(self, connection: socket.socket, address: str) -> None:
        context = self._context()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._http,
                connection,
                ssl=context,
                ssl_handshake_timeout=self._head_seconds if context else None,
                ssl_shutdown_timeout=LINGER if context else None,
            )
        except asyncio.CancelledError:
            connection.close()
            raise
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            connection.close()
            reason = getattr(error, "reason", None) or type(error).__name__
            self._refusals.note(address, Refused(0, "handshake", f"no TLS with this client: {reason}"))

    def renew(self) -> None:
        """Let each connection end with the request that is under way: what it proved at first may hold no more."""
        for each in self._http.connections:
            if isinstance(each, _Connection):
                each.retire()

    async def close(self, grace: float) -> None:
        """Stop listening, let what is being answered end within `grace` seconds, and close all connections."""
        if self._socket:
            self._socket.close()
        for task in list(self._greeting):
            task.cancel()
        await asyncio.gather(*self._greeting, return_exceptions=True)
        self._http.pre_shutdown()
        await self._http.shutdown(grace)


def plain(address: str) -> str:
    """Return an address as people write it: on a socket of both families an IPv4 address has a prefix."""
    return address.removeprefix("::ffff:")
