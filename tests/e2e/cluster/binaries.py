"""The programs of the cluster, built from source through the Go module proxy and cached by content.

`binaries/<module>/` holds a go.mod and go.sum per program family, so that every byte is pinned by checksum. The
result lies in the user's cache under a hash of those files and the build flags: a second checkout, or a `git
checkout` back and forth, builds nothing.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.provider import ClusterError
from cluster.saying import say
from cluster.settings import PACKAGE

KUBERNETES_VERSION = "v1.35.4"
_KUBERNETES_LDFLAGS = " ".join(
    [
        "-s -w",
        f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
        "-X k8s.io/component-base/version.gitMajor=1",
        "-X k8s.io/component-base/version.gitMinor=35",
        f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}",
    ]
)


@dataclass(frozen=True)
class Program:
    """One program: the Go package it is built from, and the folder under `binaries/` that pins it."""

    name: str
    module: str
    package: str
    ldflags: str = "-s -w"

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum are."""
        return PACKAGE / "binaries" / self.module


def _kubernetes(name: str) -> Program:
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_LDFLAGS)


KUBECTL = _kubernetes("kubectl")
VERSITYGW = Program("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw")
PAUSE = Program("pause", "pause", ".")
KIND = Program("kind", "kind", "sigs.k8s.io/kind")
KUBE_SCORE = Program("kube-score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score")
LOCAL_PROGRAMS = (
    KUBECTL,
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
    VERSITYGW,
    PAUSE,
)


def content_hash(programs: Sequence[Program]) -> str:
    """Names the result of building these programs from these sources with these flags."""
    digest = hashlib.sha256()
    for program in programs:
        digest.update(f"{program}\n".encode())
    for folder in sorted({program.folder for program in programs}):
        for file in sorted(folder.iterdir()):
            digest.update(f"{folder.name}/{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def build(programs: Sequence[Program], cache: Path) -> Path:
    """The folder with these programs; built now if the cache does not have it (minutes, the first time).

    Raises ClusterError when Go is missing or a build fails. A build that is interrupted leaves no half folder: the
    folder gets its name only when every program is in it.
    """
    target = cache / "bin" / content_hash(programs)
    if target.is_dir():
        return target
    if shutil.which("go") is None:
        raise ClusterError(
            "Go is needed to build the cluster's programs and is not on PATH. Install Go 1.25 or newer, or set "
            "FIREBREAK_KUBECONFIG to a cluster you have."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as temporary:
        out = Path(temporary) / "bin"
        out.mkdir()
        say(f"building {len(programs)} programs from source, once (about 6 minutes with an empty Go cache)")
        for number, program in enumerate(programs, start=1):
            _build_one(program, out, f"{number} of {len(programs)}")
        _publish(out, target)
    return target


def _build_one(program: Program, out: Path, position: str) -> None:
    started = time.monotonic()
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags={program.ldflags}"]
    try:
        run(["go", "build", *flags, "-o", str(out / program.name), program.package], cwd=program.folder, env=env)
    except ClusterError as failed:
        raise ClusterError(
            f"could not build {program.name}. If it says that modules cannot be downloaded, check that this machine "
            f"reaches a Go module proxy (`go env GOPROXY`).\n{failed}"
        ) from failed
    say(f"  {program.name} ({position}) built in {time.monotonic() - started:.0f} s")


def _publish(out: Path, target: Path) -> None:
    try:
        out.rename(target)
    except OSError:
        if not target.is_dir():  # else another build of the same content was first, which is just as good
            raise
