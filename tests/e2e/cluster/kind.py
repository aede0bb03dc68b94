"""kind, where Docker or Podman answers: a node in a container, with its own CNI that enforces network policies.

NOT RUN HERE: the machines this was written on have no container engine. It is kept thin, follows kind's documentation
(https://kind.sigs.k8s.io/docs/user/auditing/), and its S3 server assumes that the machine owns the gateway address of
kind's network, as on Linux.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cluster import binaries, images, packages, process, s3, settings
from cluster.commands import run, succeeds
from cluster.provider import S3, ClusterError, ClusterInfo
from cluster.settings import CONFIG, Paths

NAME = "firebreak"
PROGRAMS = (binaries.KIND, binaries.KUBECTL, binaries.VERSITYGW, binaries.PAUSE)


def answering_engine() -> str | None:
    """The container engine that answers, not merely one whose client is installed."""
    return next((engine for engine in ("docker", "podman") if succeeds([engine, "info"])), None)


@dataclass(frozen=True)
class KindCluster:
    """The provider `kind`; `engine` is docker or podman."""

    paths: Paths
    engine: str

    def up(self) -> ClusterInfo:
        """Create the cluster if there is none of that name, and start the S3 server."""
        packages.ensure(("busybox-static",))
        programs = binaries.build(PROGRAMS, self.paths.cache)
        for folder in (self.paths.conf, self.paths.logs, self.paths.run, self.paths.state):
            folder.mkdir(parents=True, exist_ok=True)
        if NAME not in self._kind("get", "clusters").split():
            config = self.paths.conf / "kind.yaml"
            template = Template((CONFIG / "kind.yaml").read_text())
            config.write_text(template.substitute(audit_policy=settings.AUDIT_POLICY, logs=self.paths.logs))
            kubeconfig = ["--kubeconfig", str(self.paths.kubeconfig)]
            self._kind("create", "cluster", "--config", str(config), "--wait", "120s", *kubeconfig)
            for tar in images.ensure(self.paths.state / "images", programs / "pause"):
                self.load_image(tar)
        self._start_s3(programs)
        return self.info()

    def down(self, *, purge: bool) -> None:
        """Delete the cluster, whose state goes with it; `purge` also deletes the buckets."""
        record = process.Record.load(self._s3_record)
        if record:
            process.stop(record)
        self._kind("delete", "cluster", "--kubeconfig", str(self.paths.kubeconfig))
        if purge:
            run(["rm", "-r", "-f", str(self.paths.home)])

    def status(self) -> dict[str, str]:
        """Whether the cluster exists and the S3 server runs."""
        record = process.Record.load(self._s3_record)
        exists = NAME in self._kind("get", "clusters").split()
        return {
            "cluster": "exists" if exists else "stopped",
            "versitygw": "running" if record and record.alive() else "stopped",
        }

    def info(self) -> ClusterInfo:
        """Where everything is; raises ClusterError when there is no cluster."""
        if not self.paths.kubeconfig.exists():
            raise ClusterError("the kind cluster is not there. Create it: `python -m cluster up`.")
        programs = binaries.build(PROGRAMS, self.paths.cache)
        audit_log = self.paths.audit_log
        return ClusterInfo("kind", self.paths.kubeconfig, programs, audit_log, self._s3())

    def load_image(self, tar: Path) -> None:
        """Load the images of a docker-archive into the node."""
        self._kind("load", "image-archive", str(tar))

    @property
    def _s3_record(self) -> Path:
        return self.paths.run / "versitygw.json"

    def _kind(self, *arguments: str) -> str:
        programs = binaries.build(PROGRAMS, self.paths.cache)
        env = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": self.engine, "KIND_CLUSTER_NAME": NAME}
        return run([str(programs / "kind"), *arguments], env=env, timeout=600)

    def _s3(self) -> S3:
        made = s3.credentials(self.paths)
        endpoint = f"http://{self._gateway()}:{settings.S3_PORT}"
        return S3(endpoint, made.access_key, made.secret_key, made.region)

    def _gateway(self) -> str:
        """The machine's IPv4 address on kind's network, which pods reach."""
        network = json.loads(run([self.engine, "network", "inspect", "kind"]))[0]
        blocks = network.get("subnets") or network["IPAM"]["Config"]  # podman's name, docker's name
        gateways: list[str] = [block.get("gateway") or block.get("Gateway", "") for block in blocks]
        return next(address for address in gateways if "." in address)

    def _start_s3(self, programs: Path) -> None:
        record = process.Record.load(self._s3_record)
        if record and record.alive():
            return
        server = self._s3()
        address = server.endpoint.removeprefix("http://")
        options = [f"--port={address}", f"--region={server.region}", "--quiet"]
        storage = [
            "posix",
            f"--versioning-dir={s3.folder(self.paths, 'versions')}",
            str(s3.folder(self.paths, "buckets")),
        ]
        started = process.spawn(
            ["unshare", "--fork", str(programs / "versitygw"), *options, *storage],  # forks, as `spawn` wants
            log=self.paths.logs / "versitygw.log",
            env={"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key},
        )
        started.save(self._s3_record)
