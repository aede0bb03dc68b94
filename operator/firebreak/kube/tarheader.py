"""Read one tar header: ustar, GNU and pax, as POSIX.1-1988, GNU tar's manual and POSIX.1-2001 describe them.

Pure functions over bytes that a hostile container wrote. Whatever two readers could understand differently is
refused with `TarDamage`: an archive that means two things can smuggle one past the other.
"""

from dataclasses import dataclass

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

WITHOUT_DATA = frozenset(b"123456")
"""Hard link, symbolic link, character device, block device, directory, FIFO: readers differ on data after them."""
LONG_NAME, LONG_LINK, PAX, PAX_SOLARIS, PAX_GLOBAL, GNU_SPARSE = (ord(c) for c in "LKxXgS")
EXTENSIONS = frozenset((LONG_NAME, LONG_LINK, PAX, PAX_SOLARIS))
"""Headers that describe the member after them and leave or stay together with it."""

MAX_SIZE = 2**63 - 1
MAX_DIGITS = 19
MAX_RECORDS = 1024
"""Records of one pax header: GNU tar's sparse format 0.0 writes two per hole, all others a handful."""

_PAX_NAMES = (b"path", b"GNU.sparse.name")
_PAX_KEYS = frozenset((*_PAX_NAMES, b"size"))


class TarDamage(Exception):
    """The bytes are no tar archive, or one that readers could disagree about. The text says how."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the filter needs of a header. `size` is in bytes, of the data that follows in the archive."""

    kind: int
    name: bytes
    size: int
    extended_sparse: bool


def parse_header(block: bytes) -> Header:
    """Read a header of 512 bytes that is not all zero. Raises TarDamage."""
    _check_sum(block)
    kind = block[156] or ord("0")
    size = number(block[124:136])
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    header = Header(
        kind=kind,
        name=prefix + b"/" + name if prefix else name,
        size=size,
        extended_sparse=kind == GNU_SPARSE and block[482] != 0,
    )
    check_size(kind, header.name, size)
    return header


def check_size(kind: int, name: bytes, size: int) -> None:
    """Refuse data behind a member that has none by its kind or its name. Raises TarDamage."""
    if size and (kind in WITHOUT_DATA or (kind == ord("0") and name.endswith(b"/"))):
        raise TarDamage(f"a member of type {chr(kind)!r} announces {size} bytes of data")


def number(field: bytes) -> int:
    """Read an octal or GNU base-256 number that is not negative. Raises TarDamage."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] == 0xFF or value > MAX_SIZE:  # noqa: PLR2004 - the mark of a negative number
            raise TarDamage("a header holds a negative or absurd number")
        return value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise TarDamage("a header holds a number that is not octal")
    return int(digits, 8) if digits else 0


def _check_sum(block: bytes) -> None:
    try:
        stored = number(block[148:156])
    except TarDamage:
        raise TarDamage("a header has no checksum") from None
    summed = block[:148] + b" " * 8 + block[156:]
    if stored == sum(summed):
        return
    high = sum(1 for byte in summed if byte & 0x80)
    if stored != sum(summed) - 256 * high:  # some old writers added up signed characters
        raise TarDamage("a header's checksum is wrong")


@dataclass(frozen=True, slots=True)
class Override:
    """What extension headers say about the next member: its names, and its size if they give one."""

    names: tuple[bytes, ...] = ()
    size: int | None = None

    def __or__(self, other: "Override") -> "Override":
        return Override(self.names + other.names, self.size if other.size is None else other.size)


def parse_extension(kind: int, data: bytes) -> Override:
    """Read the data of an extension header. Raises TarDamage."""
    if kind == LONG_NAME:
        return Override(names=(data.split(b"\0", 1)[0],))
    if kind == LONG_LINK:
        return Override()
    return _parse_pax(data)


def parse_global(data: bytes) -> None:
    """Accept a global pax header that renames and resizes nothing. Raises TarDamage."""
    if _parse_pax(data) != Override():
        raise TarDamage("a global header renames or resizes every member")


def _parse_pax(data: bytes) -> Override:
    r"""Read records of the form "LENGTH KEY=VALUE\n", where LENGTH counts the whole record."""
    known: dict[bytes, bytes] = {}
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_RECORDS:
            raise TarDamage(f"a pax header has more than {MAX_RECORDS} records")
        key, value, position = _pax_record(data, position)
        if key in _PAX_KEYS:
            if key in known:
                raise TarDamage(f"a pax header gives {key.decode()} twice")
            known[key] = value
    names = tuple(known[key].split(b"\0", 1)[0] for key in _PAX_NAMES if key in known)
    return Override(names=names, size=_pax_size(known[b"size"]) if b"size" in known else None)


def _pax_record(data: bytes, position: int) -> tuple[bytes, bytes, int]:
    """Return key, value and the position behind the record."""
    digits, blank, _ = data[position : position + MAX_DIGITS + 1].partition(b" ")
    if not blank or not digits.isdigit():
        raise TarDamage("a pax header has a record without a length")
    end = position + int(digits)
    start = position + len(digits) + 1
    key, equals, value = data[start:end].partition(b"=")
    if not start < end <= len(data) or not equals or not value.endswith(b"\n"):
        raise TarDamage("a pax header has a record that is cut or overlong")
    return key, value[:-1], end


def _pax_size(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS or int(value) > MAX_SIZE:
        raise TarDamage("a pax header holds a size that is none")
    return int(value)


def normalised(path: bytes) -> tuple[bytes, ...]:
    """Give a path's parts without `/`, `.` and `..`, with /var/run taken for /run, which it links to."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in {b"", b"."}:
            parts.append(part)
        if parts == [b"var", b"run"]:
            parts = [b"run"]
    return tuple(parts)
