"""Running other programs, with errors a person can act on."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.provider import ClusterError

ERROR_TAIL = 1500  # characters of a program's output that an error repeats


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return its standard output; raises ClusterError with its last words."""
    try:
        done = subprocess.run(  # noqa: PLW1510 - the exit code is looked at below, to name the output in the error
            argv, input=stdin, cwd=cwd, env=env, timeout=timeout, text=True, capture_output=True
        )
    except FileNotFoundError as missing:
        raise ClusterError(f"cannot run {argv[0]}: not found. Install it, or add it to PATH.") from missing
    except subprocess.TimeoutExpired as late:
        raise ClusterError(f"`{' '.join(argv[:4])} ...` did not end within {timeout:.0f} s.") from late
    if done.returncode:
        last_words = (done.stderr + done.stdout).strip()[-ERROR_TAIL:]
        raise ClusterError(f"`{' '.join(argv)}` failed with exit code {done.returncode}:\n{last_words}")
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout: float = 10) -> bool:
    """Whether the program is there and ends with exit code 0 in time."""
    if shutil.which(argv[0]) is None:
        return False
    try:
        return subprocess.run(argv, timeout=timeout, capture_output=True, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
