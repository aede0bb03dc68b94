"""The audit log as a file that grows, is renamed, gzipped, truncated, and read by somebody who dies."""

import gzip
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firebreak.detect import follow
from firebreak.detect.follow import Batch, Tail

WRITER = """
import gzip, os, random, sys, time
folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice, path, file, turn = random.Random(seed), f"{folder}/audit.log", None, 0
file = open(path, "ab", buffering=0)
for number in range(count):
    time.sleep(0.0003)
    line = b'{"n": %d, "x": "%s"}\\n' % (number, b"x" * dice.randrange(400))
    cut = dice.randrange(len(line)) if dice.random() < 0.2 else len(line)
    file.write(line[:cut])
    if cut < len(line):
        file.write(line[cut:])
    if dice.random() < 0.004:
        file.close()
        turn += 1
        old = f"{folder}/audit-2026-11-21T10-00-{turn:05d}.log"
        os.rename(path, old)
        file = open(path, "ab", buffering=0)
        if dice.random() < 0.3:
            with open(old, "rb") as plain, gzip.open(f"{old}.gz.tmp", "wb", 1) as zipped:
                zipped.write(plain.read())
            os.rename(f"{old}.gz.tmp", f"{old}.gz")
            os.remove(old)
"""
READER = """
import sys, time
from pathlib import Path
from firebreak.detect.follow import Tail
folder = Path(sys.argv[1])
tail = Tail(folder / "audit.log", folder / "checkpoint")
with open(folder / "seen", "ab", buffering=0) as seen:
    while True:
        stopped = (folder / "stop").exists()
        batch = tail.read()
        if batch is None:
            if stopped:
                break
            time.sleep(0.001)
            continue
        seen.write(b"".join(line + b"\\n" for line in batch.lines))
        tail.done(batch.position)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


OPEN: list[Tail] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    for each in OPEN:
        each.close()
    OPEN.clear()


def tail(path: Path) -> Tail:
    OPEN.append(Tail(path, path.with_name("checkpoint")))
    return OPEN[-1]


def begun(path: Path) -> Tail:
    """A tail of an empty log, with a checkpoint."""
    path.touch()
    found = tail(path)
    assert found.read() is None
    write(path, "first")
    batch = found.read()
    assert batch
    found.done(batch.position)
    return found


def write(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}{end}" for line in lines))


def rotate(path: Path, stamp: str) -> Path:
    old = path.with_name(f"audit-{stamp}.log")
    path.rename(old)
    path.touch()
    return old


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def rest(tail: Tail) -> list[str]:
    """Everything that is there to read now."""
    found: list[Batch] = []
    while batch := tail.read():
        found.append(batch)
    return [line.decode() for batch in found for line in batch.lines]


def test_without_a_checkpoint_reading_begins_at_the_end(path: Path) -> None:
    write(path, "old")
    found = tail(path)
    assert found.read() is None
    write(path, "new")
    assert rest(found) == ["new"]


def test_a_log_that_is_not_there_yet_is_waited_for_and_read_whole(path: Path) -> None:
    found = tail(path)
    assert found.read() is None
    write(path, "a")
    assert rest(found) == ["a"]


def test_a_log_that_is_not_there_is_told_of_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading = tail(path)
    for _ in range(3):
        assert reading.read() is None
    assert capsys.readouterr().out.count("the audit log is not there; waiting for it") == 1


def test_half_a_line_waits_for_its_other_half(path: Path) -> None:
    found = begun(path)
    write(path, "ha", end="")
    assert found.read() is None
    write(path, "lf")
    assert rest(found) == ["half"]


def test_what_is_written_before_and_after_a_rotation_is_read_in_order(path: Path) -> None:
    found = begun(path)
    write(path, "a")
    rotate(path, "1")
    write(path, "b")
    rotate(path, "2")
    rotate(path, "3")
    write(path, "c")
    assert rest(found) == ["a", "b", "c"]


def test_the_last_line_of_a_rotated_file_needs_no_end(path: Path) -> None:
    found = begun(path)
    write(path, "a", end="")
    rotate(path, "1")
    write(path, "b")
    assert rest(found) == ["a", "b"]


def test_a_truncated_file_is_read_from_its_beginning(path: Path) -> None:
    found = begun(path)
    path.write_text("a\n")
    assert rest(found) == ["a"]


def test_a_file_that_was_truncated_and_has_grown_beyond_is_read_from_its_beginning(path: Path) -> None:
    found = begun(path)
    path.write_text("another line\nand one more\n")
    assert rest(found) == ["another line", "and one more"]


def test_a_restart_goes_on_from_the_checkpoint(path: Path) -> None:
    begun(path).close()
    write(path, "a", "b")
    assert rest(tail(path)) == ["a", "b"]


def test_a_restart_finds_the_renamed_file_of_its_checkpoint_and_those_after_it(path: Path) -> None:
    begun(path).close()
    write(path, "a")
    rotate(path, "1")
    write(path, "b")
    rotate(path, "2")
    write(path, "c")
    assert rest(tail(path)) == ["a", "b", "c"]


def test_a_restart_finds_the_gzipped_file_of_its_checkpoint(path: Path) -> None:
    begun(path).close()
    write(path, "a")
    old = rotate(path, "1")
    old.with_name(f"{old.name}.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    write(path, "b")
    assert rest(tail(path)) == ["a", "b"]


def test_a_restart_whose_file_is_gone_reads_what_is_left(path: Path) -> None:
    begun(path).close()
    rotate(path, "1").unlink()
    write(path, "b")
    rotate(path, "2")
    write(path, "c")
    assert rest(tail(path)) == ["b", "c"]


def test_what_was_not_handed_back_comes_again_after_a_restart(path: Path) -> None:
    found = begun(path)
    write(path, "a")
    assert rest(found) == ["a"]
    assert rest(tail(path)) == ["a"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"inode":1,"offset":2,"mark":"\xff"}', b'{"inode":1,"offset":-9,"mark":""}']
)
def test_a_checkpoint_that_cannot_be_read_stops_nothing(path: Path, text: bytes) -> None:
    begun(path).close()
    path.with_name("checkpoint").write_bytes(text)
    found = tail(path)
    assert found.read() is None
    write(path, "a")
    assert rest(found) == ["a"]


def test_a_line_that_is_too_long_is_skipped_and_counted(path: Path) -> None:
    found = begun(path)
    with path.open("a") as file:
        file.write("x" * (follow.LONGEST + 5) + "\nnext\n")
    skipped, lines = 0, list[bytes]()
    while batch := found.read():
        skipped += batch.skipped
        lines += batch.lines
    assert (skipped, lines) == (1, [b"next"])


def test_a_line_longer_than_a_batch_is_read_whole(path: Path) -> None:
    found = begun(path)
    write(path, "x" * (2 * follow.BATCH), "next")
    assert [len(line) for line in rest(found)] == [2 * follow.BATCH, 4]


def test_the_longest_line_that_a_caller_can_make_is_read(path: Path) -> None:
    """tests/e2e/test_audit_setup.py makes it."""
    found = begun(path)
    write(path, "x" * 25_200_000, "next")
    assert [len(line) for line in rest(found)] == [25_200_000, 4]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_when_the_reader_is_killed_again_and_again_while_a_writer_rotates(
    tmp_path: Path, path: Path, seed: int
) -> None:
    count, dice = 6000, random.Random(seed)  # noqa: S311 - a test
    path.touch()
    at_end = tail(path)
    assert at_end.read() is None
    at_end.done(follow.Position(path.stat().st_ino, 0, follow.EMPTY))
    at_end.close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(seed), str(count)])
    reading = [sys.executable, "-c", READER, str(tmp_path)]
    try:
        while writer.poll() is None:
            so_far = size(tmp_path / "seen")
            reader = subprocess.Popen(reading)
            while writer.poll() is None and size(tmp_path / "seen") == so_far:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.05))  # the moment of the kill, not a wait for something
            reader.send_signal(signal.SIGKILL)
            reader.wait()
    finally:
        writer.kill()
        writer.wait()
    (tmp_path / "stop").touch()
    subprocess.run(reading, check=True, timeout=60)
    seen = [
        line for line in (tmp_path / "seen").read_bytes().splitlines() if line.startswith(b"{") and line.endswith(b"}")
    ]
    assert {int(line.split(b",")[0].removeprefix(b'{"n": ')) for line in seen} == set(range(count))
