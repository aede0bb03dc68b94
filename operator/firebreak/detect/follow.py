"""Following the API server's audit log file: through rotation, truncation and restarts, without loss.

kube-apiserver rotates by renaming (`audit.log` to `audit-2026-11-21T10-00-00.000.log`, gzipped if it is told to;
gopkg.in/natefinch/lumberjack.v2) and then writes to a new file of the old name. Others copy and truncate. Each batch
comes with the position behind it; who has dealt with the batch hands that back, and a restart goes on from there. So
every line comes at least once, and again only what was read and not handed back before the end.
"""

import asyncio
import contextlib
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, cast

import msgspec
import structlog

log = structlog.get_logger()

BATCH: Final = 2**20  # bytes that are read at once
# Bytes of a line. An event has a URI of 1 MiB and two objects of 1.5, six bytes for each `<` and `&` (seen: 23.4 MB).
LONGEST: Final = 2**25
LOOK: Final = 0.2  # seconds between looks at a file that has nothing new
MARK: Final = 256  # bytes before a position by which its file is known again


EMPTY: Final = hashlib.sha256(b"").hexdigest()


class Position(msgspec.Struct, frozen=True):
    """Where reading goes on: in a file that is known by its inode, or else by the bytes before."""

    inode: int
    offset: Annotated[int, msgspec.Meta(ge=0)]
    mark: str
    """SHA-256, in hex, of the last bytes before the offset."""


Stream = io.FileIO | gzip.GzipFile


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines, in order, and the position behind them. `skipped`: lines that were longer than a line may be."""

    lines: tuple[bytes, ...]
    position: Position
    skipped: int = 0


class Tail:
    """One log file and what it was renamed to. Nothing here waits."""

    def __init__(self, path: Path, checkpoint: Path) -> None:
        self._path = path
        self._checkpoint = checkpoint
        self._file: Stream | None = None
        self._inode = 0
        self._offset = 0
        self._before = b""  # the last bytes before the offset
        self._ahead: list[Path] = []  # files that were rotated while nobody looked, oldest first
        self._skipping = False
        self._begun = False
        self._awaited = False  # the log was not there when it was looked for

    def read(self) -> Batch | None:
        """Return what is there to read, None when there is nothing now. Raises OSError, after which it goes on."""
        while self._file is not None or self._open():
            file = cast("Stream", self._file)
            rotated = self._is_rotated()  # asked before the end is read: behind it nothing is written any more
            self._look_for_truncation(file)
            data, at_end = self._piece(file)
            if batch := self._cut(data, last=rotated and at_end):
                return batch
            if not (rotated and at_end):
                return None
            self._next()
        return None

    def _piece(self, file: Stream) -> tuple[bytes, bool]:
        """Return what comes next, a whole line at least where there is one, and whether the file ends there."""
        try:
            file.seek(self._offset)
            data = file.read(BATCH)
            if len(data) < BATCH or b"\n" in data:
                return data, len(data) < BATCH
            data += file.read(LONGEST - BATCH)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            log.exception("a rotated audit log is damaged; the rest of it is lost", inode=self._inode)
            return b"", True
        return data, len(data) < LONGEST

    def done(self, position: Position) -> None:
        """Keep where to go on after a restart. Raises OSError."""
        fresh = self._checkpoint.with_name(f"{self._checkpoint.name}.new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(position))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._checkpoint)

    def close(self) -> None:
        """Close the file; what comes next goes on from the checkpoint."""
        self._begun, self._ahead = False, []
        self._leave()

    def _leave(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _cut(self, data: bytes, *, last: bool) -> Batch | None:
        """Take whole lines off what was read. `last`: nothing comes behind, so that a line needs no end."""
        whole = len(data) if last else data.rfind(b"\n") + 1
        skipped = 0
        if not whole and len(data) >= LONGEST:
            self._skipping, whole = True, len(data)
        if not whole:
            return None
        taken = data[:whole]
        self._offset += whole
        self._before = (self._before + taken[-MARK:])[-MARK:]
        lines = taken.split(b"\n")
        if self._skipping:
            if len(lines) > 1 or last:
                skipped, self._skipping = 1, False
            lines = lines[1:]
        return Batch(tuple(line for line in lines if line.strip()), self._position(), skipped)

    def _position(self) -> Position:
        return Position(self._inode, self._offset, _mark(self._before))

    def _look_for_truncation(self, file: Stream) -> None:
        """Begin anew in a file that is no longer what it was."""
        if isinstance(file, gzip.GzipFile):
            return
        file.seek(self._offset - len(self._before))
        if file.read(len(self._before)) != self._before:
            log.warning("the audit log was truncated; what was written and cut off between two looks is lost")
            self._offset, self._before, self._skipping = 0, b"", False

    def _is_rotated(self) -> bool:
        """Whether the file that is read is no longer the one that is written."""
        if self._ahead or isinstance(self._file, gzip.GzipFile):
            return True
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return False  # between the rename and the new file

    def _open(self) -> bool:
        if not self._path.exists():
            if not (self._begun or self._awaited):
                log.warning("the audit log is not there; waiting for it", file=str(self._path))
            self._awaited = True
            return False  # not yet, or between the rename and the new file
        if not self._begun:
            self._begin()
        if self._file is None:
            self._at(self._ahead.pop(0) if self._ahead else self._path, 0)
        return True

    def _begin(self) -> None:
        """Go on from the checkpoint; without one from the end: what was before is for `firebreak detect`."""
        self._begun = True
        try:
            position = msgspec.json.decode(self._checkpoint.read_bytes(), type=Position)
        except FileNotFoundError:
            self._at(self._path, 0 if self._awaited else self._path.stat().st_size)
            if self._offset:
                self.done(self._position())
            return
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            words = "the checkpoint cannot be read; going on from the end"
            log.warning(words, file=str(self._checkpoint), error=str(error))
            self._at(self._path, self._path.stat().st_size)
            return
        candidates = [*self._rotated(), self._path]
        held = [number for number, file in enumerate(candidates) if _holds(file, position)]
        if held:
            number = next((n for n in held if _inode(candidates[n]) == position.inode), held[0])
            self._ahead = candidates[number + 1 : -1]
            self._at(candidates[number], position.offset)
            return
        log.error("the audit log of the checkpoint is gone; what is left of it is read, what was between is lost")
        self._ahead = candidates[:-1]

    def _next(self) -> None:
        """Go on to the file after the one that ended."""
        ended, written = self._inode, _written(self._file)
        self._leave()
        if not self._ahead:
            rotated = self._rotated()
            place = next((number for number, file in enumerate(rotated) if _inode(file) == ended), None)
            later = [file for file in rotated if file.stat().st_mtime_ns > written] if place is None else []
            self._ahead = later if place is None else rotated[place + 1 :]
        self._at(self._ahead.pop(0) if self._ahead else self._path, 0)

    def _rotated(self) -> list[Path]:
        """What the log was renamed to, oldest first: the names hold the time. What is being gzipped is there twice."""
        pattern = f"{self._path.stem}-*{self._path.suffix}"
        zipped = {file.with_suffix("").name: file for file in self._path.parent.glob(f"{pattern}.gz")}
        found = zipped | {file.name: file for file in self._path.parent.glob(pattern)}
        return [found[name] for name in sorted(found)]

    def _at(self, file: Path, offset: int) -> None:
        """Read on in a file. Raises OSError."""
        self._file = _opened(file)
        self._inode = _inode(file)
        self._offset = offset
        start = max(0, offset - MARK)
        self._file.seek(start)
        self._before = self._file.read(offset - start)


async def batches(tail: Tail, every: float = LOOK) -> AsyncIterator[Batch | None]:
    """Yield batch after batch, for ever; None when there is nothing, and some seconds later it looks again."""
    problem = ""
    while True:
        try:
            batch = await asyncio.to_thread(tail.read)
            problem = ""
        except OSError as error:
            batch = None
            if str(error) != problem:
                log.warning("the audit log cannot be read; trying again", error=str(error))
            problem = str(error)
        yield batch
        if batch is None:
            await asyncio.sleep(every)


def _opened(file: Path) -> Stream:
    return gzip.GzipFile(file) if file.suffix == ".gz" else file.open("rb", buffering=0)


def _holds(file: Path, position: Position) -> bool:
    """Whether this is the file of a position, by the bytes before it: the inode of one that is gone is used again."""
    start = max(0, position.offset - MARK)
    with contextlib.suppress(OSError, EOFError, zlib.error), _opened(file) as stream:
        stream.seek(start)
        before = stream.read(position.offset - start)
        return bool(before) and len(before) == position.offset - start and _mark(before) == position.mark
    return False


def _inode(file: Path) -> int:
    return file.stat().st_ino


def _written(file: Stream | None) -> int:
    """When a file was written last, in nanoseconds."""
    return os.fstat(file.fileno()).st_mtime_ns if file else 0


def _mark(before: bytes) -> str:
    return hashlib.sha256(before).hexdigest()
