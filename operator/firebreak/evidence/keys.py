"""Object keys from names that an attacker may have chosen.

Names of pods, containers and files are their owner's text. A key is built from them segment by segment, so that no
name can reach another segment, climb out of the bundle or become longer than file systems and stores allow.
"""

import hashlib
import re
import string
from typing import NewType

Key = NewType("Key", str)
"""A safe object key: segments of `[A-Za-z0-9._%~-]` joined by `/`, none of them empty, `.` or `..`."""

SEGMENT_LENGTH = 160
"""Characters at most in one segment: file systems end at 255 bytes, and stores add suffixes of their own."""

KEY_LENGTH = 400
"""Characters at most in a built key: S3 ends at 1024 bytes, and prefixes are joined before it."""

_SHORT_LENGTH = 48
_MOST_SEGMENTS = 8
_PLAIN = frozenset(string.ascii_letters + string.digits + "._-")
_SPECIAL = {"": "~", ".": "%2E", "..": "%2E%2E"}
_SAFE = re.compile(r"[A-Za-z0-9._%~-]+(/[A-Za-z0-9._%~-]+)*")


def key(*names: str) -> Key:
    """Join raw names into a key; different names give different keys.

    Names that are too long are cut and end with `~` and the first 32 hex digits of their SHA-256; `~` appears in no
    other way, except alone for an empty name.
    Raises ValueError without names or with more than eight: their number is the program's choice, never the attacker's.
    """
    if not 1 <= len(names) <= _MOST_SEGMENTS:
        raise ValueError(f"a key has 1 to {_MOST_SEGMENTS} segments, not {len(names)}; nest less deeply")
    joined = "/".join(segment(name) for name in names)
    if len(joined) > KEY_LENGTH:
        joined = "/".join(segment(name, limit=_SHORT_LENGTH) for name in names)
    return Key(joined)


def segment(name: str, *, limit: int = SEGMENT_LENGTH) -> str:
    """Encode one name: everything but `[A-Za-z0-9._-]` in percent form, `.` and `..` and nothing as well."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    encoded = "".join(char if char in _PLAIN else _percent(char) for char in name)
    if len(encoded) <= limit:
        return encoded
    digest = hashlib.sha256(_octets(name)).hexdigest()[:32]
    return f"{encoded[: limit - 33]}~{digest}"


def join(base: Key | str, *rest: Key | str) -> Key:
    """Join keys that are safe already; empty parts vanish."""
    return Key("/".join(part for part in (base, *rest) if part))


def is_key(text: str) -> bool:
    """Whether a text read from somewhere has the form of a key."""
    return bool(_SAFE.fullmatch(text)) and not any(part in {".", ".."} for part in text.split("/"))


def _percent(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in _octets(char))


def _octets(text: str) -> bytes:
    """Bytes of a name; file names that are not UTF-8 arrive as lone surrogates and stay distinct."""
    return text.encode("utf-8", "surrogatepass")
