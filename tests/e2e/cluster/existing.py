"""A cluster that somebody else runs: FIREBREAK_KUBECONFIG says where.

What else the tests need of it comes from the environment too, all of it optional:
- FIREBREAK_AUDIT_LOG: the API server's audit log, as a file on this machine.
- FIREBREAK_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _REGION: an S3 server that this machine and pods reach.
- FIREBREAK_LOAD_IMAGE: a command that makes an image usable by pods; the docker-archive's path is added to it.
"""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from cluster import binaries
from cluster.commands import run
from cluster.provider import S3, ClusterError, ClusterInfo
from cluster.settings import S3_REGION, Paths

KUBECONFIG_VARIABLE = "FIREBREAK_KUBECONFIG"


@dataclass(frozen=True)
class ExistingCluster:
    """The provider `existing`: it starts and ends nothing."""

    paths: Paths
    kubeconfig: Path
    audit_log: Path | None
    s3: S3 | None
    load_command: tuple[str, ...]

    @classmethod
    def from_environment(cls, paths: Paths) -> "ExistingCluster":
        """Read the variables above."""
        audit_log = os.environ.get("FIREBREAK_AUDIT_LOG")
        return cls(
            paths=paths,
            kubeconfig=Path(os.environ[KUBECONFIG_VARIABLE]).absolute(),
            audit_log=Path(audit_log).absolute() if audit_log else None,
            s3=_s3_from_environment(),
            load_command=tuple(shlex.split(os.environ.get("FIREBREAK_LOAD_IMAGE", ""))),
        )

    def up(self) -> ClusterInfo:
        """Check that the cluster answers."""
        info = self.info()
        run(self._kubectl("get", "--raw", "/readyz"), timeout=30)
        return info

    def down(self, *, purge: bool) -> None:
        """Nothing: whoever started it ends it."""

    def status(self) -> dict[str, str]:
        """Whether the API server answers."""
        try:
            run(self._kubectl("get", "--raw", "/readyz"), timeout=30)
        except ClusterError as failed:
            return {"kube-apiserver": f"not ready: {failed}"}
        return {"kube-apiserver": "ready"}

    def info(self) -> ClusterInfo:
        """What the environment says."""
        if not self.kubeconfig.is_file():
            raise ClusterError(
                f"{KUBECONFIG_VARIABLE} names {self.kubeconfig}, which is not there. Correct or unset it."
            )
        programs = binaries.build((binaries.KUBECTL,), self.paths.cache)
        return ClusterInfo("existing", self.kubeconfig, programs, self.audit_log, self.s3)

    def load_image(self, tar: Path) -> None:
        """Run the command that the environment gives for it."""
        if not self.load_command:
            raise ClusterError(
                "do not know how to bring images into this cluster. Set FIREBREAK_LOAD_IMAGE to a command that takes "
                "a docker-archive's path, for example one that copies it to a registry the cluster pulls from."
            )
        run([*self.load_command, str(tar)])

    def _kubectl(self, *arguments: str) -> list[str]:
        programs = binaries.build((binaries.KUBECTL,), self.paths.cache)
        return [str(programs / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]


def _s3_from_environment() -> S3 | None:
    endpoint = os.environ.get("FIREBREAK_S3_ENDPOINT")
    if not endpoint:
        return None
    try:
        return S3(
            endpoint=endpoint.rstrip("/"),
            access_key=os.environ["FIREBREAK_S3_ACCESS_KEY"],
            secret_key=os.environ["FIREBREAK_S3_SECRET_KEY"],
            region=os.environ.get("FIREBREAK_S3_REGION", S3_REGION),
        )
    except KeyError as absent:
        raise ClusterError(
            f"FIREBREAK_S3_ENDPOINT is set and {absent.args[0]} is not. Set both or neither."
        ) from absent
