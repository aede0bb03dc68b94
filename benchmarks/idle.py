"""What Firebreak costs while nothing happens: memory, CPU, calls to the API server."""

import asyncio

from audited import AuditLog
from benchmarks.figures import Figure, Section
from benchmarks.replicas import replicas
from benchmarks.waiting import Unmeasurable
from cluster.provider import ClusterInfo
from conftest import kubectl_of

ACCOUNT = "system:serviceaccount:firebreak:firebreak"
MEMORY_AIM = 110.0  # MiB
MINUTE = 60.0


async def measure(info: ClusterInfo, rounds: int) -> Section:
    """Watch it for some minutes. No incident may be open."""
    if info.audit_log is None:
        message = "this cluster names no audit log; without it nobody counts calls"
        raise Unmeasurable(message)
    found, log = replicas(kubectl_of(info)), AuditLog(info.audit_log)
    calls: list[float] = []
    cpu: list[float] = []
    for _ in range(rounds):
        before = sum(each.cpu for each in found)
        list(log.new())
        await asyncio.sleep(MINUTE)
        calls.append(60.0 * sum(event["user"]["username"] == ACCOUNT for event in log.new()))
        cpu.append((sum(each.cpu for each in found) - before) / MINUTE * 1000)
    figures = (
        Figure("memory of each replica", "MiB", [each.memory for each in found], MEMORY_AIM),
        Figure("CPU of all replicas", "millicores", cpu),
        Figure("calls to the API server in an hour, all replicas", "", calls),
    )
    return Section("idle", f"At rest, {len(found)} replicas", figures)
