"""What every stream out of a pod has in common: where it comes from, how much is allowed, what it was worth.

Everything read here was written by a container that may be hostile. A stream is therefore never judged by
how it looks, only by what was proven about it, and that judgement is an `Outcome`, not an exception: a cut stream
is an expected answer to the question "what could be preserved?".
"""

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import aiohttp

from firebreak.kube.errors import NO_ROLES, UNJUDGED
from firebreak.model.outcome import Completeness, Outcome

MESSAGE_LIMIT = 2048
"""Characters of a message: enough for a tar's complaints, small enough for a status."""


class Connection(Protocol):
    """What a stream needs of an API server: `firebreak.kube.client.Api` has it, and so has a test server."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session that carries every request."""

    @property
    def base(self) -> str:
        """Scheme, host and port of the API server, without a trailing slash."""

    @property
    def ssl(self) -> ssl.SSLContext | None:
        """What verifies the server and may show a client certificate; None for the system's trust."""

    async def headers(self) -> dict[str, str]:
        """Headers that authenticate the next request."""


class Reason(StrEnum):
    """Why a source ended as it did, in one word for machines."""

    READ_TO_END = "ReadToEnd"
    NOT_READ_TO_END = "NotReadToEnd"
    SIZE_LIMIT = "SizeLimit"
    TIMED_OUT = "TimedOut"
    STALLED = "Stalled"
    STREAM_BROKEN = "StreamBroken"
    UNREACHABLE = "Unreachable"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    REFUSED = "Refused"
    SERVER_ERROR = "ServerError"
    SERVER_STARTING = "ServerStarting"
    NO_SUCH_CONTAINER = "NoSuchContainer"
    CONTAINER_NOT_RUNNING = "ContainerNotRunning"
    NO_PREVIOUS_CONTAINER = "NoPreviousContainer"
    NOT_STARTED = "NotStarted"
    LOGS_GONE = "LogsGone"
    NO_EXECUTABLE = "NoExecutable"
    NO_SHELL = "NoShell"
    NO_TAR = "NoTar"
    COMMAND_FAILED = "CommandFailed"
    ARCHIVE_CORRUPT = "ArchiveCorrupt"
    ARCHIVE_CUT = "ArchiveCut"
    TRAILING_DATA = "TrailingData"
    CHANGED_WHILE_READ = "ChangedWhileRead"
    UNREADABLE_FILES = "UnreadableFiles"
    TAR_FAILED = "TarFailed"
    NOTHING_TO_ARCHIVE = "NothingToArchive"
    UNEXPECTED_EXCLUSION = "UnexpectedExclusion"
    KUBECTL_NOT_FOUND = "KubectlNotFound"
    KUBECTL_FAILED = "KubectlFailed"
    KUBECTL_SLOW = "KubectlSlow"


INTERRUPTIONS = frozenset(
    {
        Reason.STREAM_BROKEN,
        Reason.UNREACHABLE,
        Reason.UNAUTHORIZED,
        Reason.SERVER_ERROR,
        Reason.SERVER_STARTING,
        Reason.KUBECTL_SLOW,
    }
)
"""What may lie between us and the container alone: a restart of kubelet, container runtime or API server, an expired
token, a replica that is busy. If the container lives on, it can be read again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one stream: bytes sent to us, and seconds to connect, between two chunks of data, and overall."""

    max_bytes: int = 20 * 1024**3
    connect_seconds: float = 10.0
    idle_seconds: float = 60.0
    total_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """One container of one pod."""

    namespace: str
    pod: str
    container: str

    def __str__(self) -> str:
        return f"container {self.container!r} of pod {self.namespace}/{self.pod}"


class StreamEnded(Exception):
    """Raised inside a source to end it early; never leaves this package."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Source(ABC):
    """Bytes from a pod, read once with `async for`; afterwards `outcome` tells what they were worth.

    Expected failures (stream broken, pod gone, refused, timeout, size bound) end the iteration and never
    raise. Cancellation passes through. Little is read ahead: a slow reader slows the container's writer.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.delivered = 0
        self._aside = 0  # bytes that came and are no data, such as stderr
        self._deadline = 0.0
        self._outcome = Outcome(
            Completeness.MISSING, Reason.NOT_READ_TO_END, "Nothing was read; iterate over the source first."
        )

    @property
    def outcome(self) -> Outcome:
        """What was proven so far: never Complete before the iteration has ended by itself."""
        return self._outcome

    @abstractmethod
    def _chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes; return at a proven end; raise StreamEnded otherwise."""

    def _praise(self) -> str:
        """Say what a complete stream is, with its caveats."""
        return "Read to its end."

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        self._deadline = asyncio.get_running_loop().time() + self.limits.total_seconds
        self._fall_short(Reason.NOT_READ_TO_END, "The reader stopped before the end.")
        try:
            async with aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    room = max(0, self.limits.max_bytes - self.delivered - self._aside)
                    kept = chunk if len(chunk) <= room else chunk[:room]
                    if kept:
                        self.delivered += len(kept)
                        yield kept
                    if len(chunk) > room:
                        raise self._too_much()
        except StreamEnded as end:
            self._fall_short(end.reason, str(end))
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            self._fall_short(Reason.STREAM_BROKEN, f"The connection to the API server broke: {describe(error)}.")
        else:
            self._outcome = Outcome(Completeness.COMPLETE, Reason.READ_TO_END, self._praise())
            return
        if self.delivered == 0:
            self._outcome = Outcome(Completeness.MISSING, self._outcome.reason, self._outcome.message)

    def _fall_short(self, reason: str, message: str) -> None:
        self._outcome = Outcome(Completeness.PARTIAL, reason, printable(message))

    def _patience(self, waited: float = 0.0) -> float:
        """Seconds to wait for the next chunk, after `waited` seconds without one. Raises StreamEnded at none left.

        The time is measured here and not with asyncio.timeout, which around a yield would cancel the reader.
        """
        left = min(self._deadline - asyncio.get_running_loop().time(), self.limits.idle_seconds - waited)
        if left <= 0:
            raise self._too_slow()
        return left

    def _too_much(self) -> StreamEnded:
        text = f"Cut at {self.limits.max_bytes} bytes"
        if self._aside:
            text += f", {self._aside} of them on stderr"
        return StreamEnded(Reason.SIZE_LIMIT, f"{text}; raise the limit to read the rest.")

    def _too_slow(self) -> StreamEnded:
        if asyncio.get_running_loop().time() >= self._deadline:
            return StreamEnded(
                Reason.TIMED_OUT,
                f"Not finished after {self.limits.total_seconds:g} s; allow more time or read less.",
            )
        return StreamEnded(
            Reason.STALLED,
            f"Nothing came for {self.limits.idle_seconds:g} s; the container or its node hangs.",
        )


def printable(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Make hostile text safe to show: one line, nothing that steers a terminal, at most `limit` characters."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def describe(error: BaseException) -> str:
    """Name an error that may have no text of its own."""
    return printable(str(error), 300) or type(error).__name__


_BY_CODE = {401: Reason.UNAUTHORIZED, 403: Reason.FORBIDDEN, 404: Reason.NOT_FOUND}

_BY_TEXT = (
    ("error sending request", Reason.SERVER_ERROR),  # the API server's own words while it does not reach the kubelet
    ("error dialing backend", Reason.SERVER_ERROR),
    ("code = Unavailable", Reason.SERVER_ERROR),  # the kubelet's while it does not reach the container runtime
    ("previous terminated container", Reason.NO_PREVIOUS_CONTAINER),
    ("waiting to start", Reason.NOT_STARTED),
    ("does not have a host assigned", Reason.NOT_STARTED),
    ("is not valid for pod", Reason.NO_SUCH_CONTAINER),
    ("executable file not found", Reason.NO_EXECUTABLE),
    ("no such file or directory", Reason.NO_EXECUTABLE),
    ("pod does not exist", Reason.CONTAINER_NOT_RUNNING),
    ("container not found", Reason.CONTAINER_NOT_RUNNING),
    ("container is not running", Reason.CONTAINER_NOT_RUNNING),
    ("is not in running state", Reason.CONTAINER_NOT_RUNNING),
    ("cannot exec in a stopped", Reason.CONTAINER_NOT_RUNNING),
    ("completed pod", Reason.CONTAINER_NOT_RUNNING),
    (UNJUDGED, Reason.SERVER_STARTING),
)
"""Texts of kubelet 1.35, containerd, runc and API server: the API has no codes for these."""


def refusal(code: int, body: bytes) -> StreamEnded:
    """Translate an HTTP answer other than success; `body` is a Status as JSON, or anything."""
    message = printable(_status_message(body) or f"the server answered {code} without a reason")
    reason = Reason.SERVER_STARTING if NO_ROLES in _status_message(body) else _BY_CODE.get(code) or reason_in(message)
    if reason is None:
        reason = Reason.SERVER_ERROR if code >= 500 or code == 429 else Reason.REFUSED  # noqa: PLR2004 - HTTP codes
    return StreamEnded(reason, f"The API server answered {code}: {message}")


def reason_in(message: str) -> Reason | None:
    """Find the reason that an error text of kubelet or container runtime stands for."""
    return next((reason for text, reason in _BY_TEXT if text in message), None)


def _status_message(body: bytes) -> str:
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    message = status.get("message") if isinstance(status, dict) else None
    return message if isinstance(message, str) else ""
