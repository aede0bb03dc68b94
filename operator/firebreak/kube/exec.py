"""Run a command in a container and stream what it prints, over a WebSocket.

Each binary message begins with its channel: 1 stdout, 2 stderr, 3 the Status with the exit code
(k8s.io/apimachinery/pkg/util/remotecommand). Success is what channel 3 and a clean close say together.

Version 4 of the protocol is asked for first. With it, messages come from the node. With version 5, which kubectl uses,
the API server translates, and a pod killed under way was reported as success with a clean close in half of the trials
(kubernetes #124571; seen on 1.35); it is also slower. Even so success does not prove that stdout is whole: whoever can
recognise an end in the data itself has to look for it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import aiohttp

from firebreak.kube.inbox import Inbox
from firebreak.kube.source import (
    Connection,
    ContainerRef,
    Limits,
    Reason,
    Source,
    StreamEnded,
    describe,
    printable,
    reason_in,
    refusal,
)

PROTOCOLS = ("v4.channel.k8s.io", "v5.channel.k8s.io")
STDOUT = b"\x01"
STDERR, STATUS, CLOSE = 2, 3, 255
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message. Kubernetes sends at most 32 KiB."""
MAX_STATUS = 64 * 1024
"""Bytes of the Status on channel 3, which repeats texts of the container runtime."""
STDERR_HEAD, STDERR_TAIL = 4096, 4096
MAX_REFUSAL = 64 * 1024
HANG_UP_SECONDS = 1.0


class Excerpt:
    """The first and the last bytes of a stream of any length."""

    def __init__(self, head: int = STDERR_HEAD, tail: int = STDERR_TAIL) -> None:
        self._head_limit, self._tail_limit = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self._left_out = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes; memory stays bounded."""
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self._left_out += excess

    def text(self) -> str:
        """Give the excerpt as text; undecodable bytes are replaced, line ends are kept."""
        gap = f"\n[{self._left_out} bytes left out]\n" if self._left_out else ""
        return self._head.decode("utf-8", "replace") + gap + self._tail.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """What channel 3 said: `code` is None when the command did not run or was not seen to end."""

    success: bool
    code: int | None
    message: str


class ExecSource(Source):
    """stdout of `command`, run in a container without stdin and terminal.

    A command that is cut off here stays in the container, blocked where it writes, as with kubectl.
    After the iteration `status` holds the exit status and `stderr` its first and last KiB. stderr counts against
    `max_bytes` and not as progress. Needs the rights `get` and `create` on pods/exec.
    """

    def __init__(
        self,
        connection: Connection,
        target: ContainerRef,
        command: Sequence[str],
        limits: Limits | None = None,
    ) -> None:
        super().__init__(limits or Limits())
        self._connection, self._target, self._command = connection, target, tuple(command)
        self._errors = Excerpt()
        self._status = bytearray()
        self._closed = False
        self._close_code: int | None = None
        self._data_at = 0.0  # when waiting for the next bytes of stdout began, on the loop's clock

    @property
    def stderr(self) -> str:
        """The command's stderr, shortened in the middle. Hostile text: show it through `printable`."""
        return self._errors.text()

    @property
    def status(self) -> ExitStatus | None:
        """What channel 3 said, None if it said nothing."""
        return parse_status(bytes(self._status)) if self._status else None

    def _praise(self) -> str:
        return "The command ended with success and its stream was closed cleanly."

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        socket = await self._open()
        inbox = Inbox(socket)
        try:
            self._data_at = asyncio.get_running_loop().time()
            while not self._closed:
                data, end = self._sorted(await self._receive(inbox))
                if data:
                    yield data
                    self._data_at = asyncio.get_running_loop().time()  # the reader's own time is not the container's
                if end:
                    raise end
        finally:
            await inbox.close()
            await _hang_up(socket)
        self._judge()

    def _url(self) -> str:
        target = self._target
        return f"{self._connection.base}/api/v1/namespaces/{target.namespace}/pods/{target.pod}/exec"

    def _params(self) -> list[tuple[str, str]]:
        return [
            ("container", self._target.container),
            ("stdout", "true"),
            ("stderr", "true"),
            *(("command", word) for word in self._command),
        ]

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        failed = 0
        for protocol in PROTOCOLS:
            try:
                async with asyncio.timeout(self.limits.connect_seconds):
                    socket = await self._shake_hands(protocol)
            except aiohttp.WSServerHandshakeError as error:
                failed = error.status
                await self._raise_if_refused(failed)
            except TimeoutError as error:
                text = f"No answer to exec in {self._target} within {self.limits.connect_seconds:g} s."
                raise StreamEnded(Reason.UNREACHABLE, text) from error
            except (aiohttp.ClientError, OSError) as error:
                text = f"Could not exec in {self._target}: {describe(error)}."
                raise StreamEnded(Reason.UNREACHABLE, text) from error
            else:
                if socket.protocol == protocol:
                    return socket
                await _hang_up(socket)
        raise StreamEnded(Reason.REFUSED, f"The server refused {' and '.join(PROTOCOLS)} (last answer: {failed}).")

    async def _shake_hands(self, protocol: str) -> aiohttp.ClientWebSocketResponse:
        connection = self._connection
        return await connection.session.ws_connect(
            self._url(),
            params=self._params(),
            headers=await connection.headers(),
            protocols=(protocol,),
            ssl=connection.ssl or True,
            max_msg_size=MAX_MESSAGE,
            timeout=aiohttp.ClientWSTimeout(ws_close=HANG_UP_SECONDS),
        )

    async def _raise_if_refused(self, code: int) -> None:
        """Ask again without the upgrade, which runs nothing: aiohttp drops the words of a failed handshake.

        Raises StreamEnded when the answer is the same, so that it was not the protocol that displeased.
        """
        connection = self._connection
        try:
            async with connection.session.get(
                self._url(),
                params=self._params(),
                headers=await connection.headers(),
                ssl=connection.ssl or True,
                timeout=aiohttp.ClientTimeout(total=self.limits.connect_seconds),
            ) as answer:
                if answer.status == code:
                    raise refusal(code, await answer.content.read(MAX_REFUSAL))
        except (aiohttp.ClientError, OSError) as error:
            raise StreamEnded(Reason.UNREACHABLE, f"Could not exec in {self._target}: {describe(error)}.") from error

    async def _receive(self, inbox: Inbox) -> Sequence[aiohttp.WSMessage]:
        """Return the next messages.

        Only stdout is progress: a byte of stderr now and then would hold us to the end of the overall time.
        """
        try:
            waited = asyncio.get_running_loop().time() - self._data_at
            return await inbox.take(self._patience(waited))
        except TimeoutError:
            raise self._too_slow() from None

    def _sorted(self, messages: Sequence[aiohttp.WSMessage]) -> tuple[bytes, StreamEnded | None]:
        """Return their stdout, and what broke the stream, if it did: what came before that is kept."""
        output: list[memoryview] = []
        try:
            for message in messages:
                self._take(message, output)
        except StreamEnded as end:
            return b"".join(output), end
        return b"".join(output), None

    def _take(self, message: aiohttp.WSMessage, output: list[memoryview]) -> None:
        match message.type:
            case aiohttp.WSMsgType.BINARY if message.data[:1] == STDOUT:
                output.append(memoryview(message.data)[1:])
            case aiohttp.WSMsgType.BINARY:
                self._take_aside(message.data)
            case aiohttp.WSMsgType.CLOSE:
                self._closed, self._close_code = True, message.data
            case aiohttp.WSMsgType.CLOSED | aiohttp.WSMsgType.CLOSING:
                self._closed = True  # it ended without a close frame; aiohttp's close_code says 1000 even so
            case aiohttp.WSMsgType.ERROR:
                raise StreamEnded(Reason.STREAM_BROKEN, f"The exec stream broke: {describe(message.data)}.")
            case _:
                raise StreamEnded(Reason.STREAM_BROKEN, "The exec stream carried a message that is not binary.")

    def _take_aside(self, message: bytes) -> None:
        channel = message[0] if message else CLOSE
        if channel == STDERR:
            self._errors.add(message[1:])
            self._aside += len(message) - 1
            if self.delivered + self._aside > self.limits.max_bytes:
                raise self._too_much()
        elif channel == STATUS:
            self._status += message[1 : 1 + MAX_STATUS - len(self._status)]

    def _judge(self) -> None:
        status, close = self.status, self._close_code
        if status is None:
            text = f"The stream ended before an exit status came (close code {close})."
            raise StreamEnded(Reason.STREAM_BROKEN, text)
        if not status.success:
            raise self._failure(status)
        if close != aiohttp.WSCloseCode.OK:
            text = f"Success was reported, but the stream was not closed cleanly (close code {close})."
            raise StreamEnded(Reason.STREAM_BROKEN, text)

    def _failure(self, status: ExitStatus) -> StreamEnded:
        reason = None if status.code is not None else reason_in(status.message)
        said = printable(self.stderr, 600)
        text = status.message if status.code is None else f"The command ended with exit code {status.code}"
        return StreamEnded(reason or Reason.COMMAND_FAILED, f"{text}{f'; it said: {said}' if said else ''}")


def parse_status(data: bytes) -> ExitStatus:
    """Read the Status that channel 3 carries. Never raises; what cannot be read is no success."""
    try:
        status = json.loads(data)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict):
        return ExitStatus(success=False, code=None, message=printable(data.decode("utf-8", "replace"), 600))
    if status.get("status") == "Success":
        return ExitStatus(success=True, code=0, message="")
    message = status.get("message")
    text = printable(message, 600) if isinstance(message, str) else "no message"
    return ExitStatus(success=False, code=_exit_code(status), message=text)


def _exit_code(status: dict[str, object]) -> int | None:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else []:
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            code = str(cause.get("message"))
            return int(code) if code.isascii() and code.isdecimal() and len(code) < 6 else None  # noqa: PLR2004 - digits
    return None


async def _hang_up(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close within a second or cut: alone, aiohttp would wait for a container that never stops writing."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_SECONDS):
            await socket.close()
