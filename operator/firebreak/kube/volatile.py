"""What is gone first: processes, sockets, open files, mounts and addresses, read in one exec at the first moment.

The script runs in busybox ash, dash or bash and needs cat and ls besides. It prints the kernel's own text, which is
the evidence, between lines that carry a random mark. Environments are left out: people put passwords there. Command
lines are kept, and may hold some too.
"""

import secrets
from collections.abc import AsyncGenerator

from firebreak.kube.exec import ExecSource
from firebreak.kube.source import Connection, ContainerRef, Limits, Reason, Source, StreamEnded

LIMITS = Limits(max_bytes=8 * 1024 * 1024, connect_seconds=5, idle_seconds=10, total_seconds=20)
"""With both handshakes and the hanging up, a hostile container holds us for less than 35 seconds."""

SCRIPT = r"""
export LC_ALL=C
mark=$1
part() { printf '\n%s %s\n' "$mark" "$1"; }
printf 'firebreak-volatile 1 %s' "$mark"

part clock
cat /proc/uptime
date -u +%s
part observer
echo $$
part links
ls -ldn /proc/[0-9]*/exe /proc/[0-9]*/cwd /proc/[0-9]*/root
part files
ls -ln /proc/[0-9]*/fd
for process in /proc/[0-9]*; do
  part "process ${process#/proc/}"
  cat "$process/status" "$process/stat" "$process/cmdline"
done
for table in tcp tcp6 udp udp6 raw raw6 unix packet route ipv6_route fib_trie if_inet6 arp; do
  if [ -r /proc/net/$table ]; then
    part "net $table"
    cat /proc/net/$table
  fi
done
part mounts
cat /proc/mounts
part kernel
cat /proc/version /proc/sys/kernel/hostname
part end
exit 0
"""
"""`part` begins with a line break, for the text before it may end without one."""


def volatile_command(mark: str) -> tuple[str, ...]:
    """Read the volatile state; `mark` is a fresh word that nothing in the container can know."""
    return ("sh", "-c", SCRIPT, "firebreak", mark)


class VolatileSource(Source):
    """The text that the script prints. Complete only when its last line came, which carries the mark."""

    def __init__(self, connection: Connection, target: ContainerRef, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self._target = target
        self._mark = f"@{secrets.token_hex(16)}"
        self._exec = ExecSource(connection, target, volatile_command(self._mark), limits)

    def _praise(self) -> str:
        return "Processes, sockets, open files, mounts and addresses as the container's own tools show them."

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        last = f"\n{self._mark} end\n".encode()
        tail = b""
        async for chunk in self._exec:
            tail = (tail + chunk)[-len(last) :]
            yield chunk
        outcome = self._exec.outcome
        if outcome.reason is Reason.NO_EXECUTABLE:
            text = f"{self._target} has no shell; its processes can only be read from a helper container or the node."
            raise StreamEnded(Reason.NO_SHELL, text)
        if not outcome.complete:
            raise StreamEnded(outcome.reason, outcome.message)
        if tail != last:
            raise StreamEnded(Reason.STREAM_BROKEN, "The script's last line is not there.")
