"""A real Kubernetes of one node on this machine, without a container engine: real containers, real packet drops.

There is no cluster DNS: pods of Firebreak and of its tests use addresses, and CoreDNS would cost a build of two
minutes. A name lookup in a pod fails at once.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import auditing, binaries, configs, images, machine, packages, pki, s3, settings
from cluster.components import Component, Supervisor, admin_api, all_components
from cluster.namespaces import Namespaces
from cluster.provider import ClusterError, ClusterInfo
from cluster.saying import say
from cluster.settings import Paths
from cluster.waiting import wait_until

CTR = ("ctr", "--address", settings.CONTAINERD_SOCKET, "--namespace", "k8s.io")
NODE_READY_SECONDS = 60
LAST_TO_STOP = ("kube-apiserver", "etcd", "containerd")


class LocalCluster:
    """The provider `local`; all its state is on disk, below `Paths.home`."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def up(self) -> ClusterInfo:
        """Start what does not run, and start anew what has changed; nothing else is touched."""
        machine.check()
        packages.ensure(packages.NODE_PACKAGES)
        programs = binaries.build(binaries.LOCAL_PROGRAMS, self.paths.cache)
        with self._lock():
            namespaces = self._namespaces()
            self.paths.number.write_text(str(settings.NUMBER))  # before anything bears an address
            pki.ensure(self.paths)
            auditing.ensure(self.paths)
            configs.write(self.paths)
            if namespaces.record() is None:
                self._open_namespaces(namespaces)
            self._start_components(programs, namespaces)
        return self.info()

    def down(self, *, purge: bool) -> None:
        """End every process of the cluster and give the machine back as it was."""
        with self._lock():
            namespaces = self._namespaces()
            if namespaces.record() is not None:
                self._stop_components(namespaces)
            namespaces.stop()
            machine.restore(self.paths)
            for file in self.paths.run.glob("*.json"):
                file.unlink()
            if purge:
                shutil.rmtree(self.paths.home)

    def status(self) -> dict[str, str]:
        """Per component: ready, running (not ready) or stopped; and the node."""
        namespaces = self._namespaces()
        if namespaces.record() is None:
            return {"cluster": "stopped"}
        supervisor = Supervisor(self.paths, namespaces)
        states = {
            component.name: _state(component, supervisor)
            for component in all_components(self.paths, self._programs(), namespaces)
        }
        return {**states, f"node {settings.NODE}": "ready" if self._node_ready() else "not ready"}

    def info(self) -> ClusterInfo:
        """Where everything is; raises ClusterError when the cluster is not up."""
        self._namespaces().pid()
        return ClusterInfo(
            provider="local",
            kubeconfig=self.paths.kubeconfig,
            bin=self._programs(),
            audit_log=self.paths.audit_log,
            s3=s3.credentials(self.paths),
            audit_receiver=auditing.receiver(self.paths),
        )

    def load_image(self, tar: Path) -> None:
        """Import the images of a docker-archive into the node's containerd."""
        if not tar.is_file():
            raise ClusterError(f"{tar} is not there. Build it first: `python -m cluster build-image`.")
        self._namespaces().run(*CTR, "images", "import", str(tar.absolute()))

    def component(self, name: str) -> tuple[Supervisor, Component]:
        """One component and what controls it, for tests that break things; see `control.py`."""
        namespaces = self._namespaces()
        namespaces.pid()
        known = {item.name: item for item in all_components(self.paths, self._programs(), namespaces)}
        if name not in known:
            raise ClusterError(f"there is no component {name}; there are {', '.join(known)}.")
        return Supervisor(self.paths, namespaces), known[name]

    def process_ids(self) -> dict[str, int]:
        """The process of every component that runs."""
        namespaces = self._namespaces()
        supervisor = Supervisor(self.paths, namespaces)
        components = all_components(self.paths, self._programs(), namespaces)
        records = {item.name: supervisor.running(item) for item in components}
        return {name: record.pid for name, record in records.items() if record}

    def _namespaces(self) -> Namespaces:
        return Namespaces(self.paths, self._programs() / "pause")

    def _programs(self) -> Path:
        return self.paths.cache / "bin" / binaries.content_hash(binaries.LOCAL_PROGRAMS)

    def _open_namespaces(self, namespaces: Namespaces) -> None:
        machine.restore(self.paths)  # what a cluster that ended without `down` left behind
        machine.check_addresses()
        machine.prepare(self.paths)
        namespaces.start()
        record = namespaces.record()
        try:
            machine.connect(namespaces.pid())
        except ClusterError:
            namespaces.stop()  # else the next `up` would take the half-made ones for whole
            raise
        say(f"namespaces are open (process {record and record.pid})")

    def _start_components(self, programs: Path, namespaces: Namespaces) -> None:
        supervisor = Supervisor(self.paths, namespaces)
        by_name = {item.name: item for item in all_components(self.paths, programs, namespaces)}
        first = ("containerd", "etcd", "versitygw", "kube-apiserver")
        for name in first:
            supervisor.ensure(by_name[name])
        supervisor.wait_ready(by_name["containerd"])
        self._import_images(programs, namespaces)
        for name in first:
            supervisor.wait_ready(by_name[name])
        later = [item for name, item in by_name.items() if name not in first]
        for component in later:
            supervisor.ensure(component)
        for component in later:
            supervisor.wait_ready(component)
        self._wait_for_pods()

    def _import_images(self, programs: Path, namespaces: Namespaces) -> None:
        for tar in images.ensure(self.paths.state / "images", programs / "pause"):
            imported = tar.with_suffix(".imported")
            if not imported.exists():
                namespaces.run(*CTR, "images", "import", str(tar))
                imported.touch()

    def _wait_for_pods(self) -> None:
        wait_until(self._node_ready, timeout=NODE_READY_SECONDS, otherwise=f"node {settings.NODE} is not Ready")
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_until(
            lambda: admin_api(self.paths).answers(account),
            timeout=NODE_READY_SECONDS,
            otherwise="the default ServiceAccount was not made, so no pod can be created",
        )

    def _node_ready(self) -> bool:
        try:
            node: Any = admin_api(self.paths).get(f"/api/v1/nodes/{settings.NODE}")
        except ClusterError:
            return False
        conditions = {item["type"]: item["status"] for item in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    def _stop_components(self, namespaces: Namespaces) -> None:
        supervisor = Supervisor(self.paths, namespaces)
        components = all_components(self.paths, self._programs(), namespaces)
        for component in reversed(components):
            if component.name not in LAST_TO_STOP:
                supervisor.stop(component)
        by_name = {item.name: item for item in components}
        for name in LAST_TO_STOP:
            supervisor.stop(by_name[name])

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        for folder in (self.paths.home, self.paths.conf, self.paths.state, self.paths.run, self.paths.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.paths.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _state(component: Component, supervisor: Supervisor) -> str:
    if supervisor.running(component) is None:
        return "stopped"
    return "ready" if component.ready() else "running, not ready"
