"""The installed replicas of Firebreak as processes: what the kernel counts of each."""

import json
import os
from dataclasses import dataclass

from installed import NAMESPACE, Kubectl

TICKS = os.sysconf("SC_CLK_TCK")
REPLICAS = "app.kubernetes.io/name=firebreak"


def resident(status: str, field: str) -> float:
    """Return a field of /proc/PID/status, in MiB."""
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")) / 1024


def seconds(stat: str) -> float:
    """Return the seconds of one core that /proc/PID/stat counts."""
    fields = stat.rpartition(")")[2].split()  # behind the name, which may hold anything; proc(5) counts from 3 there
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Replica:
    """One replica; its container's first process is the operator."""

    kubectl: Kubectl
    name: str

    @property
    def memory(self) -> float:
        """What it holds in RAM now, in MiB."""
        return resident(self._read("cat /proc/1/status"), "VmRSS")

    @property
    def peak(self) -> float:
        """The most that it held since `forget_peak`, in MiB."""
        return resident(self._read("cat /proc/1/status"), "VmHWM")

    def forget_peak(self) -> None:
        """Count the peak anew, see proc(5)."""
        self._read("echo 5 > /proc/1/clear_refs")

    @property
    def cpu(self) -> float:
        """Seconds of one core that it has used."""
        return seconds(self._read("cat /proc/1/stat"))

    def _read(self, script: str) -> str:
        return self.kubectl("exec", "--namespace", NAMESPACE, self.name, "--", "sh", "-c", script)


def replicas(kubectl: Kubectl) -> list[Replica]:
    """Return the replicas, the leader first."""
    at = ("--namespace", NAMESPACE, "--output")
    leader = kubectl("get", "lease", "firebreak", *at, "jsonpath={.spec.holderIdentity}")
    found = json.loads(kubectl("get", "pods", "--selector", REPLICAS, *at, "json"))["items"]
    names = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
    return [Replica(kubectl, name) for name in sorted(names, key=lambda name: (name != leader, name))]
