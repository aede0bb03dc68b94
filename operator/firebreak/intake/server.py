"""One request: who sends it, whether it may come now, its body within its bounds; then what it is for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from firebreak.api.base import Json
from firebreak.intake.access import CHALLENGE, Access, Sender
from firebreak.intake.limits import Budget, Rates
from firebreak.intake.listener import plain
from firebreak.intake.metrics import Metrics
from firebreak.intake.refusal import SOON, Refusals, Refused, overloaded


@dataclass(frozen=True, slots=True)
class Reply:
    """What the sender is told. `keeps`: who took the body holds its bytes, and gives them back when it is done."""

    status: int
    body: Json
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """A request that was let in: whose it is, its headers and its body."""

    sender: Sender
    headers: Mapping[str, str]
    body: bytes


Take = Callable[[Letter], Awaitable[Reply]]
"""What a path is for. Raises `Refused`."""


@dataclass(frozen=True)
class Entrance:
    """One path: how long a body may be, and who takes it."""

    most: int
    take: Take


@dataclass(frozen=True)
class Door:
    """Lets requests in. `budget` bounds the bytes of all bodies that are read, or wait."""

    entrances: Mapping[str, Entrance]
    access: Access
    rates: Rates
    budget: Budget
    refusals: Refusals
    metrics: Metrics
    body_seconds: float

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request; a refusal is answered, counted and logged."""
        name = address = plain(request.remote or "")
        try:
            path, entrance = self._entrance(request)
            certificate = request.transport.get_extra_info("peercert") if request.transport else None
            sender = self.access.sender(request.headers.get("Authorization", ""), certificate, address, path)
            name = sender.name
            reply = await self._taken(request, sender, address, entrance)
        except Refused as refused:
            self.refusals.note(name, refused)
            return _refusal(refused)
        self.metrics.requests.labels(path).inc()
        return web.json_response(reply.body, status=reply.status)

    async def _taken(self, request: web.BaseRequest, sender: Sender, address: str, entrance: Entrance) -> Reply:
        """Read the body, if there is room for it, and hand it on.

        Rates are by address, too: all nodes' Falco may have one certificate, and never sends again what is refused.
        """
        if not self.rates.take(f"{sender.name} {address}"):
            raise overloaded("requests of this sender come faster than they may; come again, slower")
        if (request.content_length or 0) > entrance.most:
            raise _too_long(entrance)
        held, keeps = bytearray(), False
        try:
            await self._read(request, sender, entrance, held)
            reply = await entrance.take(Letter(sender, request.headers, bytes(held)))
            keeps = reply.keeps
            return reply
        finally:
            if not keeps:
                self.budget.give_back(sender.name, len(held))

    def _entrance(self, request: web.BaseRequest) -> tuple[str, Entrance]:
        path = request.path.strip("/")
        entrance = self.entrances.get(path)
        if entrance is None:
            raise Refused(404, "path", f"there is no such path: want one of /{', /'.join(self.entrances)}")
        if request.method != "POST":
            raise Refused(405, "method", "alerts come by POST")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused(415, "coding", "send it without Content-Encoding: how much it would unfold to nobody knows")
        return path, entrance

    async def _read(self, request: web.BaseRequest, sender: Sender, entrance: Entrance, held: bytearray) -> None:
        """Fill `held` with the body; every byte in it is claimed."""
        try:
            async with asyncio.timeout(self.body_seconds):
                async for chunk in request.content.iter_any():
                    if len(held) + len(chunk) > entrance.most:
                        raise _too_long(entrance)
                    if not self.budget.claim(sender.name, len(chunk)):
                        raise overloaded("too much waits to be worked on; this has to come again")
                    held += chunk
        except TimeoutError:
            raise Refused(408, "slow", f"the body was not there within {self.body_seconds:g} seconds") from None
        except (ConnectionError, web.RequestPayloadError):
            raise Refused(400, "broken", "the body broke off, or its chunks are none") from None


def _too_long(entrance: Entrance) -> Refused:
    return Refused(413, "size", f"the body is longer than {entrance.most} bytes: send fewer at once")


def _refusal(refused: Refused) -> web.Response:
    """The answer; the connection ends with it, for what follows of the body is not wanted."""
    headers = dict(CHALLENGE) if refused.status == 401 else {}  # noqa: PLR2004 - HTTP
    if refused.status >= 500:  # noqa: PLR2004 - HTTP
        headers["Retry-After"] = str(refused.retry_after or SOON)
    body = {"refused": refused.reason, "why": refused.words}
    response = web.json_response(body, status=refused.status, headers=headers)
    response.force_close()
    return response
