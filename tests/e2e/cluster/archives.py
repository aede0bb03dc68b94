"""Writes a root file system as a docker-archive: the image format that containerd, buildah and kind all read."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

CREATED = "2026-01-01T00:00:00Z"  # fixed, so that the same content is the same image
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(target: Path, *, name: str, layer: Path, command: Sequence[str], user: str = "") -> None:
    """Write an image of one layer (an uncompressed tar) that runs `command`; whole or not at all."""
    with layer.open("rb") as file:
        layer_digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(
        {
            "created": CREATED,
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": [PATH], "Cmd": list(command), "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created": CREATED, "created_by": "firebreak tests/e2e/cluster"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]).encode()
    temporary = target.with_suffix(".partial")
    with tarfile.open(temporary, "w") as archive:
        _add_bytes(archive, config_name, config)
        _add_bytes(archive, "manifest.json", manifest)
        archive.add(layer, arcname=layer_name)
    temporary.rename(target)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def digest(archive: Path) -> str:
    """The digest of an image's configuration, which names its layers by theirs: an engine's name for the image."""
    with tarfile.open(archive) as image:
        return str(json.loads(_content(image, "manifest.json"))[0]["Config"]).removesuffix(".json")


def read(archive: Path, path: str) -> bytes:
    """Read one file of an image; the uppermost layer that has it counts. Raises KeyError when none has."""
    with tarfile.open(archive) as image:
        for layer in reversed(json.loads(_content(image, "manifest.json"))[0]["Layers"]):
            with tarfile.open(fileobj=image.extractfile(layer)) as tree:
                if path in tree.getnames():
                    return _content(tree, path)
    raise KeyError(f"no layer of {archive} has a file {path}")


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file.read()


class Layer:
    """A file system tree as a tar, owned by root and without times, so that it is the same wherever it is made."""

    def __init__(self, target: Path) -> None:
        self._tar = tarfile.open(target, "w")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        header = tarfile.TarInfo(path)
        header.type, header.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(header)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        header = tarfile.TarInfo(path)
        header.size, header.mode = len(content), mode
        self._tar.addfile(header, io.BytesIO(content))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        header = tarfile.TarInfo(path)
        header.type, header.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(header)
