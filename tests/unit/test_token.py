"""The operator's token refused in mid-work: whoever mends it finds Firebreak alive, and it goes on."""

import asyncio
import json
import os
import sys
from pathlib import Path

from cli_harness import write_kubeconfig
from fake_api import Answer, Call, FakeApi, Fault, always
from harness import PATIENCE
from world import POLICIES_PATH, incident, shop

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
    assert "credentials refused; tried again until they are taken. If the ServiceAccount was made anew, restart" in said
