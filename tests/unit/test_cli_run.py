"""`firebreak run`: the operator as a process, against the fake API server."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from cli_harness import bare, write_kubeconfig
from fake_api import FakeApi
from firebreak.cli.running import unknown_variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


async def test_the_operator_watches_until_it_is_told_to_stop_and_logs_in_one_format(
    fake: FakeApi, tmp_path: Path
) -> None:
    config = write_kubeconfig(tmp_path, fake.url, "shop")
    environment = {**os.environ, "FIREBREAK_PORT": "0", "FIREBREAK_PROBE": "false", "FIREBREAK_STROE": "file:///x"}
    argv = [sys.executable, "-m", "firebreak", "--kubeconfig", str(config), "run"]
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            await fake.called(lambda call: call.verb == "watch" and call.resource == "incidents")
            process.send_signal(signal.SIGTERM)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, out) == (0, b"")
    told = [json.loads(line) for line in err.decode().splitlines()]
    assert all({"event", "level", "timestamp", "logger"} <= set(line) for line in told)
    warned = [line for line in told if line["event"] == "unknown settings are ignored"]
    assert [line["variables"] for line in warned] == [["FIREBREAK_STROE"]]


def test_variables_that_kubernetes_sets_are_no_slips_of_the_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIREBREAK_SERVICE_HOST", "FIREBREAK_PORT_8080_TCP", "FIREBREAK_STORE", "FIREBREAK_TRACEBACK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("FIREBREAK_STROE", "1")
    assert unknown_variables() == ["FIREBREAK_STROE"]


def test_the_page_of_settings_is_generated_from_them() -> None:
    ran = bare("run", "--settings")
    assert (ran.code, ran.err) == (0, "")
    assert PAGE.read_text() == ran.out, "run `.venv/bin/firebreak run --settings > docs/settings.md`"


def test_settings_are_data_too() -> None:
    settings = {each["name"]: each["default"] for each in bare("run", "--settings", "-o", "json").json}
    assert (settings["FIREBREAK_STORE"], settings["FIREBREAK_PROBE"], settings["FIREBREAK_PORT"]) == ("", True, 8080)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "NOTIFY_URL",
            "http://[::TOPSECRET",
            "FIREBREAK_NOTIFY_URL: want https://HOST/PATH, or http:// inside the cluster",
        ),
        ("NOTIFY_FORMAT", "teams", "FIREBREAK_NOTIFY_FORMAT: Input should be 'slack' or 'json'"),
        (
            "CLOUD_HOOK_KEY",
            "TOPSECRET-TOPSECRET",
            "FIREBREAK_CLOUD_HOOK_URL and FIREBREAK_CLOUD_HOOK_KEY go together: no call is made unsigned",
        ),
    ],
)
def test_a_setting_that_is_wrong_stops_the_start_with_its_name_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"FIREBREAK_{variable}", value)
    ran = bare("run")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {words}\n")
    assert "TOPSECRET" not in ran.err


@pytest.mark.parametrize("option", ["--context", "--namespace"])
def test_an_option_that_would_be_ignored_is_refused(option: str) -> None:
    ran = bare("run", option, "prod")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: run takes no --context and no --namespace")


def test_the_page_of_the_intake_s_settings_is_generated_from_them() -> None:
    ran = bare("intake", "--settings")
    assert (ran.code, ran.err) == (0, "")
    words = "run `.venv/bin/firebreak intake --settings > docs/intake-settings.md`"
    assert (PAGE.parent / "intake-settings.md").read_text() == ran.out, words


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "anybody could open incidents"),
        ({"TOKENS": "TOKENS"}, "tokens would cross the network in the clear"),
        ({"TOKENS": "TOKENS/none"}, "/none holds no token that is good, so nobody could send: want a file for each"),
        ({"TLS": "TOKENS", "TOKENS": "TOKENS"}, "no certificate with its key"),
        ({"CLIENT_CA": "ca.crt"}, "FIREBREAK_INTAKE_CLIENT_CA needs FIREBREAK_INTAKE_CLIENT_NAMES"),
        ({"RATE": "fast"}, "FIREBREAK_INTAKE_RATE: Input should be a valid number"),
    ],
)
def test_the_intake_does_not_start_open_to_everybody_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    (tmp_path / "one").write_text("a-token-of-the-tests")
    for name, value in settings.items():
        monkeypatch.setenv(f"FIREBREAK_INTAKE_{name}", value.replace("TOKENS", str(tmp_path)))
    ran = bare("intake")
    assert ran.code != 0
    assert words in ran.err


async def test_the_intake_listens_until_it_is_told_to_stop(fake: FakeApi, tmp_path: Path) -> None:
    config = write_kubeconfig(tmp_path, fake.url, "shop")
    ports = {"FIREBREAK_INTAKE_PORT": "0", "FIREBREAK_INTAKE_PROBE_PORT": "0", "FIREBREAK_INTAKE_TOKNES": "/x"}
    argv = [sys.executable, "-m", "firebreak", "--kubeconfig", str(config), "intake", "--insecure"]
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **ports}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told = []
    try:
        async with asyncio.timeout(60):
            assert process.stderr
            while not any(line["event"] == "listening" for line in told):
                told.append(json.loads(await process.stderr.readline()))
            process.send_signal(signal.SIGTERM)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, out) == (0, b"")
    told += [json.loads(line) for line in err.decode().splitlines()]
    assert [line["variables"] for line in told if "variables" in line] == [["FIREBREAK_INTAKE_TOKNES"]]
    assert "insecure: whoever reaches the port opens incidents" in [line["event"] for line in told]
