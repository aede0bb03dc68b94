"""Who leads, and how to kill it so that it can say goodbye to nobody: its Lease stays held by a dead one."""

import json
from dataclasses import dataclass

from cluster.waiting import wait_until
from installed import Kubectl
from shop_objects import idle

NAME = "reaper"
# From the node, for nobody inside a container can send SIGKILL to its first process; and again, for the node's kubelet
# starts what ended anew. A dot stands for the dashes of the uid, which some cgroup drivers write as underscores.
KILL = """
pod=$(echo "$0" | tr - .)
kill_all() {
  for p in /proc/[0-9]*; do
    if grep -q "pod$pod" "$p/cgroup" 2>/dev/null; then kill -9 "${p#/proc/}"; fi
  done
}
kill_all
{ for again in $(seq 30); do usleep 200000; kill_all; done; } >/dev/null 2>&1 &
"""


@dataclass(frozen=True)
class Leadership:
    """The replicas of Firebreak, and a pod beside them that sees every process of the node."""

    kubectl: Kubectl
    firebreak: str
    """The namespace of Firebreak."""
    aside: str
    """The namespace of the pod that kills."""

    def set_up(self) -> None:
        """Start the pod that kills."""
        self.kubectl("apply", "--namespace", self.aside, "--filename", "-", stdin=json.dumps(idle(NAME, hostPID=True)))
        self.kubectl("wait", "--namespace", self.aside, "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")

    def holder(self) -> str:
        """Whom the Lease names, alive or not."""
        return self._get("lease/firebreak", "{.spec.holderIdentity}")

    def leader(self) -> str:
        """The pod that leads. While the Lease names one that is gone, or on its way out, the next one is waited for."""

        def leading() -> set[str]:
            return self._staying() & {self.holder()}

        wait_until(leading, timeout=60, otherwise="no replica of Firebreak leads")
        return leading().pop()

    def replicas(self) -> tuple[str, ...]:
        """The pods of Firebreak, the leader first."""
        leader = self.leader()
        return (leader, *sorted(self._staying() - {leader}))

    def kill(self, pod: str) -> None:
        """End a replica by SIGKILL, and then delete its pod, so that it does not come back by its name."""
        uid = self._get(f"pod/{pod}", "{.metadata.uid}")
        self.kubectl("exec", "--namespace", self.aside, NAME, "--", "sh", "-c", KILL, uid)
        self.kubectl("delete", "pod", pod, "--namespace", self.firebreak, "--force", "--grace-period=0", "--wait=false")

    def _staying(self) -> set[str]:
        selector = ("--selector", "app.kubernetes.io/name=firebreak", "--output", "json")
        found = json.loads(self.kubectl("get", "pods", "--namespace", self.firebreak, *selector))["items"]
        return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}

    def _get(self, what: str, path: str) -> str:
        return self.kubectl("get", what, "--namespace", self.firebreak, "--output", f"jsonpath={path}")
