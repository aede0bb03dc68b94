"""Builds a Dockerfile without a container engine and without a registry: buildah, on a base image made here.

A Dockerfile takes the base as `ARG BASE`, and `FROM ${BASE}`. The base is Debian bookworm with Python, made
from Debian packages; both it and the built layers are kept in the user's cache. Isolation is chroot (buildah's
default leaves network bridges behind), in a mount namespace of its own, so that no mount stays on the machine.
The base is handed over by its digest, and all times are the same ones, so that the same inputs give the same image.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import archives, packages
from cluster.commands import run
from cluster.saying import say
from cluster.settings import BASE_IMAGE, Paths

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # on the machine and in the image: for pip behind a proxy
EPOCH = 315532800  # 1980-01-01, the earliest time that a wheel can have; for every file of every layer
BASE_RECIPE = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=usr-is-merged,ca-certificates,python3,python3-venv,tar",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",  # else a package merges /usr, and brings all of Perl
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "bookworm",
)


def build_image(
    paths: Paths, *, context: Path, dockerfile: Path, tag: str, build_args: Mapping[str, str], cached: bool = True
) -> Path:
    """Build an image and return it as a docker-archive; what has not changed is neither built nor written again.

    The archive's name ends with the first digits of the image's digest. Not `cached`: every layer is built anew.
    Raises ClusterError with the end of buildah's output.
    """
    packages.ensure(packages.IMAGE_PACKAGES)
    storage = _storage_with_base(paths)
    arguments = {"BASE": archives.digest(storage / "base.tar"), **build_args}
    options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
    with TemporaryDirectory() as temporary:
        id_file = Path(temporary) / "id"
        build = ["build", "--isolation=chroot", "--pull-never", f"--timestamp={EPOCH}", f"--iidfile={id_file}"]
        build += ["--layers"] if cached else ["--layers", "--no-cache"]
        certificates = [f"--volume={CA_BUNDLE}:{CA_BUNDLE}:ro"] if Path(CA_BUNDLE).exists() else []
        source = [f"--file={dockerfile.absolute()}", str(context.absolute())]
        _buildah(storage, [*build, *certificates, *options, f"--tag={tag}", *source])
        image = id_file.read_text().strip().removeprefix("sha256:")
    return _export(paths, storage, tag, image)


def _export(paths: Paths, storage: Path, tag: str, image: str) -> Path:
    name = tag.replace("/", "_").replace(":", "_")
    folder = paths.cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{image[:16]}.tar"
    if not target.exists():
        for older in folder.glob(f"{name}-*"):
            older.unlink()
        partial = target.with_suffix(".partial")
        _buildah(storage, ["push", "--quiet", image, f"docker-archive:{partial}:{tag}"])
        partial.rename(target)
    return target


def _storage_with_base(paths: Paths) -> Path:
    """buildah's storage, with the base image in it; another recipe is another storage."""
    recipe = hashlib.sha256("\0".join(BASE_RECIPE).encode()).hexdigest()[:16]
    storage = paths.cache / "buildah" / recipe
    archive = storage / "base.tar"
    storage.mkdir(parents=True, exist_ok=True)
    if not archive.exists():
        _make_base(archive)
    imported = storage / "base.imported"
    if not imported.exists():
        _buildah(storage, ["pull", "--quiet", f"docker-archive:{archive}"])
        imported.touch()
    return storage


def _make_base(archive: Path) -> None:
    say("making the base image from Debian packages, once (about half a minute)")
    with TemporaryDirectory(dir=archive.parent) as temporary:
        layer = Path(temporary) / "root.tar"  # mmdebstrap knows the format by this ending
        run([*BASE_RECIPE, str(layer)], env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)})
        archives.write(archive, name=BASE_IMAGE, layer=layer, command=["python3"])


def _buildah(storage: Path, arguments: Sequence[str]) -> str:
    here = ["unshare", "--mount", "--propagation", "private"]
    folders = [f"--root={storage / 'storage'}", f"--runroot={storage / 'run'}", "--storage-driver=overlay"]
    return run([*here, "buildah", *folders, *arguments])
