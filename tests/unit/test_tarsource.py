"""Copying files: the command in real shells, and what each way of ending is worth."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from aiohttp import web

from api_double import ApiDouble, Handler, exec_answer, exit_status
from firebreak.kube.source import ContainerRef, Limits, Reason
from firebreak.kube.tarcommand import (
    Detours,
    Preamble,
    detours,
    direct_command,
    outermost,
    parse_preamble,
    tar_command,
)
from firebreak.kube.tarsource import TarSource
from firebreak.kube.tarstream import TarFilter
from firebreak.model.outcome import Completeness, Outcome

TMP = "/tmp"  # noqa: S108 - in the container
WEB = ContainerRef("shop", "web-1", "app")
QUICK = Limits(max_bytes=1_000_000, connect_seconds=2, idle_seconds=1, total_seconds=5)
NO_SUCH_PROGRAM = b'\x03{"status":"Failure","message":"exec: \\"x\\": executable file not found in $PATH"}'


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILES = archive(("./etc/passwd", b"root"), ("./run/secrets/k8s/token", b"s3cret"), ("./tmp/x", bytes(5000)))
PREAMBLE = b"firebreak-tar 1\nsecret /run/secrets/k8s\nroot /etc\nroot /tmp\nmissing /home\ncwd /\n\n"


def out(data: bytes, size: int = 1000) -> list[bytes]:
    return [b"\x01" + data[i : i + size] for i in range(0, len(data), size)]


async def run(*messages: bytes, limits: Limits = QUICK) -> tuple[bytes, Outcome, TarSource]:
    return await run_handler(exec_answer(*messages), limits)


async def run_handler(handler: Handler, limits: Limits = QUICK) -> tuple[bytes, Outcome, TarSource]:
    async with ApiDouble(handler) as connection:
        paths, mounts = ["/etc", TMP, "/home"], ["/mnt/secret", "/var/run/secrets/k8s"]
        source = TarSource(connection, WEB, paths, mounts, limits)
        data = b"".join([chunk async for chunk in source])
        return data, source.outcome, source


async def test_a_whole_archive_with_success_is_complete_and_says_what_is_not_in_it() -> None:
    data, outcome, source = await run(*out(PREAMBLE + FILES), exit_status(0))
    assert data == archive(("./etc/passwd", b"root"), ("./tmp/x", bytes(5000)))[: len(data)]
    assert b"s3cret" not in data
    assert outcome == Outcome(
        Completeness.COMPLETE,
        Reason.READ_TO_END,
        "The archive is whole: 3 members. (not there: /home; 1 members under known secret mounts left out)",
    )
    assert source.preamble == Preamble(
        roots=("/etc", "/tmp"),  # noqa: S108 - names
        missing=("/home",),
        secrets=("/run/secrets/k8s",),
        working_directory="/",
    )


def says(*secrets: str) -> bytes:
    lines = "".join(f"secret {path}\n" for path in secrets)
    return f"firebreak-tar 1\n{lines}root /etc\nroot /tmp\nmissing /home\ncwd /srv/app\n\n".encode()


async def test_what_a_link_puts_under_a_secret_mount_is_left_out_and_said_to_be() -> None:
    data, outcome, _ = await run(*out(says(f"{TMP}/hidden") + FILES), exit_status(0))
    assert b"./tmp/x" in data
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.UNEXPECTED_EXCLUSION)
    assert "links lead from known secret mounts to /tmp/hidden: left out too" in outcome.message
    data, outcome, _ = await run(*out(says(f"{TMP}/x") + FILES), exit_status(0))
    assert b"./tmp/x" not in data
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.UNEXPECTED_EXCLUSION)


@pytest.mark.parametrize("path", [TMP, "/etc/../tmp/", "/srv", "/srv/app", "/"])
async def test_a_link_never_leaves_out_what_was_asked_for_as_a_whole(path: str) -> None:
    """`ln -s /tmp /run/secrets` must not empty the evidence."""
    files = archive(("./tmp/x", b"tool"), ("./srv/app/main.py", b"main"), ("./run/secrets/k8s/token", b"s3cret"))
    data, outcome, _ = await run(*out(says(path) + files), exit_status(0))
    assert b"./tmp/x" in data
    assert b"./srv/app/main.py" in data
    assert b"s3cret" not in data
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.UNEXPECTED_EXCLUSION)
    assert f"the container calls {path} a secret mount, which was asked for: not left out" in outcome.message


async def test_more_secret_places_than_mounts_are_made_up() -> None:
    data, outcome, _ = await run(*out(says("/mnt/secret", "/run/secrets/k8s", f"{TMP}/x") + FILES), exit_status(0))
    assert b"./tmp/x" in data
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.UNEXPECTED_EXCLUSION)
    assert "the container calls /tmp/x a secret mount" in outcome.message


async def test_a_worse_ending_keeps_its_reason_and_names_the_places_too() -> None:
    _, outcome, _ = await run(*out(says(f"{TMP}/x") + FILES[:2000]), exit_status(0))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.ARCHIVE_CUT)
    assert f"{TMP}/x: left out too" in outcome.message


def test_places_that_touch_nothing_asked_for_do_not_matter() -> None:
    preamble = Preamble(roots=("/data/home",), secrets=("/opt/x", "/run/a/b", "/data", "/data/home/b"))
    mounts = ["/mnt/a", "/var/run/a/b", "/mnt/c", "/mnt/d"]
    assert detours(preamble, mounts, ["/home"]) == Detours(left_out=("/data/home/b",), kept=("/data",))


async def test_a_preamble_in_single_bytes_is_read_all_the_same() -> None:
    data, outcome, _ = await run(*out(PREAMBLE, 1), *out(FILES), exit_status(0))
    assert outcome.complete
    assert data.startswith(b"./etc/passwd")


@pytest.mark.parametrize("cut", [600, 1024, 3000, 6000])
async def test_a_cut_archive_is_partial_even_when_tar_reports_success(cut: int) -> None:
    _, outcome, _ = await run(*out(PREAMBLE + FILES[:cut]), exit_status(0))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.ARCHIVE_CUT)


async def test_a_broken_stream_is_partial_even_when_the_archive_is_whole() -> None:
    _, outcome, _ = await run_handler(exec_answer(*out(PREAMBLE + FILES), close=None))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.STREAM_BROKEN)


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (1, b"tar: ./tmp/x: file changed as we read it", Reason.CHANGED_WHILE_READ),
        (1, b"tar: ./tmp/x: File removed before we read it", Reason.CHANGED_WHILE_READ),
        (2, b"tar: ./root: Cannot open: Permission denied", Reason.UNREADABLE_FILES),
        (1, b"tar: can't open './etc/shadow': Permission denied", Reason.UNREADABLE_FILES),
        (2, b"tar: Error is not recoverable: exiting now", Reason.TAR_FAILED),
    ],
)
async def test_an_error_of_tar_makes_it_partial_with_the_reason(code: int, said: bytes, reason: Reason) -> None:
    _, outcome, _ = await run(*out(PREAMBLE + FILES), b"\x02" + said, exit_status(code))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, reason)
    assert said.decode() in outcome.message


async def test_a_tar_that_dies_half_way_is_partial() -> None:
    _, outcome, _ = await run(*out(PREAMBLE + FILES[:2000]), exit_status(137))
    assert (outcome.completeness, outcome.reason) == (Completeness.PARTIAL, Reason.TAR_FAILED)


async def test_garbage_in_place_of_an_archive_is_not_kept() -> None:
    data, outcome, _ = await run(*out(PREAMBLE + b"garbage" * 1000), exit_status(0))
    assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, Reason.ARCHIVE_CORRUPT)


async def test_a_shell_that_answers_otherwise_is_not_believed() -> None:
    data, outcome, _ = await run(*out(FILES), exit_status(0))
    assert (data, outcome.completeness, outcome.reason) == (b"", Completeness.MISSING, Reason.ARCHIVE_CORRUPT)


async def test_a_preamble_without_end_is_not_collected() -> None:
    endless = b"firebreak-tar 1\n" + b"root /x\n" * 20_000
    data, outcome, _ = await run(*out(endless, 30_000), exit_status(0))
    assert (data, outcome.reason) == (b"", Reason.ARCHIVE_CORRUPT)


async def test_nothing_to_archive_is_missing() -> None:
    _, outcome, _ = await run(b"\x01firebreak-tar 1\nmissing /etc\n\n", exit_status(0))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.NOTHING_TO_ARCHIVE)


async def test_the_size_bound_makes_it_partial() -> None:
    data, outcome, _ = await run(*out(PREAMBLE + FILES), exit_status(0), limits=Limits(max_bytes=4000))
    assert (len(data), outcome.completeness, outcome.reason) == (4000, Completeness.PARTIAL, Reason.SIZE_LIMIT)


async def test_without_a_shell_tar_is_run_directly() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["command"] == "sh":
            return await exec_answer(NO_SUCH_PROGRAM)(request)
        return await exec_answer(*out(FILES), exit_status(0))(request)

    data, outcome, _ = await run_handler(answer)
    assert (len(data), outcome.complete) == (len(FILES) - 1024, True)
    assert b"s3cret" not in data


async def test_without_shell_and_tar_it_is_missing() -> None:
    _, outcome, _ = await run(NO_SUCH_PROGRAM)
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.NO_TAR)


async def test_a_shell_without_tar_is_missing_too() -> None:
    _, outcome, _ = await run(*out(PREAMBLE), b"\x02sh: exec: tar: not found", exit_status(127))
    assert (outcome.completeness, outcome.reason) == (Completeness.MISSING, Reason.NO_TAR)


def test_paths_are_archived_once_and_never_the_root() -> None:
    paths = ["/var/tmp", "tmp/", "//tmp/a/../b", "/", "/home/./x", "/tmpfs", "/a\nb"]  # noqa: S108 - names
    assert outermost(paths) == ("/var/tmp", "/tmp", "/home/x", "/tmpfs")  # noqa: S108 - names
    assert direct_command(["/etc"]) == ("tar", "-cf", "-", "-C", "/", "./etc")


def test_a_preamble_of_nonsense_is_read_without_error() -> None:
    assert parse_preamble(b"\xff\xfe\nroot\nroot x\ncwd\nroot /a b\n\0") == Preamble(roots=("/a b",))


def shells() -> dict[str, tuple[str, str]]:
    """Every pair of shell and tar that this machine has."""
    tools = {name: path for name in ("dash", "bash", "busybox", "tar") if (path := shutil.which(name))}
    wanted = (("dash", "tar"), ("bash", "tar"), ("busybox", "busybox"))
    return {shell: (tools[shell], tools[tar]) for shell, tar in wanted if shell in tools and tar in tools}


@pytest.fixture(params=sorted(shells()))
def shell_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with one shell and one tar only."""
    shell, tar = shells()[request.param]
    path = tmp_path / "bin"
    path.mkdir()
    (path / "sh").symlink_to(shell)
    (path / "tar").symlink_to(tar)
    return str(path)


def archive_here(path: str, command: tuple[str, ...]) -> tuple[Preamble, bytes, str]:
    done = subprocess.run(
        [f"{path}/sh", *command[1:]], env={"PATH": path}, capture_output=True, check=True, cwd="/", timeout=20
    )
    head, _, rest = done.stdout.partition(b"\n\n")
    return parse_preamble(head), rest, done.stderr.decode()


@pytest.fixture(params=["plain", "odd [x]* é '\"$(id)"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A directory, plainly or oddly named, with a secret mount behind a link, and a linked home."""
    root = tmp_path / request.param
    for directory in ("work", "secret/mount", "usr/home/bob", "-rf"):
        (root / directory).mkdir(parents=True)
    for name in ("work/main.py", "secret/mount/token", "secret/key", "secret/visible", "usr/home/bob/x", "-rf/y"):
        (root / name).write_text("HIDDEN" if name in {"secret/mount/token", "secret/key"} else "shown")
    (root / "home").symlink_to("usr/home")
    (root / "alias").symlink_to("secret")
    return str(root)


def test_the_command_archives_what_exists_in_every_shell(shell_path: str, place: str) -> None:
    paths = [f"{place}/{name}" for name in ("home", "secret", "-rf", "nowhere")]
    secrets = [f"{place}/alias/mount", f"{place}/alias/key", "/nowhere/at/all"]
    preamble, data, said = archive_here(shell_path, tar_command(paths, secrets, f"{place}/work"))
    assert preamble == Preamble(
        roots=tuple(f"{place}/{name}" for name in ("home", "usr/home", "secret", "-rf", "work")),
        missing=(f"{place}/nowhere",),
        secrets=(f"{place}/secret/mount", f"{place}/secret/key"),
        working_directory=f"{place}/work",
    )
    assert said == ""
    assert detours(preamble, secrets, paths) == Detours(left_out=preamble.secrets)
    tar = TarFilter(preamble.secrets)
    kept = tar.feed(data)
    assert tar.finish().whole
    assert b"HIDDEN" not in kept
    with tarfile.open(fileobj=io.BytesIO(kept)) as files:
        assert sorted(os.path.relpath(f"/{name}", place) for name in files.getnames()) == [
            "-rf", "-rf/y", "home", "secret", "secret/visible", "usr/home", "usr/home/bob", "usr/home/bob/x",
            "work", "work/main.py",
        ]  # fmt: skip


def test_tar_itself_leaves_plainly_named_secrets_out_where_it_can(shell_path: str, tmp_path: Path) -> None:
    (tmp_path / "a/run/secrets").mkdir(parents=True)
    (tmp_path / "a/run/secrets/token").write_text("HIDDEN")
    (tmp_path / f"a{tmp_path}/a/run/secrets").mkdir(parents=True)
    (tmp_path / f"a{tmp_path}/a/run/secrets/decoy").write_text("shown")
    secret = f"{tmp_path}/a/run/secrets"
    _, data, _ = archive_here(shell_path, tar_command([f"{tmp_path}/a"], [secret], "/"))
    if "busybox" not in str(Path(shell_path, "tar").readlink()):  # built without --exclude in Debian
        assert b"HIDDEN" not in data
    assert b"decoy" in data  # the same path deeper down is another file


def test_tar_itself_leaves_nothing_out_where_a_link_leads(shell_path: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/tool").write_text("shown")
    (tmp_path / "secrets").symlink_to("a")
    secret = f"{tmp_path}/secrets"
    preamble, data, _ = archive_here(shell_path, tar_command([f"{tmp_path}/a"], [secret], "/"))
    assert preamble.secrets == (f"{tmp_path}/a",)
    assert b"shown" in data
    assert detours(preamble, [secret], [f"{tmp_path}/a"]) == Detours(kept=(f"{tmp_path}/a",))


def test_a_working_directory_that_is_the_root_is_not_archived(shell_path: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    preamble, _, _ = archive_here(shell_path, tar_command([f"{tmp_path}/a"], [], "/"))
    assert (preamble.working_directory, preamble.roots) == ("/", (f"{tmp_path}/a",))


def test_a_link_to_the_root_does_not_bring_the_whole_system(shell_path: str, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("/")
    preamble, data, _ = archive_here(shell_path, tar_command([f"{tmp_path}/home"], [], "/nowhere"))
    assert preamble.roots == (f"{tmp_path}/home",)
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        assert [member.linkname for member in files] == ["/"]


def test_a_directory_with_a_line_break_cannot_speak_in_the_preamble(shell_path: str, tmp_path: Path) -> None:
    evil = tmp_path / "x\nsecret "
    (evil / "etc").mkdir(parents=True)
    preamble, data, _ = archive_here(shell_path, tar_command([], [], str(evil)))
    assert (preamble, data) == (Preamble(), b"")
