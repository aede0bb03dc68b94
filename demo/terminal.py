"""A terminal for programs that draw: a pseudo-terminal of a known width, so that nobody has to be there to look."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence

LINES = 50
CHUNK = 65536


def run_in_terminal(
    arguments: Sequence[str], environment: Mapping[str, str], *, columns: int, timeout: float
) -> tuple[str, int]:
    """Run a program that sees a terminal, to its end; return what it drew and its exit code.

    Raises subprocess.TimeoutExpired after `timeout` seconds; the program is ended then.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    drawn: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, drawn), daemon=True)
    reader.start()
    sized = {**environment, "COLUMNS": str(columns), "LINES": str(LINES)}
    try:
        code = subprocess.run(  # noqa: S603 - the demo's own commands, shown to whoever runs it
            arguments, env=sized, stdin=theirs, stdout=theirs, stderr=theirs, timeout=timeout, check=False
        ).returncode
    finally:
        os.close(theirs)
        reader.join(timeout=5)
        os.close(ours)
    return b"".join(drawn).decode(errors="replace").replace("\r\n", "\n"), code


def _read(terminal: int, drawn: list[bytes]) -> None:
    """Read until the other side is closed, which Linux reports as an error."""
    try:
        while chunk := os.read(terminal, CHUNK):
            drawn.append(chunk)
    except OSError:
        return
