"""Lines at the end of a file, or of stdout, for a log shipper to pick up.

The file may be renamed or removed at any time: the next line goes into a new one. Its folder may be somebody else's:
what lies there under the file's name and is not a plain file of our own is never written to.
"""

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Final

STDOUT: Final = 1
MODE: Final = 0o640
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REMEDY: Final = "take it away, or name another file"


class NotOurs(OSError):
    """There is something under the file's name that nothing is written to. The text says what, and what to do."""


class Lines:
    """Appends lines; without a path, to stdout. A call may block for as long as the disk does."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._fd: int | None = None
        self._torn = False  # the last line has no end: the disk was full, or its writer was killed
        self._turn = threading.Lock()

    def append(self, line: bytes) -> None:
        """Append a line, given without its end. Raises OSError; what is written of the line then counts for nothing."""
        with self._turn:
            fd = STDOUT if self._path is None else self._current(self._path)
            rest = memoryview((b"\n" if self._torn else b"") + line + b"\n")
            while rest:
                written = os.write(fd, rest)
                self._torn = bytes(rest[:written])[-1:] != b"\n"
                rest = rest[written:]

    def close(self) -> None:
        """Close the file, unless a line is under way: its number could be another file's by then."""
        if self._turn.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._turn.release()

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _current(self, path: Path) -> int:
        """Return the file that has the name now."""
        if self._fd is not None and not _is(path, self._fd):
            self._let_go()
        if self._fd is None:
            self._fd = _opened(path)
            self._torn = _is_torn(self._fd)
        return self._fd


def _is(path: Path, fd: int) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _opened(path: Path) -> int:
    """Open the file, or make it. Raises OSError, NotOurs among them."""
    try:
        fd = os.open(path, FLAGS, MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOurs(f"{path} is a symbolic link; {REMEDY}") from None
        raise
    if problem := _problem(os.fstat(fd)):
        os.close(fd)
        raise NotOurs(f"{path} {problem}; {REMEDY}")
    return fd


def _problem(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, who could read and change it"
    return "has another name elsewhere (a hard link)" if found.st_nlink > 1 else ""


def _is_torn(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
