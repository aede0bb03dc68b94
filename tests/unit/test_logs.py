"""Log streams against a server on loopback: what each ending is worth."""

import asyncio

import pytest
from aiohttp import web

from api_double import ApiDouble, Handler, refused
from firebreak.kube.logs import LogSource
from firebreak.kube.source import ContainerRef, Limits, Reason
from firebreak.model.outcome import Completeness, Outcome

WEB = ContainerRef("shop", "web-1", "app")
LINE = b"2026-11-21T01:02:03.123456789Z hello\n"


async def run(handler: Handler, limits: Limits | None = None) -> tuple[bytes, Outcome]:
    async with ApiDouble(handler) as connection:
        source = LogSource(connection, WEB, limits or Limits(idle_seconds=0.2))
        data = b"".join([chunk async for chunk in source])
        return data, source.outcome


def streaming(*chunks: bytes, ending: str = "clean") -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if ending == "silence":
            await asyncio.Event().wait()
        if ending == "cut" and request.transport is not None:
            request.transport.close()
        return response

    return answer


async def test_a_log_that_ends_properly_is_complete_with_its_caveat() -> None:
    assert await run(streaming(LINE, LINE)) == (
        LINE + LINE,
        Outcome(
            Completeness.COMPLETE,
            Reason.READ_TO_END,
            "Read to its end; of a rotated log the API serves the newest file only.",
        ),
    )


async def test_a_container_that_said_nothing_has_a_complete_log() -> None:
    data, outcome = await run(streaming())
    assert (data, outcome.complete) == (b"", True)


@pytest.mark.parametrize(("ending", "reason"), [("cut", Reason.STREAM_BROKEN), ("silence", Reason.STALLED)])
async def test_a_log_that_breaks_off_is_partial(ending: str, reason: Reason) -> None:
    data, outcome = await run(streaming(LINE, ending=ending))
    assert data == LINE
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, reason)


async def test_the_size_bound_cuts_a_log() -> None:
    data, outcome = await run(streaming(LINE * 1000), Limits(max_bytes=100))
    assert (len(data), outcome.reason) == (100, Reason.SIZE_LIMIT)


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (400, 'previous terminated container "app" in pod "web-1" not found', Reason.NO_PREVIOUS_CONTAINER),
        (400, 'container "app" in pod "web-1" is waiting to start: ContainerCreating', Reason.NOT_STARTED),
        (400, "container app is not valid for pod web-1", Reason.NO_SUCH_CONTAINER),
        (404, 'pods "web-1" not found', Reason.NOT_FOUND),
        (403, "forbidden", Reason.FORBIDDEN),
        (429, "too many requests", Reason.SERVER_ERROR),
    ],
)
async def test_a_refusal_is_missing_with_its_reason(code: int, message: str, reason: Reason) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return refused(code, message)

    _, outcome = await run(answer)
    assert outcome == Outcome(Completeness.MISSING, reason, f"The API server answered {code}: {message}")


async def test_an_error_that_the_node_writes_in_place_of_the_log_is_no_log() -> None:
    data, outcome = await run(streaming(b"unable to retrieve container logs for containerd://4af1"))
    assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, Reason.LOGS_GONE)


async def test_a_previous_log_is_asked_for_with_timestamps() -> None:
    async with ApiDouble(streaming(LINE)) as connection:
        async for _ in LogSource(connection, WEB, previous=True):
            pass
    assert connection.requests == [
        "GET /api/v1/namespaces/shop/pods/web-1/log?container=app&timestamps=true&previous=true"
    ]
