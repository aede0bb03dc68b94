"""What the cluster needs of the machine outside its namespaces, checked before, and put back after.

Cgroups (the kubelet wants one of its own in every hierarchy), kernel settings that the kubelet changes for the
whole machine, two folders to mount on, and the link and routes between the machine and the node.
"""

import json
import os
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from cluster import settings
from cluster.commands import run, succeeds
from cluster.provider import ClusterError
from cluster.settings import Paths
from cluster.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
SYSCTLS = Path("/proc/sys")
KUBELET_SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
MOUNT_POINTS = (Path("/var/lib/kubelet"), Path("/var/lib/cni"))
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
BACKSTOP_METRIC = "4000"  # of the unreachable routes: higher than any real one, lower in preference
ROUTED = (settings.POD_CIDR, settings.SERVICE_CIDR)
ANOTHER_CLUSTER = (
    f"the link {settings.MACHINE_LINK} is another local cluster's. Stop that one with `python -m cluster down` and the "
    "FIREBREAK_CLUSTER_HOME it was started with, or begin anew with another number: `python -m cluster down --purge`."
)


def check() -> None:
    """Raise ClusterError that names the first thing this machine cannot give."""
    way_out = "Start Docker or Podman (kind is then used), or set FIREBREAK_KUBECONFIG to a cluster you have."
    if os.geteuid() != 0:
        raise ClusterError(f"the local cluster needs root: it makes namespaces and cgroups. Use sudo. {way_out}")
    absent = [name for name in CONTROLLERS if not (CGROUPS / name / "tasks").exists()]
    if absent:
        raise ClusterError(
            f"the local cluster knows version 1 cgroups and {', '.join(absent)} are not mounted in {CGROUPS}. {way_out}"
        )
    if not BRIDGE_FILTER.exists():
        succeeds(["modprobe", "br_netfilter"])
    if not BRIDGE_FILTER.exists():
        raise ClusterError(f"the kernel module br_netfilter is missing and could not be loaded. {way_out}")


def prepare(paths: Paths) -> None:
    """Make the cgroups and mount points, and note what `restore` puts back."""
    note = paths.run / "machine.json"
    if not note.exists():
        before = {name: (SYSCTLS / name).read_text().strip() for name in KUBELET_SYSCTLS}
        made = [str(folder) for folder in MOUNT_POINTS if not folder.exists()]
        note.write_text(json.dumps({"sysctls": before, "folders": made}))
    for folder in MOUNT_POINTS:
        folder.mkdir(parents=True, exist_ok=True)
    for controller in CONTROLLERS:
        cgroup = CGROUPS / controller / settings.CGROUP
        cgroup.mkdir(exist_ok=True)
        if controller == "cpuset":  # starts empty, and nothing can run in it until it is filled
            for file in ("cpuset.mems", "cpuset.cpus"):
                (cgroup / file).write_text((CGROUPS / controller / file).read_text())


def restore(paths: Paths) -> None:
    """Remove what `prepare` and `connect` made, and give the kernel settings their values back.

    Does nothing for a cluster that never started, whatever else runs on this machine.
    """
    note = paths.run / "machine.json"
    if not note.exists():
        return
    # The link ends with the namespaces, and those with their last process.
    wait_until(lambda: not _link_exists(), timeout=10, otherwise=ANOTHER_CLUSTER)
    for cidr in ROUTED:
        succeeds(["ip", "route", "delete", "unreachable", cidr, "metric", BACKSTOP_METRIC])
    for controller in (*CONTROLLERS, "unified"):
        cgroup = CGROUPS / controller / settings.CGROUP
        # Processes of killed containers leave their cgroups a moment after the signal.
        wait_until(partial(_remove_cgroup, cgroup), timeout=10, otherwise=f"cgroup {cgroup} is still in use")
    before = json.loads(note.read_text())
    for name, value in before["sysctls"].items():
        (SYSCTLS / name).write_text(value)
    for folder in map(Path, before["folders"]):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    note.unlink()


def check_addresses() -> None:
    """Raise ClusterError when something else on this machine uses the cluster's link or addresses."""
    if _link_exists():
        raise ClusterError(ANOTHER_CLUSTER)
    ours = [ip_network(cidr) for cidr in (settings.LINK_CIDR, *ROUTED)]
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "main"])):
        if route["dst"] == "default" or route.get("type") == "unreachable":
            continue
        taken = ip_network(route["dst"], strict=False)
        if any(taken.overlaps(cidr) for cidr in ours):
            raise ClusterError(
                f"the network {taken} is in use on this machine (device {route.get('dev', 'unknown')}) and overlaps "
                f"the local cluster's {', '.join(map(str, ours))}. Remove that route, or edit cluster/settings.py."
            )


def connect(holder: int) -> None:
    """Link the machine with the node and route the cluster's ranges there."""
    link, node = settings.MACHINE_LINK, settings.NODE_LINK
    inside = ["nsenter", "--target", str(holder), "--net", "--", "ip"]
    prefix = settings.LINK_PREFIX
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", node, "netns", str(holder)])
    run(["ip", "address", "add", f"{settings.MACHINE_IP}/{prefix}", "dev", link])
    run(["ip", "link", "set", link, "up"])
    run([*inside, "address", "add", f"{settings.NODE_IP}/{prefix}", "dev", node])
    run([*inside, "link", "set", node, "up"])
    run([*inside, "route", "add", "unreachable", settings.POD_CIDR, "metric", BACKSTOP_METRIC])
    # Clients in the node's own namespace need some route to the service range before kube-proxy rewrites the
    # address; an unreachable one would refuse them. A bridge without ports swallows what is not rewritten.
    run([*inside, "link", "add", "services", "type", "bridge"])
    run([*inside, "link", "set", "services", "up"])
    run([*inside, "route", "add", settings.SERVICE_CIDR, "dev", "services", "src", settings.NODE_IP])
    for cidr in ROUTED:
        # Behind the real route, so that nothing for the cluster leaves the machine while the link is down.
        run(["ip", "route", "replace", "unreachable", cidr, "metric", BACKSTOP_METRIC])
        run(["ip", "route", "replace", cidr, "via", settings.NODE_IP, "dev", link])


def _link_exists() -> bool:
    return Path(f"/sys/class/net/{settings.MACHINE_LINK}").exists()


def _remove_cgroup(top: Path) -> bool:
    if not top.exists():
        return True
    for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        _rmdir(folder)
    return _rmdir(top)


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
