"""The two images every local cluster has: busybox, which test workloads run, and the pods' sandbox.

Debian's busybox 1.35 has a `wget` whose -T crashes: use `timeout N wget`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import archives, settings
from cluster.commands import run

BUSYBOX = Path("/bin/busybox")
BUSYBOX_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    "etc/services": "http 80/tcp\nhttps 443/tcp\ndomain 53/udp\ndomain 53/tcp\n",
}


def ensure(folder: Path, pause: Path) -> list[Path]:
    """The docker-archives in this folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    sandbox, busybox = folder / "pause.tar", folder / "busybox.tar"
    if not sandbox.exists():
        _write_pause(sandbox, pause)
    if not busybox.exists():
        _write_busybox(busybox)
    return [sandbox, busybox]


def _write_pause(target: Path, pause: Path) -> None:
    with TemporaryDirectory() as temporary:
        layer = Path(temporary) / "layer.tar"
        with archives.Layer(layer) as tree:
            tree.file("pause", pause.read_bytes(), mode=0o755)
        archives.write(target, name=settings.PAUSE_IMAGE, layer=layer, command=["/pause"], user="65535:65535")


def _write_busybox(target: Path) -> None:
    applets = run([str(BUSYBOX), "--list"]).split()
    with TemporaryDirectory() as temporary:
        layer = Path(temporary) / "layer.tar"
        with archives.Layer(layer) as tree:
            for path in ("bin", "etc", "home", "root", "usr", "var", "var/tmp"):
                tree.folder(path, mode=0o1777 if path == "var/tmp" else 0o755)
            tree.folder("tmp", mode=0o1777)
            tree.file("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
            for applet in applets:
                if applet != "busybox":
                    tree.link(f"bin/{applet}", "busybox")
            tree.link("sbin", "bin")
            tree.link("usr/bin", "../bin")
            for path, text in BUSYBOX_FILES.items():
                tree.file(path, text.encode())
        archives.write(target, name=settings.BUSYBOX_IMAGE, layer=layer, command=["sh"])
