"""Exec, tar and log streams against a server on loopback: what each ending is worth."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from api_double import ApiDouble, Handler, LoopbackConnection, exec_answer, exit_status, refused
from firebreak.kube.exec import Excerpt, ExecSource, ExitStatus, parse_status
from firebreak.kube.inbox import HELD, OVERHEAD, Inbox
from firebreak.kube.source import ContainerRef, Limits, Reason, Source, printable
from firebreak.model.outcome import Completeness, Outcome

WEB = ContainerRef("shop", "web-1", "app")
QUICK = Limits(max_bytes=10_000_000, connect_seconds=2, idle_seconds=0.2, total_seconds=5)


async def read(source: Source) -> tuple[bytes, Outcome]:
    data = b"".join([chunk async for chunk in source])
    return data, source.outcome


async def run(handler: Handler, limits: Limits = QUICK) -> tuple[bytes, Outcome]:
    async with ApiDouble(handler) as connection:
        return await read(ExecSource(connection, WEB, ["id"], limits))


async def test_output_with_success_and_a_clean_close_is_complete() -> None:
    data, outcome = await run(exec_answer(b"\x01", b"\x01uid=", b"\x010\n", exit_status(0)))
    assert data == b"uid=0\n"
    assert (outcome.completeness, outcome.reason) == (Completeness.COMPLETE, Reason.READ_TO_END)


async def test_version_5_of_the_protocol_is_spoken_with_a_server_that_chooses_no_other() -> None:
    data, outcome = await run(exec_answer(b"\x01x", exit_status(0), protocols=("v5.channel.k8s.io",)))
    assert (data, outcome.complete) == (b"x", True)


async def test_version_5_is_tried_where_the_handshake_of_version_4_fails_for_no_stated_reason() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return refused(400, "Upgrade request required")
        if "v4" in request.headers["Sec-WebSocket-Protocol"]:
            return web.Response(status=403)
        return await exec_answer(b"\x01x", exit_status(0), protocols=("v5.channel.k8s.io",))(request)

    data, outcome = await run(answer)
    assert (data, outcome.complete) == (b"x", True)


async def test_a_server_that_speaks_another_protocol_is_refused() -> None:
    _, outcome = await run(exec_answer(b"\x01x", exit_status(0), protocols=()))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.REFUSED)


async def test_every_word_of_the_command_arrives_as_it_is() -> None:
    words: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        words.extend(request.query.getall("command"))
        return await exec_answer(exit_status(0))(request)

    command = ["sh", "-c", 'echo "$1" & a+b=c; %41 ü\n\'', "", "#?/"]
    async with ApiDouble(answer) as connection:
        await read(ExecSource(connection, WEB, command, QUICK))
    assert words == command


@pytest.mark.parametrize(
    ("messages", "close", "reason"),
    [
        ([b"\x01part"], 1000, Reason.STREAM_BROKEN),
        ([b"\x01part"], None, Reason.STREAM_BROKEN),
        ([b"\x01part", exit_status(0)], None, Reason.STREAM_BROKEN),
        ([b"\x01part", exit_status(0)], 1011, Reason.STREAM_BROKEN),
        ([b"\x01part", b"\x03not json"], 1000, Reason.COMMAND_FAILED),
        ([b"\x01part", b"\x03[]"], 1000, Reason.COMMAND_FAILED),
        ([b"\x01part", exit_status(3)], 1000, Reason.COMMAND_FAILED),
    ],
)
async def test_output_without_success_or_clean_close_is_partial(
    messages: list[bytes], close: int | None, reason: Reason
) -> None:
    data, outcome = await run(exec_answer(*messages, close=close))
    assert data == b"part"
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, reason)


async def test_messages_that_come_together_are_passed_on_together() -> None:
    """Each journey from here to the store costs as much for 15 KiB as for 150."""
    async with ApiDouble(exec_answer(*[b"\x01" + bytes(1000)] * 1000, exit_status(0))) as connection:
        source = ExecSource(connection, WEB, ["id"], QUICK)
        chunks = [len(chunk) async for chunk in source]
    assert (sum(chunks), source.outcome.complete) == (1_000_000, True)
    assert len(chunks) < 100


async def test_what_came_together_with_a_message_that_breaks_the_stream_is_kept() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(b"\x01part")
        await socket.send_str("text")
        await socket.send_bytes(b"\x01never")
        await socket.receive()
        return socket

    data, outcome = await run(answer)
    assert data == b"part"
    assert outcome == Outcome(
        Completeness.PARTIAL, Reason.STREAM_BROKEN, "The exec stream carried a message that is not binary."
    )


async def test_a_failed_command_is_reported_with_its_exit_code_and_what_it_said() -> None:
    _, outcome = await run(exec_answer(b"\x02id: no\x1b[31m such\nuser", exit_status(7)))
    assert outcome == Outcome(
        Completeness.MISSING,
        Reason.COMMAND_FAILED,
        "The command ended with exit code 7; it said: id: no [31m such user",
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('Internal error occurred: exec: "sh": executable file not found in $PATH: unknown', Reason.NO_EXECUTABLE),
        ('exec: "/bin/sh": stat /bin/sh: no such file or directory', Reason.NO_EXECUTABLE),
        ('Internal error occurred: unable to upgrade connection: container not found ("app")',
         Reason.CONTAINER_NOT_RUNNING),
        ("cannot exec in a stopped state", Reason.CONTAINER_NOT_RUNNING),
    ],
)  # fmt: skip
async def test_words_of_the_container_runtime_become_reasons(message: str, reason: Reason) -> None:
    status = json.dumps({"status": "Failure", "reason": "InternalError", "message": message, "code": 500})
    _, outcome = await run(exec_answer(b"\x03" + status.encode()))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, reason)


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (403, 'pods "web-1" is forbidden: policy "quarantine" denied exec', Reason.FORBIDDEN),
        (404, 'pods "web-1" not found', Reason.NOT_FOUND),
        (400, "container app is not valid for pod web-1", Reason.NO_SUCH_CONTAINER),
        (400, "cannot exec into a container in a completed pod; current phase is Failed",
         Reason.CONTAINER_NOT_RUNNING),
        (503, "try later", Reason.SERVER_ERROR),
    ],
)  # fmt: skip
async def test_a_refused_handshake_is_told_in_the_servers_words(code: int, message: str, reason: Reason) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return refused(code, message)

    data, outcome = await run(answer)
    assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, reason)
    assert outcome.message == f"The API server answered {code}: {message}"


STARTING = (
    "pods \"web-1\" is invalid: : ValidatingAdmissionPolicy 'firebreak-quarantine-lock' denied request: failed to "
    "configure policy: failed to find resource referenced by paramKind: 'firebreak.dev/v1alpha1, Kind=Incident'"
)


async def test_an_api_server_that_cannot_judge_yet_is_named_as_starting() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return refused(422, STARTING)

    _, outcome = await run(answer)
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.SERVER_STARTING)
    assert "failed to configure policy" in outcome.message


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_an_overloaded_server_is_told_from_one_that_refuses(code: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return refused(code, "come again")

    _, outcome = await run(answer)
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.SERVER_ERROR)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with ApiDouble(exec_answer()) as connection:
        nobody = LoopbackConnection(connection.session, "http://127.0.0.1:1")
        _, outcome = await read(ExecSource(nobody, WEB, ["id"], QUICK))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.UNREACHABLE)


async def silent(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(request)
    await socket.send_bytes(b"\x01begun")
    await socket.receive()
    return socket


async def flooding(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(request)
    try:
        while True:
            await socket.send_bytes(b"\x01" + bytes(32_768))
    except ConnectionError:
        return socket


async def test_a_stream_that_falls_silent_is_given_up_after_the_idle_time() -> None:
    data, outcome = await run(silent)
    assert (data, outcome.reason) == (b"begun", Reason.STALLED)


async def complaining(request: web.Request) -> web.StreamResponse:
    """One byte of stderr and an empty stdout now and then, more often than the idle time, and never any data."""
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(request)
    await socket.send_bytes(b"\x01begun")
    with contextlib.suppress(ConnectionError):
        while True:
            await socket.send_bytes(b"\x02.")
            await socket.send_bytes(b"\x01")
            with contextlib.suppress(TimeoutError):
                await socket.receive(timeout=0.05)
    return socket


async def test_bytes_of_stderr_are_no_progress() -> None:
    async with asyncio.timeout(4):
        data, outcome = await run(complaining, Limits(idle_seconds=0.3, total_seconds=3600))
    assert (data, outcome.completeness, outcome.reason) == (b"begun", Completeness.PARTIAL, Reason.STALLED)


async def test_time_that_the_reader_takes_is_not_the_containers() -> None:
    async with ApiDouble(exec_answer(b"\x01a", b"\x02x", b"\x01b", exit_status(0))) as connection:
        source = ExecSource(connection, WEB, ["id"], Limits(idle_seconds=0.2))
        data = b""
        async for chunk in source:
            data += chunk
            resumed = asyncio.Event()
            asyncio.get_running_loop().call_later(0.3, resumed.set)
            await resumed.wait()
    assert (data, source.outcome.complete) == (b"ab", True)


async def test_stderr_counts_against_the_size_bound() -> None:
    said = exec_answer(b"\x0112345", b"\x02" + bytes(90), b"\x01123456", exit_status(0))
    data, outcome = await run(said, Limits(max_bytes=100))
    assert data == b"1234512345"
    assert outcome == Outcome(
        Completeness.PARTIAL,
        Reason.SIZE_LIMIT,
        "Cut at 100 bytes, 90 of them on stderr; raise the limit to read the rest.",
    )
    _, outcome = await run(exec_answer(b"\x01begun", b"\x02" + bytes(96), exit_status(0)), Limits(max_bytes=100))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.SIZE_LIMIT)


async def test_the_overall_time_is_bounded_even_while_bytes_flow() -> None:
    _, outcome = await run(flooding, Limits(max_bytes=2**40, idle_seconds=5, total_seconds=0.3))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.TIMED_OUT)


async def test_the_size_bound_cuts_exactly_and_a_container_that_writes_on_does_not_hold_us() -> None:
    async with asyncio.timeout(5):
        data, outcome = await run(flooding, Limits(max_bytes=100_000))
    assert len(data) == 100_000
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.SIZE_LIMIT)


async def test_a_slow_reader_holds_the_writer_back() -> None:
    """The writer gets no further than the buffers between us: nothing is collected on our side."""
    sent = 0
    stuck = asyncio.Event()

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        try:
            while True:
                async with asyncio.timeout(0.3):
                    await socket.send_bytes(b"\x01" + bytes(65_536))
                sent += 65_536
        except TimeoutError:
            stuck.set()
        return socket

    async with ApiDouble(count) as connection:
        source = ExecSource(connection, WEB, ["yes"], Limits())
        chunks = aiter(source)
        await anext(chunks)
        async with asyncio.timeout(10):
            await stuck.wait()
        waiting = await anext(chunks)
        await chunks.aclose()
    assert sent < 32 * 1024 * 1024
    assert len(waiting) <= HELD + 65_536
    assert source.outcome.reason is Reason.NOT_READ_TO_END


class Endless:
    """A socket that never makes anybody wait for its next message, which is empty."""

    async def receive(self) -> aiohttp.WSMessage:
        return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"", None)


async def test_empty_messages_that_nobody_takes_are_bounded_as_well() -> None:
    inbox = Inbox(Endless())
    async with asyncio.timeout(5):
        assert [len(await inbox.take(1)) for _ in range(3)] == [HELD // OVERHEAD] * 3
        await inbox.close()


async def test_cancellation_passes_through() -> None:
    async with ApiDouble(silent) as connection:
        chunks = aiter(ExecSource(connection, WEB, ["id"], Limits()))
        assert await anext(chunks) == b"begun"
        task = asyncio.ensure_future(anext(chunks))
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_source_is_never_complete_before_it_was_read() -> None:
    async with ApiDouble(exec_answer()) as connection:
        source = ExecSource(connection, WEB, ["id"], QUICK)
        assert (source.outcome.completeness, source.outcome.reason) == (Completeness.MISSING, Reason.NOT_READ_TO_END)


@given(st.binary(max_size=300))
def test_any_bytes_on_the_status_channel_are_read_without_error(data: bytes) -> None:
    assert not parse_status(data).success


def test_deeply_nested_status_is_no_success() -> None:
    assert not parse_status(b"[" * 100_000).success
    assert parse_status(b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"137"}]}}') == (
        ExitStatus(success=False, code=137, message="no message")
    )


@given(st.lists(st.binary(max_size=50)))
def test_an_excerpt_keeps_both_ends_and_little_else(parts: list[bytes]) -> None:
    excerpt = Excerpt(head=20, tail=30)
    for part in parts:
        excerpt.add(part)
    whole = b"".join(parts)
    text = excerpt.text()
    assert text.startswith(whole[:20].decode("utf-8", "replace"))
    if len(whole) <= 50:
        assert text == whole[:20].decode("utf-8", "replace") + whole[20:].decode("utf-8", "replace")
    else:
        assert text.endswith(f"[{len(whole) - 50} bytes left out]\n" + whole[-30:].decode("utf-8", "replace"))


@given(st.text())
def test_hostile_text_is_made_printable(text: str) -> None:
    shown = printable(text, 50)
    assert shown.isprintable()
    assert len(shown) <= 50
