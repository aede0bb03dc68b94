"""Pass a tar archive through while it arrives, without the members under excluded paths, and judge its end.

Python's `tarfile` accepts a cut archive without a word, holds what a hostile header tells it to hold, and cannot hand
on the original bytes. This filter keeps no more than a header and its extensions, changes nothing it lets pass,
and calls an archive whole only when it has seen both zero blocks of its end where a header would stand.

After damage nothing more is passed: whoever has lost the headers cannot tell a secret from another file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from firebreak.kube.source import Reason
from firebreak.kube.tarheader import (
    BLOCK,
    EXTENSIONS,
    PAX_GLOBAL,
    ZERO_BLOCK,
    Header,
    Override,
    TarDamage,
    check_size,
    normalised,
    parse_extension,
    parse_global,
    parse_header,
)

MAX_HELD = 256 * 1024
"""Bytes of extension headers before one member. Linux paths end at 4 KiB, extended attributes at 64 KiB."""


@dataclass(frozen=True, slots=True)
class ArchiveVerdict:
    """What an archive was worth. `reason` is ReadToEnd only when it was proven whole; bytes are as read."""

    reason: Reason
    message: str
    dropped: int
    bytes_read: int

    @property
    def whole(self) -> bool:
        """Whether the end of the archive was seen, with nothing behind it."""
        return self.reason is Reason.READ_TO_END


class _State(Enum):
    HEADER = auto()  # a header or the first zero block comes next
    EXTENSION = auto()  # the data of an extension header, held back until its member is known
    SPARSE = auto()  # further blocks of an old GNU sparse map
    DATA = auto()  # a member's data and padding
    LAST_ZERO = auto()  # the second zero block has to come next
    END = auto()  # zero padding up to the writer's record size
    BROKEN = auto()


class TarFilter:
    """Incremental filter: `feed` bytes as they come in any chunks, then ask `finish`. Neither ever raises.

    Excluded paths are absolute paths in the container; they cover everything beneath them.
    """

    def __init__(self, excluded_paths: Iterable[str] = ()) -> None:
        self._excluded = {normalised(path.encode("utf-8", "surrogateescape")) for path in excluded_paths}
        self._excluded.discard(())  # excluding / would leave nothing, whoever asked for it
        self._state = _State.HEADER
        self._block = bytearray()  # a block that has come in part
        self._held: list[bytes] = []  # extension headers waiting for their member
        self._extension = Header(kind=0, name=b"", size=0, extended_sparse=False)
        self._override = Override()
        self._payload = bytearray()
        self._remaining = 0
        self._passing = True
        self._damage: tuple[Reason, str] | None = None
        self._members = self._dropped = self._read = 0

    @property
    def broken(self) -> bool:
        """Whether damage was found; nothing fed from now on is passed."""
        return self._state is _State.BROKEN

    def exclude(self, path: str) -> None:
        """Exclude one more path, for members still to come."""
        self._excluded.add(normalised(path.encode("utf-8", "surrogateescape")))
        self._excluded.discard(())

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return those that pass: often `data` itself, never a copy of a whole chunk."""
        self._read += len(data)
        if self._state is _State.BROKEN:
            return b""
        if self._state is _State.DATA and len(data) <= self._remaining:
            self._remaining -= len(data)
            if not self._remaining:
                self._state = _State.HEADER
            return data if self._passing else b""
        return self._walk(data)

    def finish(self) -> ArchiveVerdict:
        """Judge what was fed."""
        reason, message = self._damage or self._judge()
        return ArchiveVerdict(reason, message, self._dropped, self._read)

    def _judge(self) -> tuple[Reason, str]:
        if self._state is _State.END and not self._block:
            return Reason.READ_TO_END, f"The archive is whole: {self._members} members."
        text = f"The archive ends after {self._members} members and {self._read} bytes, before its end mark."
        return Reason.ARCHIVE_CUT, text

    def _walk(self, data: bytes) -> bytes:
        out = _Output(data)
        position = 0
        try:
            while position < len(data):
                position = self._step(data, position, out)
        except TarDamage as damage:
            self._give_up(str(damage), self._read - len(data) + position)
        return out.joined()

    def _give_up(self, damage: str, position: int) -> None:
        reason = Reason.TRAILING_DATA if self._state is _State.END else Reason.ARCHIVE_CORRUPT
        text = f"After {self._members} members, near byte {position}: {damage}; nothing behind it was kept."
        self._damage = reason, text
        self._state = _State.BROKEN
        self._held.clear()
        self._payload.clear()
        self._block.clear()

    def _step(self, data: bytes, position: int, out: "_Output") -> int:
        """Consume a stretch of `data` from `position` and return where the next begins."""
        if self._state is _State.DATA:
            end = min(len(data), position + self._remaining)
            self._remaining -= end - position
            if self._passing:
                out.keep(position, end)
            if not self._remaining:
                self._state = _State.HEADER
            return end
        end = min(len(data), position + BLOCK - len(self._block))
        self._block += data[position:end]
        if len(self._block) == BLOCK:
            block = bytes(self._block)
            self._block.clear()
            self._pass_block(block, position, end, out)
        return end

    def _pass_block(self, block: bytes, position: int, end: int, out: "_Output") -> None:
        if not self._take(block):
            return
        out.keep_bytes(self._held)
        self._held.clear()
        if end - position == BLOCK:
            out.keep(position, end)
        else:
            out.keep_bytes([block])

    def _take(self, block: bytes) -> bool:
        """Understand a whole block outside a member's data and tell whether it passes, with what was held."""
        match self._state:
            case _State.HEADER:
                return self._take_header(block)
            case _State.EXTENSION:
                return self._take_extension(block)
            case _State.SPARSE:
                if not block[504]:
                    self._enter_data()
                return self._passing
            case _State.LAST_ZERO if block != ZERO_BLOCK:
                raise TarDamage("a single zero block stands between members")
            case _ if block != ZERO_BLOCK:
                raise TarDamage("data follows the end of the archive")
        self._state = _State.END
        return True

    def _take_header(self, block: bytes) -> bool:
        if block == ZERO_BLOCK:
            if self._held:
                raise TarDamage("an extension header describes no member")
            self._state = _State.LAST_ZERO
            return True
        header = parse_header(block)
        if header.kind in EXTENSIONS or header.kind == PAX_GLOBAL:
            return self._begin_extension(header, block)
        return self._begin_member(header)

    def _begin_member(self, header: Header) -> bool:
        size = header.size if self._override.size is None else self._override.size
        names = (header.name, *self._override.names)
        for name in names:
            check_size(header.kind, name, size)
        self._passing = not any(self._is_excluded(name) for name in names)
        self._override = Override()
        self._members += 1
        if not self._passing:
            self._dropped += 1
            self._held.clear()
        self._remaining = _padded(size)
        if header.extended_sparse:
            self._state = _State.SPARSE
        else:
            self._enter_data()
        return self._passing

    def _enter_data(self) -> None:
        self._state = _State.DATA if self._remaining else _State.HEADER

    def _is_excluded(self, name: bytes) -> bool:
        parts = normalised(name)
        return any(parts[: len(excluded)] == excluded for excluded in self._excluded)

    def _begin_extension(self, header: Header, block: bytes) -> bool:
        if header.kind == PAX_GLOBAL and self._held:
            raise TarDamage("a global header stands between a member and its extensions")
        if len(self._held) * BLOCK + header.size > MAX_HELD:
            raise TarDamage(f"the headers of one member exceed {MAX_HELD} bytes")
        self._extension = header
        if not header.size:
            return self._end_extension(block)
        self._held.append(block)
        self._remaining = _padded(header.size)
        self._state = _State.EXTENSION
        return False

    def _take_extension(self, block: bytes) -> bool:
        self._payload += block
        self._remaining -= BLOCK
        if not self._remaining:
            return self._end_extension(block)
        self._held.append(block)
        return False

    def _end_extension(self, last_block: bytes) -> bool:
        data = bytes(self._payload[: self._extension.size])
        self._payload.clear()
        self._state = _State.HEADER
        if self._extension.kind == PAX_GLOBAL:
            parse_global(data)
            return True
        self._override |= parse_extension(self._extension.kind, data)
        self._held.append(last_block)
        return False


class _Output:
    """The parts of one chunk that pass, neighbours merged, so that a chunk that passes whole is not copied."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces: list[bytes | memoryview] = []
        self._start = self._end = 0

    def keep(self, start: int, end: int) -> None:
        if start != self._end:
            self._flush()
            self._start = start
        self._end = end

    def keep_bytes(self, pieces: list[bytes]) -> None:
        if pieces:
            self._flush()
            self._start = self._end
            self._pieces += pieces

    def joined(self) -> bytes:
        if not self._pieces and self._start == 0 and self._end == len(self._data):
            return self._data
        self._flush()
        return b"".join(self._pieces)

    def _flush(self) -> None:
        if self._end > self._start:
            self._pieces.append(memoryview(self._data)[self._start : self._end])


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
