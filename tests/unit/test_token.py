"""The operator's token replaced, or refused in mid-work: whoever mends it finds Firebreak alive, and it goes on."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web

from api_double import ApiDouble
from cli_harness import write_kubeconfig
from fake_api import Answer, Call, FakeApi, Fault, always
from firebreak.engine.known import REFUSED
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.client import Api
from firebreak.kube.errors import Unauthorized
from harness import PATIENCE, replica
from world import POD_PATH, POLICIES_PATH, incident, shop

INCIDENTS_PATH = "/apis/firebreak.dev/v1alpha1/incidents"


def watches_incidents(call: Call) -> bool:
    return call.verb == "watch" and call.resource == "incidents"


async def test_a_token_that_is_refused_for_a_while_ends_nothing(fake: FakeApi, tmp_path: Path) -> None:
    shop(fake)
    config = write_kubeconfig(tmp_path, fake.url, "shop")
    environment = {**os.environ, "FIREBREAK_PORT": "0", "FIREBREAK_PROBE": "false", "FIREBREAK_RESYNC_SECONDS": "2"}
    argv = [sys.executable, "-m", "firebreak", "--kubeconfig", str(config), "run"]
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            await fake.called(watches_incidents)
            fake.faults.add(Fault(when=always, how=Answer(401)))
            fake.drop_watches()
            refused = len(fake.calls)
            await fake.called(lambda call: call.n > refused and call.path == INCIDENTS_PATH, times=3)
            assert process.returncode is None
            fake.faults.clear()
            mended = len(fake.calls)
            await fake.called(lambda call: call.n > mended and watches_incidents(call))
            fake.put(incident())
            await fake.called(lambda call: call.line == f"POST {POLICIES_PATH}")
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.terminate()
        _, err = await process.communicate()
    said = [json.loads(line)["event"] for line in err.decode().splitlines()]
    assert said.count(REFUSED) == 1


async def test_calls_that_are_refused_at_the_same_time_all_go_on_with_the_token_that_replaced_theirs(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    async with ApiDouble(answer) as connection:
        config = str(write_kubeconfig(tmp_path, connection.base, "shop", tokenFile=str(token)))
        token.write_text("replaced")
        async with await Api.connect(config) as api:
            token.write_text("right")
            await asyncio.gather(*(api.request("GET", f"/{number}") for number in range(8)))
            assert not api.credentials.refused.is_set()
            token.write_text("revoked")
            async with await Api.connect(config) as another:
                with pytest.raises(Unauthorized):
                    await another.request("GET", "/")
                assert another.credentials.refused.is_set()


async def test_what_came_while_nobody_knew_us_is_done_when_they_do(fake: FakeApi, store: EvidenceStore) -> None:
    """The jobs of incidents do not try by themselves: 401 says nothing about any of them."""
    shop(fake)
    async with replica(fake, store, alone=True) as firebreak:
        tools = firebreak.tools
        async with asyncio.timeout(PATIENCE):
            await fake.watched("incidents")
            fake.faults.add(Fault(when=lambda call: call.verb != "watch", how=Answer(401)))
            fake.put(incident())
            await fake.called(lambda call: call.path == "/version", times=2)
            assert tools.api.credentials.refused.is_set()
            assert tools.metrics.registry.get_sample_value("firebreak_credentials_refused") == 1
            fake.faults.clear()
            status = await firebreak.until("shell", lambda status: bool(status.get("evidence")))
        assert not tools.api.credentials.refused.is_set()
        assert tools.metrics.registry.get_sample_value("firebreak_credentials_refused") == 0
    contained = next(c for c in status["status"]["conditions"] if c["type"] == "Contained")
    assert (contained["status"], contained["reason"]) == ("True", "Enforced")
    assert len([c for c in fake.calls if c.line == f"POST {POLICIES_PATH}" and c.status == 401]) == 1


async def test_a_document_that_was_refused_for_its_token_is_read_again(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)

    def the_pod(call: Call) -> bool:
        return call.path == POD_PATH and call.method == "GET" and call.accept == "application/json"

    fake.faults.add(Fault(when=the_pod, how=Answer(401), times=2))
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.until("shell", lambda status: bool(status.get("evidence")))
    (key,) = [info.key for info in await store.list("") if info.key.endswith("/pod.json.json")]
    assert json.loads(await store.read(key))["completeness"] == "Complete"
