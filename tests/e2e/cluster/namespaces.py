"""The cluster's own network, mount and process namespaces, held open by one process.

Every component and every container lives inside them: ending the holder makes the kernel end them all, and drop
their mounts, links and firewall rules.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import process
from cluster.commands import run
from cluster.provider import ClusterError
from cluster.settings import CONFIG, Paths
from cluster.waiting import wait_until

LISTEN = "0A"  # a TCP state in /proc/net/tcp


@dataclass(frozen=True)
class Namespaces:
    """The holder process, by its record; `pause` is the program that it becomes."""

    paths: Paths
    pause: Path

    @property
    def _file(self) -> Path:
        return self.paths.run / "holder.json"

    def record(self) -> process.Record | None:
        """The holder, if it runs."""
        record = process.Record.load(self._file)
        return record if record and record.alive() else None

    def pid(self) -> int:
        """The holder's process id on the machine; raises ClusterError when it does not run."""
        record = self.record()
        if record is None:
            raise ClusterError("the local cluster is not running. Start it: `python -m cluster up`.")
        return record.pid

    def start(self) -> None:
        """Make the namespaces."""
        ready = self.paths.run / "holder.ready"
        ready.unlink(missing_ok=True)
        log = self.paths.logs / "holder.log"
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private"]
        script = ["/bin/sh", str(CONFIG / "holder.sh"), str(self.paths.state), str(ready), str(self.pause)]
        record = process.spawn([*unshare, *script], log=log)
        record.save(self._file)
        wait_until(
            lambda: ready.exists() or not record.alive(),
            timeout=10,
            otherwise=lambda: f"the cluster's namespaces did not come up; {log} ends:\n{process.tail(log)}",
        )
        if not record.alive():
            raise ClusterError(f"the cluster's namespaces could not be made; {log} ends:\n{process.tail(log)}")

    def stop(self) -> None:
        """End everything that runs inside."""
        record = self.record()
        if record is not None:
            process.kill(record)
        self._file.unlink(missing_ok=True)

    def inside(self, *argv: str) -> list[str]:
        """The command line that runs this one inside."""
        return ["nsenter", "--target", str(self.pid()), "--mount", "--net", "--pid", "--", *argv]

    def run(self, *argv: str, stdin: str | None = None, timeout: float | None = None) -> str:
        """Run a command inside to its end; its standard output."""
        return run(self.inside(*argv), stdin=stdin, timeout=timeout)

    def succeeds(self, *argv: str) -> bool:
        """Whether a command inside ends with exit code 0."""
        return subprocess.run(self.inside(*argv), capture_output=True, timeout=30, check=False).returncode == 0

    def listens(self, port: int) -> bool:
        """Whether anything inside listens on this TCP port, on any address."""
        wanted = f":{port:04X}"
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.pid()}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == LISTEN:
                    return True
        return False
