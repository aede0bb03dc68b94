"""The listening port: what gets in, what does not and why, and that none of it costs memory or time for good."""

import asyncio
import contextlib
import json
import logging
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli_harness import write_kubeconfig
from fake_api import Answer, FakeApi, Fault, Hold, Obj, always
from firebreak.intake.runtime import Intake
from firebreak.intake.settings import IntakeSettings
from harness import IMPATIENT, connect
from intake_harness import NOW, TOKEN, alertmanager, authority, certificate, falco, intake, opened, until


def tokens(at: Path, **files: str) -> Path:
    directory = at / "tokens"
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.fixture(autouse=True)
def a_shop(fake: FakeApi) -> None:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})


async def test_an_alert_of_falco_s_becomes_an_incident_about_the_pod(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        answered = await sender.post("falco", falco())
        assert (answered.status, answered.body) == (202, {"accepted": 1})
        await fake.until(lambda: opened(fake) != [])
    (incident,) = opened(fake, "shop")
    assert incident["spec"]["target"] == {"pod": "web-1"}
    assert (incident["spec"]["source"], incident["spec"]["playbook"]) == ("falco", "contain")


async def test_alertmanager_is_answered_when_its_incidents_are_there(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        answered = await sender.post("alertmanager", alertmanager("web-1", "web-2"))
        names = [incident["metadata"]["name"] for incident in opened(fake, "shop")]
    assert (answered.status, answered.body["opened"]) == (200, 2)
    assert sorted(each["incident"] for each in answered.body["alerts"]) == names


@pytest.mark.parametrize(
    ("path", "status", "reason"), [("nowhere", 404, "path"), ("", 404, "path"), ("falco/../x", 404, "path")]
)
async def test_another_path_is_refused_with_the_paths_that_there_are(
    fake: FakeApi, path: str, status: int, reason: str
) -> None:
    async with intake(fake) as sender:
        answered = await sender.post(path, falco())
        assert (answered.status, answered.body["refused"]) == (status, reason)
        assert "/falco, /falcosidekick, /alertmanager, /alerts" in answered.body["why"]
        assert sender.metric('refused_total{reason="path"}') == 1


async def test_without_a_token_nothing_comes_in_and_the_body_is_not_read(fake: FakeApi, tmp_path: Path) -> None:
    async with intake(fake, tokens=tokens(tmp_path, one=TOKEN)) as sender:
        refused = await sender.post("falco", falco())
        assert (refused.status, refused.body["refused"]) == (401, "unauthenticated")
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="firebreak-intake"'
        assert refused.headers["Connection"] == "close"
        taken = await sender.post("falco", falco(), Authorization=f"Bearer {TOKEN}")
        assert taken.status == 202
        await fake.until(lambda: opened(fake) != [])


async def test_a_token_is_rotated_without_a_restart(fake: FakeApi, tmp_path: Path) -> None:
    directory = tokens(tmp_path, one=TOKEN)
    async with intake(fake, tokens=directory) as sender:
        (directory / "one").unlink()
        tokens(tmp_path, two="another-token-of-the-tests")
        sender.intake.tokens.refresh()
        assert (await sender.post("falco", falco(), Authorization=f"Bearer {TOKEN}")).status == 401
        later = await sender.post("falco", falco(), Authorization="Bearer another-token-of-the-tests")
        assert later.status == 202


async def test_no_refusal_and_no_log_quotes_a_token(
    fake: FakeApi, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with intake(fake, tokens=tokens(tmp_path, one=TOKEN)) as sender:
        refused = await sender.post("falco", falco(), Authorization="Bearer a-wrong-secret-of-somebody")
        await sender.post("falco", falco(), Authorization=f"Bearer {TOKEN}")
    said = json.dumps(refused.body) + caplog.text + "".join(capsys.readouterr())
    assert "wrong-secret" not in said
    assert TOKEN not in said


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_refused_however_it_comes(fake: FakeApi, *, chunked: bool) -> None:
    async with intake(fake, alert_bytes=1024) as sender:
        body: Any = b"x" * 2000
        url = f"http://127.0.0.1:{sender.intake.port}/falco"

        async def pieces() -> Any:
            yield body

        async with sender.session.post(url, data=pieces() if chunked else body) as answer:
            told = await answer.json()
        assert (answer.status, told["refused"]) == (413, "size")
        assert told["why"] == "the body is longer than 1024 bytes: send fewer at once"
        assert sender.metric("buffer_bytes") == 0


async def test_a_body_that_does_not_come_is_given_up(fake: FakeApi) -> None:
    async with intake(fake, body_seconds=0.1) as sender:
        answer = await sender.said(b"POST /falco HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nten bytes.")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"within 0.1 seconds" in answer
        assert sender.metric("buffer_bytes") == 0


async def test_headers_that_do_not_come_are_given_up(fake: FakeApi) -> None:
    async with intake(fake, head_seconds=0.2) as sender:
        assert await sender.said(b"POST /falco HTTP/1.1\r\nHost") == b""
        await until(lambda: sender.metric("connections") == 0)


async def test_headers_without_end_are_cut(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        headers = b"".join(b"X-%d: y\r\n" % number for number in range(1000))
        answer = await sender.said(b"POST /falco HTTP/1.1\r\n" + headers)
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert sender.metric('refused_total{reason="malformed"}') == 1


async def test_a_head_that_is_long_in_all_is_cut_before_it_is_whole(fake: FakeApi) -> None:
    """Seen: 480 connections with 120 headers of 8 KiB each, and no credentials, took a gigabyte."""
    async with intake(fake) as sender:
        headers = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 8000) for number in range(5))
        answer = await sender.said(b"POST /falco HTTP/1.1\r\nHost: x\r\n" + headers)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert sender.metric('refused_total{reason="malformed"}') == 1


async def test_a_body_is_no_head_however_long_it_is_and_however_slowly_it_comes(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        reader, writer = await asyncio.open_connection("127.0.0.1", sender.intake.port)
        for pod in ("web-1", "web-2"):
            body = json.dumps(falco(pod, fields={"x": "y" * 50_000})).encode()
            writer.write(b"POST /falco HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), 10_000):
                writer.write(body[start : start + 10_000])
                await writer.drain()
                await asyncio.sleep(0)
            assert (await asyncio.wait_for(reader.readuntil(b"}"), 10)).startswith(b"HTTP/1.1 202 ")
        writer.close()


async def test_what_is_no_http_is_refused_and_leaves_no_traceback_in_the_log(
    fake: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    async with intake(fake) as sender:
        for _ in range(3):
            await sender.said(b"\x00\x01 nonsense\r\n\r\n")
        await until(lambda: sender.metric('refused_total{reason="malformed"}') == 3)
    assert "Traceback" not in caplog.text


async def test_a_body_that_breaks_off_is_refused_and_given_back(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        _, writer = await asyncio.open_connection("127.0.0.1", sender.intake.port)
        writer.write(b"POST /falco HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nten bytes.")
        await writer.drain()
        await until(lambda: sender.metric("buffer_bytes") == 10)
        writer.close()
        await until(lambda: sender.metric('refused_total{reason="broken"}') == 1)
        assert sender.metric("buffer_bytes") == 0


async def test_one_address_holds_a_quarter_of_the_connections(fake: FakeApi) -> None:
    async with intake(fake, connections=8) as sender:
        held = [await asyncio.open_connection("127.0.0.1", sender.intake.port) for _ in range(2)]
        await until(lambda: sender.metric("connections") == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", sender.intake.port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await until(lambda: sender.metric('refused_total{reason="connections"}') == 1)
        for _, each in held:
            each.close()


async def test_a_sender_that_is_too_fast_is_told_to_come_again(fake: FakeApi) -> None:
    async with intake(fake, rate=0.001, burst=1) as sender:
        assert (await sender.post("falco", falco())).status == 202
        refused = await sender.post("falco", falco())
        assert (refused.status, refused.body["refused"], refused.headers["Retry-After"]) == (503, "overload", "5")


async def test_who_only_holds_connections_shuts_nobody_out(
    fake: FakeApi, tmp_path: Path, trust: tuple[Path, ssl.SSLContext]
) -> None:
    ca, client = trust
    async with intake(fake, tls=certificate(tmp_path / "served", ca), client=client, connections=8) as sender:
        held = []
        for number in range(8):
            local, tls = (
                (f"127.0.0.{2 + number % 4}", 0),
                client if number % 2 else None,
            )  # half of them say nothing at all
            held.append(await asyncio.open_connection("127.0.0.1", sender.intake.port, local_addr=local, ssl=tls))
        await until(lambda: sender.metric("connections") == 8)
        async with asyncio.timeout(5):  # each of these would end after ten seconds
            assert (await sender.post("falco", falco())).status == 202
        for _, writer in held:
            writer.close()


async def test_a_node_that_is_too_fast_does_not_take_the_turns_of_others_with_its_certificate(
    fake: FakeApi, tmp_path: Path
) -> None:
    async with intake(fake, tokens=tokens(tmp_path, falco=TOKEN), rate=0.001, burst=1) as sender:
        statuses = []
        for address in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            url = f"http://127.0.0.1:{sender.intake.port}/falco"
            async with (
                aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {TOKEN}"}) as session,
                session.post(url, json=falco()) as answer,
            ):
                statuses.append(answer.status)
        assert statuses == [202, 503, 202]


async def test_a_coding_that_unfolds_is_refused(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        refused = await sender.post("falco", falco(), Content_Encoding="gzip")
        assert (refused.status, refused.body["refused"]) == (415, "coding")


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"rule": 1}', b"\xff\xfe"])
async def test_what_is_no_alert_is_refused_with_the_reason(fake: FakeApi, body: bytes) -> None:
    async with intake(fake) as sender:
        refused = await sender.post("alertmanager", body)
        assert (refused.status, refused.body["refused"]) == (400, "malformed")
        assert refused.body["why"] != ""
    assert opened(fake) == []


async def test_of_a_group_only_what_is_wrong_is_refused_and_said_in_the_log(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    group = alertmanager("web-1")
    group["alerts"].append({"status": "firing", "labels": {}})
    async with intake(fake) as sender:
        answered = await sender.post("alertmanager", group)
    assert (answered.status, answered.body["opened"], len(answered.body["refused"])) == (200, 1, 1)
    assert len(opened(fake)) == 1
    assert "alerts refused" in capsys.readouterr().out


async def test_while_the_api_server_is_away_alertmanager_is_told_to_come_again(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        fake.faults.add(Fault(when=always, how=Answer(500)))
        refused = await sender.post("alertmanager", alertmanager("web-1"))
        assert (refused.status, refused.body["refused"], refused.headers["Retry-After"]) == (503, "unavailable", "5")
        fake.faults.clear()
        assert (await sender.post("alertmanager", alertmanager("web-1"))).body["opened"] == 1


async def test_while_the_api_server_is_away_falco_s_alerts_wait(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        fake.faults.add(Fault(when=always, how=Answer(500)))
        for pod in ("web-1", "web-2", "web-1"):
            assert (await sender.post("falco", falco(pod))).status == 202
        assert sender.metric("waiting") == 2
        fake.faults.clear()
        await fake.until(lambda: len(opened(fake)) == 2)
        await until(lambda: sender.metric("buffer_bytes") == 0)


async def test_an_alert_that_waited_longer_than_alerts_may_be_old_is_no_replay(fake: FakeApi) -> None:
    shown = [NOW]
    async with intake(fake, clock=lambda: shown[0]) as sender:
        fake.faults.add(Fault(when=always, how=Answer(500)))
        for _ in range(2):
            assert (await sender.post("falco", falco())).status == 202
        shown[0] = NOW + timedelta(hours=2)
        fake.faults.clear()
        await fake.until(lambda: len(opened(fake, "shop")) == 1)
        await until(lambda: sender.metric('alerts_total{outcome="repeated",source="falco"}') == 1)


async def test_what_finds_no_room_is_refused_and_one_sender_leaves_room_for_others(
    fake: FakeApi, tmp_path: Path
) -> None:
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "incidents", how=Hold(there)))
    known = tokens(tmp_path, loud=TOKEN, quiet="another-token-of-the-tests")
    async with intake(fake, tokens=known, buffer_bytes=2**20, alert_bytes=2**16, audit_bytes=2**16) as sender:
        statuses = [
            (await sender.post("falco", falco(f"web-{number}"), Authorization=f"Bearer {TOKEN}")).status
            for number in range(100)
        ]
        assert {*statuses} == {202, 503}
        assert statuses.index(503) > 25
        quiet = await sender.post("falco", falco("db"), Authorization="Bearer another-token-of-the-tests")
        assert quiet.status == 202
        there.set()
        await until(lambda: sender.metric("waiting") == 0)
        assert sender.metric("buffer_bytes") == 0


async def test_alerts_whose_sender_waits_are_bounded_as_those_are_whose_sender_does_not(fake: FakeApi) -> None:
    """Seen: while the API server hung, groups of a thousand that were sent again and again took 400 MB a round."""
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "incidents", how=Hold(there)))
    async with intake(fake, buffer_bytes=2**20, alert_bytes=2**16, audit_bytes=2**16) as sender:
        group = alertmanager(*(f"web-{number}" for number in range(100)))
        refused = await sender.post("alertmanager", group)
        assert (refused.status, refused.body["refused"]) == (503, "unavailable")
        assert 20 < sender.metric("waiting") < 40
        assert 2**17 < sender.metric("buffer_bytes") <= 2**18
        there.set()
        await until(lambda: sender.metric("waiting") == 0)
        while (answered := await sender.post("alertmanager", group)).status == 503:
            assert answered.body["refused"] == "overload"
        assert len(opened(fake)) == 100
        assert sender.metric("buffer_bytes") == 0


async def test_what_comes_again_while_it_waits_is_counted_in_one_go(fake: FakeApi) -> None:
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "incidents", how=Hold(there)))
    async with intake(fake) as sender:
        for _ in range(3):
            await sender.post("falco", [falco()] * 1000)
        assert sender.metric("waiting") == 1
        there.set()
        await until(lambda: sender.metric("waiting") == 0)
        assert sender.metric('alerts_total{outcome="repeated",source="falco"}') == 2999
    (found,) = opened(fake)
    assert found["metadata"]["annotations"]["firebreak.dev/repeats"] == "2999"


async def test_a_harmless_alert_that_waits_swallows_no_graver_one(fake: FakeApi) -> None:
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "incidents", how=Hold(there)))
    async with intake(fake) as sender:
        await sender.post("falco", [falco(priority="Notice"), falco()])
        there.set()
        await until(lambda: sender.metric("waiting") == 0)
    assert sorted(found["spec"]["mode"] for found in opened(fake, "shop")) == ["Plan", "Respond"]


async def test_what_was_accepted_is_opened_before_the_end(fake: FakeApi) -> None:
    there = asyncio.Event()
    fake.faults.add(Fault(when=lambda call: call.resource == "incidents", how=Hold(there)))
    async with intake(fake) as sender:
        assert (await sender.post("falco", falco())).status == 202
        asyncio.get_running_loop().call_later(0.2, there.set)
    assert len(opened(fake)) == 1


@pytest.fixture
def trust(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority, and a client that trusts it."""
    ca = authority(tmp_path, "ca")
    return ca, ssl.create_default_context(cafile=str(ca))


async def test_a_client_certificate_with_an_allowed_name_lets_falco_in(
    fake: FakeApi, tmp_path: Path, trust: tuple[Path, ssl.SSLContext]
) -> None:
    ca, client = trust
    served = certificate(tmp_path / "served", ca)
    mine = certificate(tmp_path / "mine", ca, names="DNS:falco.example.org")
    client.load_cert_chain(mine / "tls.crt", mine / "tls.key")
    allowed: Obj = {"client_ca": ca, "client_names": ("falco.example.org",)}
    async with intake(fake, tls=served, client=client, **allowed) as sender:
        assert (await sender.post("falco", falco())).status == 202
        await fake.until(lambda: opened(fake) != [])


async def test_another_name_another_authority_and_no_certificate_are_refused(
    fake: FakeApi, tmp_path: Path, trust: tuple[Path, ssl.SSLContext]
) -> None:
    ca, client = trust
    allowed: Obj = {"client_ca": ca, "client_names": ("falco.example.org",)}
    async with intake(fake, tls=certificate(tmp_path / "served", ca), client=client, **allowed) as sender:
        assert (await sender.post("falco", falco())).status == 401
        url = f"https://127.0.0.1:{sender.intake.port}/falco"
        statuses = []
        for by, name in ((ca, "DNS:eve"), (authority(tmp_path, "other"), "DNS:falco.example.org")):
            theirs = certificate(tmp_path / by.stem, by, names=name)
            context = ssl.create_default_context(cafile=str(ca))
            context.load_cert_chain(theirs / "tls.crt", theirs / "tls.key")
            try:
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                    session.post(url, json=falco()) as answer,
                ):
                    statuses.append(answer.status)
            except aiohttp.ClientError:
                statuses.append(0)
        assert statuses == [403, 0]
    assert opened(fake) == []


async def test_a_certificate_is_rotated_without_a_restart_and_half_a_pair_changes_nothing(
    fake: FakeApi, tmp_path: Path, trust: tuple[Path, ssl.SSLContext]
) -> None:
    ca, client = trust
    other = authority(tmp_path, "other")
    served = certificate(tmp_path / "served", ca)
    async with intake(fake, tls=served, client=client) as sender:
        assert (await sender.post("falco", falco())).status == 202
        newer = certificate(tmp_path / "newer", other)
        (served / "tls.crt").write_bytes((newer / "tls.crt").read_bytes())
        await until(lambda: sender.intake.problem)
        assert (await sender.post("falco", falco("web-2"))).status == 202
        (served / "tls.key").write_bytes((newer / "tls.key").read_bytes())
        certificates = sender.intake.certificates
        assert certificates
        before = certificates.context
        await until(lambda: certificates.context is not before)
        trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(other)))
        async with (
            aiohttp.ClientSession(connector=trusting) as session,
            session.post(f"https://127.0.0.1:{sender.intake.port}/falco", json=falco("web-3")) as answer,
        ):
            assert answer.status == 202


async def test_who_came_by_an_authority_that_is_taken_away_does_not_stay_on_a_connection_of_before(
    fake: FakeApi, tmp_path: Path, trust: tuple[Path, ssl.SSLContext]
) -> None:
    ca, client = trust
    stolen = authority(tmp_path, "stolen")
    mounted = tmp_path / "mounted.crt"
    mounted.write_bytes(stolen.read_bytes())
    mine = certificate(tmp_path / "mine", stolen, names="DNS:falco.example.org")
    client.load_cert_chain(mine / "tls.crt", mine / "tls.key")
    allowed: Obj = {"client_ca": mounted, "client_names": ("falco.example.org",), "head_seconds": 60}
    async with intake(fake, tls=certificate(tmp_path / "served", ca), client=client, **allowed) as sender:
        assert (await sender.post("falco", falco())).status == 202
        mounted.write_bytes(authority(tmp_path, "new").read_bytes())
        certificates = sender.intake.certificates
        assert certificates
        before = certificates.context
        await until(lambda: certificates.context is not before)
        async with asyncio.timeout(8):  # by itself a connection that nobody uses ends after fifteen seconds
            await until(lambda: sender.metric("connections") == 0)
        with pytest.raises(aiohttp.ClientError):
            await sender.post("falco", falco())


async def test_authorities_that_are_not_there_yet_are_told_of(
    fake: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate(tmp_path / "tls", authority(tmp_path, "ca"))
    absent = tmp_path / "clients.crt"
    settings = IntakeSettings(
        tls=tmp_path / "tls",
        client_ca=absent,
        client_names=("falco.example.org",),
        kubeconfig=str(write_kubeconfig(tmp_path, fake.url, "shop")),
    )
    started = await Intake.start(settings, insecure=False)
    await started.api.session.close()
    told = capsys.readouterr().out
    assert "no client certificate counts until this file is there" in told
    assert str(absent) in told


async def test_a_port_that_is_taken_leaves_no_connection_open(fake: FakeApi) -> None:
    async with intake(fake) as sender:
        taken = sender.intake
        second = Intake(
            taken.settings.model_copy(update={"port": taken.port}), connect(fake, IMPATIENT), taken.tokens, None,
            taken.access, taken.routes, taken.ruleset,
        )  # fmt: skip
        with pytest.raises(OSError, match="Address already in use"):
            await second.__aenter__()
        assert second.api.session.closed
