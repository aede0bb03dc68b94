"""How deep JSON is, before anybody reads it; and what decoders give up on and the API server does not, made readable.

A caller can send a merge patch with an unknown field of thousands of nested lists: the API server takes it, drops the
field, and records the patch as it was sent (seen on 1.35 with 3,000). A decoder that gives up there would hide the
whole call.
"""

import json
import re
from typing import Any, Final

DEEPEST: Final = 200  # lists and maps within each other; the schema of a large CRD has about 60
# Strings are passed over whole. One that does not end goes on to the end, so that the time stays linear.
_STRING: Final = rb'"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z)'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_TOKENS: Final = re.compile(_STRING + rb"|[\[{]+|[\]}]+", re.DOTALL)
_AS_LISTS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_OPENING: Final = b"[{"
_QUOTE: Final = b'"'
_DIGITS: Final = 400  # of a number that somebody wrote; more is text, for int() refuses 4,300


def deeper(data: bytes, than: int) -> bool:
    """Tell whether lists and maps of JSON lie within each other deeper than so many levels, without building any.

    Takes out the innermost pairs, level by level. What is no JSON is deep when it opens more than so many.
    """
    left = _STRINGS.sub(b"", data).translate(_AS_LISTS, _NO_BRACKETS)
    for _ in range(than):
        inner, left = left, left.replace(b"[]", b"")
        if len(inner) == len(left):
            break
    return b"[]" in left or left.count(b"[") > than


def shallow(data: bytes) -> bytes:
    """Return JSON with null for whatever is nested deeper than DEEPEST. Never raises, whatever the bytes are."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(data):
        first, length = data[token.start() : token.start() + 1], token.end() - token.start()
        if first == _QUOTE:
            continue
        if first in _OPENING:
            if depth <= DEEPEST < depth + length:
                kept += (data[start : token.start() + DEEPEST - depth], b"null")
            depth += length
        else:
            if depth - length <= DEEPEST < depth:
                start = token.start() + depth - DEEPEST
            depth = max(0, depth - length)
    if depth <= DEEPEST:
        kept.append(data[start:])
    return b"".join(kept)


def as_the_server_reads(data: bytes) -> Any:
    """Return JSON as plain values: of any depth, with half surrogates, bad UTF-8, numbers beyond all bounds.

    Slow: for what a quick decoder refused. Raises ValueError when it is no JSON all the same.
    """
    return json.loads(shallow(data).decode("utf-8", "replace"), parse_int=_number, strict=False)


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) < _DIGITS else digits
