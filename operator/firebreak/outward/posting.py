"""Posting JSON to a server outside the cluster that the settings name: tried again, never redirected, never trusted.

The URL may be a secret of its own (Slack's is): errors and logs name its host only.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)
from yarl import URL

from firebreak import __version__
from firebreak.api.base import Json
from firebreak.model.loose import mapping

LONGEST_ANSWER = 64 * 2**10  # bytes; what is longer counts as no answer of theirs
REQUEST_TIMEOUT, TOO_MANY, SERVER_ERROR = 408, 429, 500  # HTTP


@dataclass(frozen=True)
class PostLimits:
    """How long one try takes and how long all of them, in seconds, and the longest pause that a server may ask for."""

    timeout: float = 10.0
    budget: float = 120.0
    longest_pause: float = 60.0


DEFAULT_LIMITS = PostLimits()
Body = Callable[[], tuple[bytes, Mapping[str, str]]]
"""Makes what is sent, with its headers, for each try anew: a signature has a time in it."""


class PostError(Exception):
    """A server did not take what was posted, and posting it again as it is does not help."""


class PostUnavailable(PostError):
    """A passing fault of that server, or of the way to it."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


async def post(session: aiohttp.ClientSession, url: URL, body: Body, limits: PostLimits = DEFAULT_LIMITS) -> Json:
    """Post until it is taken or the budget is spent; return the answer, empty when it is no JSON object.

    Raises `PostError`. Its text names the host and what it answered, nothing else of the URL.
    """

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, PostUnavailable) else None
        return _BACKOFF(state) if asked is None else min(asked, limits.longest_pause)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(PostUnavailable), wait=pause, stop=stop_before_delay(limits.budget), reraise=True
    )
    async for attempt in retrying:
        with attempt:
            return await _once(session, url, body, limits)
    raise AssertionError  # unreachable: the last error is raised again


_BACKOFF = wait_random_exponential(multiplier=0.5, max=30)


async def _once(session: aiohttp.ClientSession, url: URL, body: Body, limits: PostLimits) -> Json:
    data, headers = body()
    sent = {"Content-Type": "application/json", "User-Agent": f"firebreak/{__version__}", **headers}
    timeout = aiohttp.ClientTimeout(total=limits.timeout)
    try:
        async with session.post(url, data=data, headers=sent, timeout=timeout, allow_redirects=False) as answer:
            told = await _read(answer)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PostUnavailable(f"{url.host} did not answer ({type(error).__name__})") from None  # it may quote the URL
    words = f"{url.host} answered {answer.status}"
    if answer.status in {REQUEST_TIMEOUT, TOO_MANY} or answer.status >= SERVER_ERROR:
        raise PostUnavailable(words, _seconds(answer.headers.get("Retry-After", "")))
    if answer.status not in _TAKEN:
        more = "; it redirects, which is not followed: set the final URL" if answer.status in _REDIRECTS else ""
        raise PostError(f"{words}{more}")
    return _object(told)


_TAKEN, _REDIRECTS = range(200, 300), range(300, 400)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer; of one that is too long, enough to tell."""
    told = bytearray()
    async for chunk in answer.content.iter_any():
        told += chunk
        if len(told) > LONGEST_ANSWER:
            break
    return bytes(told)


def _seconds(asked: str) -> float | None:
    return float(asked) if asked.isascii() and asked.isdigit() else None


def _object(told: bytes) -> Json:
    try:
        return mapping(json.loads(told)) if len(told) <= LONGEST_ANSWER else {}
    except (ValueError, RecursionError):
        return {}
