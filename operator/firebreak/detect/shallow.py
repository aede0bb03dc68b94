"""JSON that decoders give up on and the API server does not, above all for its depth, made readable again.

A caller can send a merge patch with an unknown field of thousands of nested lists: the API server takes it, drops the
field, and records the patch as it was sent (seen on 1.35 with 3,000). A decoder that gives up there would hide the
whole call.
"""

import json
import re
from typing import Any, Final

DEEPEST: Final = 200  # lists and maps within each other; the schema of a large CRD has about 60
# Strings are passed over whole. One that does not end goes on to the end, so that the time stays linear.
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)
_OPENING: Final = b"[{"
_QUOTE: Final = b'"'
_DIGITS: Final = 400  # of a number that somebody wrote; more is text, for int() refuses 4,300


def shallow(data: bytes) -> bytes:
    """Return JSON with null for whatever is nested deeper than DEEPEST. Never raises, whatever the bytes are."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(data):
        first = data[token.start() : token.start() + 1]
        if first == _QUOTE:
            continue
        if first in _OPENING:
            depth += 1
            if depth == DEEPEST + 1:
                kept += (data[start : token.start()], b"null")
        else:
            if depth == DEEPEST + 1:
                start = token.end()
            depth = max(0, depth - 1)
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
