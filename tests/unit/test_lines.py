"""Lines into a file that others rotate, on a disk that may be full, in a folder that may be somebody else's."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from firebreak.outward.lines import Lines, NotOurs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ecs.jsonl"


@pytest.fixture
def lines(file: Path) -> Iterator[Lines]:
    opened = Lines(file)
    yield opened
    opened.close()


@pytest.fixture
def full() -> Iterator[None]:
    """No file may grow beyond 10 bytes: a write gets as far, and the next one fails."""
    before, handled = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handled)


def roomy() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_lines_are_added_at_the_end_and_are_read_by_nobody_else(file: Path, lines: Lines) -> None:
    lines.append(b"one")
    lines.append(b"two")
    assert file.read_bytes() == b"one\ntwo\n"
    assert file.stat().st_mode & 0o007 == 0


def test_a_file_that_is_renamed_is_left_for_a_new_one(file: Path, lines: Lines, tmp_path: Path) -> None:
    lines.append(b"one")
    file.rename(tmp_path / "ecs.jsonl.1")
    lines.append(b"two")
    assert ((tmp_path / "ecs.jsonl.1").read_bytes(), file.read_bytes()) == (b"one\n", b"two\n")


def test_a_file_that_is_removed_or_cut_off_is_written_on(file: Path, lines: Lines) -> None:
    lines.append(b"one")
    file.unlink()
    lines.append(b"two")
    assert file.read_bytes() == b"two\n"
    os.truncate(file, 0)
    lines.append(b"three")
    assert file.read_bytes() == b"three\n"


def test_a_line_that_a_full_disk_tore_is_ended_and_written_again(file: Path, lines: Lines, full: None) -> None:
    lines.append(b"one")
    with pytest.raises(OSError, match="File too large"):
        lines.append(b"a longer one")
    assert file.read_bytes() == b"one\na long"
    roomy()
    lines.append(b"a longer one")
    assert file.read_bytes() == b"one\na long\na longer one\n"


def test_a_line_that_a_killed_process_tore_is_ended(file: Path, lines: Lines) -> None:
    file.write_bytes(b'{"half')
    lines.append(b"one")
    assert file.read_bytes() == b'{"half\none\n'


def test_a_symbolic_link_is_not_followed(file: Path, lines: Lines, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    for target in (precious, tmp_path / "not-there"):
        file.symlink_to(target)
        with pytest.raises(NotOurs, match=r"ecs\.jsonl is a symbolic link; take it away, or name another file"):
            lines.append(b"one")
        file.unlink()
    assert precious.read_bytes() == b"keep me"
    assert not (tmp_path / "not-there").exists()


def test_a_symbolic_link_that_comes_later_is_not_followed(file: Path, lines: Lines, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    lines.append(b"one")
    file.unlink()
    file.symlink_to(precious)
    with pytest.raises(NotOurs):
        lines.append(b"two")
    assert precious.read_bytes() == b"keep me"


def test_what_is_no_file_of_our_own_is_not_written_to(file: Path, lines: Lines, tmp_path: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(NotOurs, match="is no plain file"):
        lines.append(b"one")
    file.unlink()
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    file.hardlink_to(precious)
    with pytest.raises(NotOurs, match="has another name elsewhere"):
        lines.append(b"one")
    assert precious.read_bytes() == b"keep me"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_somebody_else_put_there_is_not_written_to(file: Path, lines: Lines) -> None:
    file.touch()
    os.chown(file, 12345, 12345)
    with pytest.raises(NotOurs, match="belongs to user 12345, who could read and change it"):
        lines.append(b"one")


def test_without_a_path_lines_go_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    Lines(None).append(b"one")
    assert capfd.readouterr().out == "one\n"
