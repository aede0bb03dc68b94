"""Audit logs as files have them: lines of JSON, or one document over many lines; as they are, or gzipped.

Nothing grows with the file: lines are read one by one, and what is longer than a line may be is skipped and named. Only
a document over many lines is read whole, up to a bound.
"""

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from typing import Final

from firebreak.detect.decoding import Malformed, whole
from firebreak.detect.envelopes import events
from firebreak.detect.event import Event

CHUNK: Final = 2**16  # bytes
LONGEST: Final = 2**26  # bytes of a line, or of a document over many lines; an EventList may be one line
GZIP: Final = b"\x1f\x8b"


def read(stream: io.BufferedReader, longest: int = LONGEST) -> Iterator[Event | Malformed]:
    """Yield each audit event of a file, and what is none in its place, with the number of its line.

    Raises OSError when the file cannot be read. What is cut off, gzip or line, is malformed at its end.
    """
    return _events(_lines(_plain(stream), longest), longest)


def sent(body: bytes) -> Iterator[Event | Malformed]:
    """Yield each audit event of what somebody sent, and what is none in its place. Never raises; gzip is no event."""
    return _events(_lines(iter([body]), len(body)), len(body))


Line = tuple[int, bytes | str]
"""A line by its number, from 1: its bytes, or why it could not be read."""


def _events(lines: Iterator[Line], longest: int) -> Iterator[Event | Malformed]:
    first = next(lines, None)
    while first is not None and not isinstance(first[1], str) and not first[1].strip():
        first = next(lines, None)
    if first is None:
        return
    number, line = first
    if isinstance(line, bytes) and _opens(line):
        held, document = _gathered(line, lines, longest)
        if document is not None:
            yield from events(document, f"line {number}")
            return
        lines = itertools.chain(held, lines)
    for number, line in itertools.chain([first], lines):
        if isinstance(line, str):
            yield Malformed(f"line {number}", line)
        elif line.strip():
            yield from events(line, f"line {number}")


def _opens(line: bytes) -> bool:
    """Whether a line opens a document that goes on behind it: JSON that is none by itself."""
    return line.lstrip()[:1] in {b"{", b"["} and not whole(line)


def _gathered(first: bytes, lines: Iterator[Line], longest: int) -> tuple[list[Line], bytes | None]:
    """Take lines as one document. Returns what was read, and the document unless it is none."""
    held: list[Line] = []
    size = len(first)
    for line in lines:
        held.append(line)
        if isinstance(line[1], str):
            return held, None
        size += len(line[1])
        if size > longest:
            return held, None
    document = b"\n".join([first, *(line for _, line in held if isinstance(line, bytes))])
    return ([], document) if whole(document) else (held, None)


def _lines(chunks: Iterator[bytes | str], longest: int) -> Iterator[Line]:
    too_long = f"longer than {longest} bytes"
    number, parts, size = 1, list[bytes](), 0
    for chunk in chunks:
        if isinstance(chunk, str):
            yield number, chunk
            return
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            parts.append(piece)
            fits = size + len(piece) <= longest
            yield number, b"".join(parts) if fits else too_long
            number, parts, size = number + 1, [], 0
        size += len(rest)
        parts = [*parts, rest] if size <= longest else []
    if size:
        yield number, b"".join(parts) if size <= longest else too_long


def _plain(stream: io.BufferedReader) -> Iterator[bytes | str]:
    """Yield what is in a stream, piece by piece; text says why there is no more."""
    zipped = stream.peek(len(GZIP)).startswith(GZIP)
    source = gzip.GzipFile(fileobj=stream) if zipped else stream
    while True:
        try:
            chunk = source.read1(CHUNK)
        except EOFError:
            yield "the gzip is cut off here"
            return
        except (gzip.BadGzipFile, zlib.error):
            yield "the gzip is damaged from here on"
            return
        if not chunk:
            return
        yield chunk
