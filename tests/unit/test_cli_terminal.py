"""What owns the terminal, and the command line as a whole."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
import yaml

from cli_harness import bare, own_logs
from firebreak.cli import logs
from firebreak.cli.failure import Failure
from firebreak.cli.foreign import translate
from firebreak.cli.session import Options
from firebreak.cli.terminal import Form, Terminal, table, words
from firebreak.cli.text import age, between, clean, moment, size
from firebreak.evidence.errors import StoreError
from firebreak.kube.configuration import ConfigurationError
from firebreak.kube.errors import ApiError

COMMANDS = (
    "contain", "status", "watch", "plan", "close", "release", "verify", "preflight", "run", "crds", "version",
)  # fmt: skip


class Screen(io.StringIO):
    """A stream at which somebody sits."""

    def isatty(self) -> bool:
        return True


def descendants(kind: type[Exception]) -> list[type[Exception]]:
    return [each for direct in kind.__subclasses__() for each in (direct, *descendants(direct))]


def asked(answer: str) -> Terminal:
    return Terminal(Form.TABLE, io.StringIO(), io.StringIO(), Screen(answer))


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_yes_is_a_yes(answer: str) -> None:
    asked(answer).confirm("Delete web?")


@pytest.mark.parametrize("answer", ["\n", "n\n", "", "yesterday\n"])
def test_everything_else_is_a_no(answer: str) -> None:
    with pytest.raises(Failure, match="not confirmed; nothing was done"):
        asked(answer).confirm("Delete web?")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\u202eright to left", "?right to left"),
        ("zero\u200bwidth", "zero?width"),
        ("naïve 日本", "naïve 日本"),
        ("lone \ud800", "lone ?"),
    ],
)
def test_text_of_the_cluster_is_made_harmless(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_table_fits_eighty_columns_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = Screen()
    name = "n" * 120
    Terminal(Form.TABLE, out, io.StringIO()).emit({}, lambda: table(("NAME", "TARGET"), [(name, "pod/web")]))
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    assert out.getvalue().count("n") == 120


def test_a_pipe_gets_whole_lines_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    Terminal(Form.TABLE, out, io.StringIO()).emit({}, lambda: words("False " * 60))
    assert out.getvalue() == "False " * 60 + "\n"


def test_json_and_yaml_are_written_for_programs() -> None:
    value = {"name": "web", "odd": "\x1b[31m é"}
    for form, read in ((Form.JSON, json.loads), (Form.YAML, yaml.safe_load)):
        out = io.StringIO()
        Terminal(form, out, io.StringIO()).emit(value, lambda: words("unused"))
        assert read(out.getvalue()) == value
        assert "\x1b" not in out.getvalue()


def test_options_after_the_commands_name_win_over_those_before() -> None:
    general = Options(namespace="shop", context="prod")
    assert Options(namespace="bank").over(general) == Options(namespace="bank", context="prod")


def test_times_are_read_as_kubectl_shows_them() -> None:
    now = moment("2026-01-05T10:00:00Z")
    assert now
    assert [age(f"2026-01-0{rest}Z", now) for rest in ("5T09:58:31", "5T09:55:00", "5T07:00:00", "2T10:00:00")] == [
        "89s",
        "5m",
        "3h",
        "3d",
    ]
    assert (age(None, now), age("yesterday", now)) == ("?", "?")
    assert between("2026-01-05T10:00:00.000100Z", "2026-01-05T10:00:00.008900Z") == "8.8 ms"
    assert between("2026-01-05T10:00:00Z", None) == ""
    assert [size(n) for n in (0, 1023, 1536, 5 * 2**30)] == ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]


def test_help_lists_the_commands_and_the_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = bare("--help")
    assert (ran.code, ran.err) == (0, "")
    text = " ".join(ran.out.split())
    for command in COMMANDS:
        assert f"│ {command} " in text
    assert (
        "Exit codes: 0 done; 1 the world is not as asked, refused or failed; 2 usage; 3 timed out waiting; "
        "4 the API server is not reachable or forbids it; "
        "5 nothing failed, but something is unknown or warned of (preflight)."
    ) in text
    assert "kubectl firebreak status" in text
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_help_imports_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys; from firebreak.cli.app import execute; execute(['--help']); "
        "print(sorted({'kopf', 'kubernetes', 'obstore', 'aiohttp', 'pydantic', 'structlog'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    ran = bare("obliterate")
    assert (ran.code, ran.out) == (2, "")
    assert "No such command" in ran.err


def test_a_missing_kubeconfig_is_said_without_a_traceback(tmp_path: Path) -> None:
    ran = bare("status", "--kubeconfig", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        f"error: no cluster to talk to: there is no file {tmp_path}/none\n"
        "next:  name a file with --kubeconfig or KUBECONFIG, or run inside the cluster\n"
    )


@pytest.mark.parametrize(
    "kind", [ApiError, *descendants(ApiError), *descendants(StoreError), OSError, ConfigurationError]
)
def test_every_expected_error_says_what_to_do_next(kind: type[Exception]) -> None:
    failure = translate(kind("GET /x", "no") if issubclass(kind, ApiError) else kind("no"))
    assert failure
    assert failure.hint


def test_version_is_data_too() -> None:
    assert set(json.loads(bare("version", "-o", "json").out)) == {"firebreak", "api", "python"}
    assert bare("--version").out == bare("version").out


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("FIREBREAK_PORT", "many", "FIREBREAK_PORT: Input should be a valid integer"),
        ("FIREBREAK_STORE_OPTIONS", '{"secret": ', "FIREBREAK_STORE_OPTIONS: "),
        ("FIREBREAK_LOG_FORMAT", "xml", "FIREBREAK_LOG_FORMAT: String should match pattern"),
    ],
)
def test_run_names_the_setting_that_is_wrong_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, error: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = bare("run")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {error}")
    assert "secret" not in ran.err


def test_logs_of_ours_and_of_libraries_have_one_format() -> None:
    stream = io.StringIO()
    with own_logs():
        logs.configure("json", stream)
        structlog.get_logger().info("first cut", incident="shop/shell", step="quarantine")
        logging.getLogger("kopf.activities").warning("watch %s broke \x1b[2J", "incidents")
        logging.getLogger("aiohttp.access").info("quiet")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["incident"], ours["step"]) == ("first cut", "shop/shell", "quarantine")
    assert (ours["level"], theirs["level"]) == ("info", "warning")
    assert theirs["event"] == "watch incidents broke \x1b[2J"
    assert theirs["logger"] == "kopf.activities"
    assert "\x1b" not in stream.getvalue()
