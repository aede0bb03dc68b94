"""Starting, finding and ending long-running processes by a record on disk.

A record holds the pid and the kernel's start time of the process, which together cannot mean another process, and
a fingerprint of how it was started, so that `up` can tell when a component has to be started anew.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.provider import ClusterError
from cluster.waiting import wait_until

# Fields of /proc/PID/stat, counted after the parenthesised program name.
THREADS_FIELD = 17
START_TIME_FIELD = 19
LOG_TAIL = 1500  # characters
STOP_SECONDS = 10

# Detached from this program's session and pipes, so that Ctrl-C here does not end the cluster there.
_DETACH = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Record:
    """A process that was started here."""

    pid: int
    started: str
    fingerprint: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _start_time(self.pid) == self.started

    def save(self, file: Path) -> None:
        """Write the record, whole or not at all."""
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.rename(file)

    @classmethod
    def load(cls, file: Path) -> "Record | None":
        """The record in this file, if there is one."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None


def spawn(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, fingerprint: str = "") -> Record:
    """Start a program by a launcher that forks (nsenter, unshare) and return the record of the launcher's child."""
    command = ["/bin/sh", "-c", _DETACH, "sh", str(log), *argv]
    env = {**os.environ, **(env or {})}
    launched = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, check=True)
    launcher = int(launched.stdout)
    # setsid execs the launcher, which then forks: until then there is no child.
    wait_until(
        lambda: _children(launcher) or _start_time(launcher) is None,
        timeout=5,
        otherwise=lambda: f"{argv[0]} started nothing; its log {log} ends:\n{tail(log)}",
    )
    children = _children(launcher)
    started = _start_time(children[0]) if children else None
    if not children or started is None:
        raise ClusterError(f"{' '.join(argv[-3:])} ended at once; its log {log} ends:\n{tail(log)}")
    return Record(children[0], started, fingerprint)


def stop(record: Record) -> None:
    """SIGTERM, and SIGKILL for what has not ended after ten seconds."""
    _signal(record, signal.SIGTERM)
    try:
        wait_until(lambda: not record.alive(), timeout=STOP_SECONDS, otherwise=f"process {record.pid} did not end")
    except ClusterError:
        kill(record)


def kill(record: Record) -> None:
    """SIGKILL, and return when the process is gone."""
    _signal(record, signal.SIGKILL)
    wait_until(
        lambda: not record.alive(),
        timeout=STOP_SECONDS,
        otherwise=f"process {record.pid} survived SIGKILL; it hangs in the kernel, see `cat /proc/{record.pid}/stack`",
    )


def tail(log: Path) -> str:
    """The last words of a log."""
    try:
        return log.read_text(errors="replace")[-LOG_TAIL:].strip()
    except FileNotFoundError:
        return "(no log)"


def _signal(record: Record, number: signal.Signals) -> None:
    if record.alive():
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A process whose first thread has ended is a zombie already, while the others still hold its sockets.
    ended = fields[0] in "ZX" and int(fields[THREADS_FIELD]) <= 1
    return None if ended else fields[START_TIME_FIELD]
