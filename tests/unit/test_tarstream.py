"""The tar filter: passes archives through unchanged, drops excluded members, and is never fooled about the end."""

import io
import itertools
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebreak.kube.source import Reason
from firebreak.kube.tarheader import BLOCK, normalised
from firebreak.kube.tarstream import MAX_HELD, TarFilter

SECRET = b"hunter2-hunter2-hunter2"
MOUNT = "/var/run/secrets/kubernetes.io"

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def run(data: bytes, *excluded: str, chunk: int = 0) -> tuple[bytes, TarFilter]:
    tar = TarFilter(excluded)
    step = chunk or len(data) or 1
    return b"".join(tar.feed(data[i : i + step]) for i in range(0, len(data), step)), tar


def archive(members: list[tuple[str, bytes]], fmt: str = "gnu", **header: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[fmt], pax_headers=header) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: bytes = b"x", size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    """A header with a right checksum, whatever else is wrong with it."""
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124:136] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return tar.getnames()


LONG = "home/" + "d" * 90 + "/" + "f" * 120
SAMPLES = {
    f"python-{fmt}": archive(
        [("etc/hosts", b"127.0.0.1"), ("tmp/empty", b""), ("tmp/big", bytes(range(256)) * 41), (name, b"long")], fmt
    )
    for fmt, name in (("ustar", "home/" + "d" * 90 + "/" + "f" * 90), ("gnu", LONG), ("pax", LONG))
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds, with a secret mount among them."""
    root = tmp_path_factory.mktemp("tree")
    for directory in ("tmp", "etc", "run/secrets/kubernetes.io/serviceaccount", "home/" + "d" * 100):
        (root / directory).mkdir(parents=True)
    (root / "tmp/data").write_bytes(random.Random(1).randbytes(70_001))  # noqa: S311 - test data
    (root / "tmp/empty").touch()
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "run/secrets/kubernetes.io/serviceaccount/token").write_bytes(SECRET)
    (root / "home" / ("d" * 100) / ("f" * 140)).write_text("long")
    (root / "tmp/link").symlink_to("../run/secrets/kubernetes.io/serviceaccount/token")
    (root / "tmp/longlink").symlink_to("t" * 150)
    (root / "tmp/umlaut-ü\n").write_text("odd name")
    os.link(root / "tmp/data", root / "tmp/hardlink")
    os.mkfifo(root / "tmp/fifo")
    with (root / "tmp/sparse").open("wb") as file:
        for i in range(40):
            file.seek(i * 131_072)
            file.write(b"island")
    return root


@pytest.fixture(scope="module")
def real_archives(tree: Path) -> dict[str, bytes]:
    def output(*command: str) -> bytes:
        return subprocess.run(command, cwd=tree, capture_output=True, check=True).stdout

    made = {f"gnu {fmt}": output("tar", f"--format={fmt}", "-cf", "-", ".") for fmt in ("gnu", "oldgnu", "posix")}
    made |= {f"gnu {fmt}": output("tar", f"--format={fmt}", "-cf", "-", "etc") for fmt in ("v7", "ustar")}
    made["gnu sparse"] = output("tar", "--format=gnu", "--sparse", "-cf", "-", ".")
    for version in ("0.0", "0.1", "1.0"):
        made[f"pax sparse {version}"] = output(
            "tar", "--format=posix", "--sparse", f"--sparse-version={version}", "-cf", "-", "."
        )
    if shutil.which("busybox"):
        made["busybox"] = output("busybox", "tar", "-cf", "-", ".")
    return made


def test_archives_of_real_tars_pass_through_byte_for_byte(real_archives: dict[str, bytes]) -> None:
    for kind, data in real_archives.items():
        for chunk in (0, 511, 512, 32_768):
            out, tar = run(data, chunk=chunk)
            assert out == data, kind
            assert tar.finish().whole, kind


def test_no_byte_under_a_secret_mount_passes_whichever_tar_wrote_it(real_archives: dict[str, bytes]) -> None:
    for kind, data in real_archives.items():
        out, tar = run(data, MOUNT, chunk=1000)
        verdict = tar.finish()
        assert SECRET not in out, kind
        assert verdict.whole, kind
        if kind not in {"gnu v7", "gnu ustar"}:
            assert SECRET in data, kind
            assert verdict.dropped == 3, kind  # the mount, a directory, the token
            kept = [name for name in names(data) if "kubernetes.io" not in name]
            assert names(out) == kept, kind


def test_a_link_into_a_secret_mount_is_kept_as_a_link(real_archives: dict[str, bytes]) -> None:
    out, _ = run(real_archives["gnu gnu"], MOUNT)
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.getmember("./tmp/link").linkname == "../run/secrets/kubernetes.io/serviceaccount/token"


def test_long_names_leave_together_with_their_headers(real_archives: dict[str, bytes]) -> None:
    for kind in ("gnu gnu", "gnu posix", "busybox"):
        if kind in real_archives:
            out, tar = run(real_archives[kind], "/home/" + "d" * 100)
            assert tar.finish().whole
            assert b"ffff" not in out, kind
            assert b"dddd" not in out, kind


@pytest.mark.parametrize("kind", SAMPLES)
def test_archives_of_python_pass_through_in_every_format(kind: str) -> None:
    out, tar = run(SAMPLES[kind])
    assert out == SAMPLES[kind]
    assert (tar.finish().message, tar.finish().dropped) == ("The archive is whole: 4 members.", 0)


def test_a_chunk_that_passes_whole_is_handed_on_without_a_copy() -> None:
    data = archive([("a", bytes(100_000)), ("b", b"1")])
    tar = TarFilter()
    first, second = data[:50_000], data[50_000:]
    assert tar.feed(first) is first
    assert tar.feed(second) is second


@given(data=st.data(), kind=st.sampled_from(sorted(SAMPLES)), excluded=st.sampled_from(["/tmp", "/home", "/nothing"]))  # noqa: S108 - names
def test_any_chunking_gives_the_same_bytes_and_verdict(data: st.DataObject, kind: str, excluded: str) -> None:
    whole, expected = run(SAMPLES[kind], excluded)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(SAMPLES[kind])), max_size=12)))
    tar = TarFilter([excluded])
    edges = [0, *cuts, len(SAMPLES[kind])]
    parts = [tar.feed(SAMPLES[kind][a:b]) for a, b in itertools.pairwise(edges)]
    assert b"".join(parts) == whole
    assert tar.finish() == expected.finish()


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_truncation_is_noticed(kind: str) -> None:
    data = SAMPLES[kind]
    end = len(data.rstrip(b"\0"))
    end = -(-end // BLOCK) * BLOCK + 2 * BLOCK
    for length in (*range(0, end, 64), end - 1, end - BLOCK):
        out, tar = run(data[:length])
        assert tar.finish().reason is Reason.ARCHIVE_CUT, length
        assert data.startswith(out)
    assert run(data[:end])[1].finish().whole


@settings(max_examples=300)
@given(st.binary(max_size=4096))
def test_random_bytes_never_crash_and_are_never_a_whole_archive(data: bytes) -> None:
    _, tar = run(data, MOUNT, chunk=100)
    assert tar.finish().whole == (len(data) >= 1024 and len(data) % BLOCK == 0 and not any(data))


@settings(max_examples=300)
@given(
    st.integers(0, 3000),
    st.binary(min_size=1, max_size=40),
    st.sampled_from(sorted(SAMPLES)),
)
def test_damaged_headers_never_crash_and_nothing_is_made_up(position: int, noise: bytes, kind: str) -> None:
    data = bytearray(SAMPLES[kind])
    data[position : position + len(noise)] = noise
    out, tar = run(bytes(data))
    assert bytes(data).startswith(out)
    assert tar.finish().bytes_read == len(data)


SPELLINGS = st.sampled_from(["run/secrets", "./run//secrets", "/var/run/secrets", "a/../run/secrets"])


@given(
    st.lists(st.tuples(SPELLINGS, st.integers(0, 200)), min_size=1, max_size=5),
    st.sampled_from(sorted(FORMATS)),
)
def test_excluded_content_never_appears_however_its_path_is_spelled(files: list[tuple[str, int]], fmt: str) -> None:
    members = [(f"{root}/{'x' * (1 + length % 90)}", SECRET * (length + 1)) for root, length in files]
    out, tar = run(archive([("etc/a", b"kept"), *members, ("etc/b", b"kept")], fmt), "/run/secrets", chunk=777)
    assert SECRET[:8] not in out
    assert tar.finish().whole
    assert names(out) == ["etc/a", "etc/b"]


HOSTILE = {
    "not a header": b"garbage" * 100,
    "a wrong checksum": b"\x01" + header()[1:],
    "a negative size": header(size=b"\xff" * 12),
    "an absurd size": header(size=b"\x80" + b"\xff" * 11),
    "a size that is no number": header(size=b"99999999999\0"),
    "a directory with data": header(kind=b"5", size=b"00000001000\0"),
    "a link with data": header(kind=b"2", size=b"00000001000\0"),
    "a name that ends like a directory's, with data": header(name=b"tmp/", size=b"00000001000\0"),
    "a pax header of gigabytes": header(kind=b"x", size=b"77777777777\0"),
    "a long name of gigabytes": header(kind=b"L", size=b"77777777777\0"),
    "headers without end": header(kind=b"x") * 600,
    "a pax record without a length": header(kind=b"x", size=b"00000000005\0") + b"path=".ljust(BLOCK, b"\0"),
    "a pax record that is overlong": header(kind=b"x", size=b"00000000013\0") + b"99 path=a\n".ljust(BLOCK, b"\0"),
    "a pax record of no length": header(kind=b"x", size=b"00000000010\0") + b"0 path=a".ljust(BLOCK, b"\0"),
    "a negative pax size": header(kind=b"x", size=b"00000000013\0") + b"11 size=-1\n".ljust(BLOCK, b"\0"),
    "two pax names": header(kind=b"x", size=b"00000000024\0") + (b"10 path=a\n" * 2).ljust(BLOCK, b"\0"),
    "a global header that renames": header(kind=b"g", size=b"00000000012\0") + b"10 path=a\n".ljust(BLOCK, b"\0"),
    "a lone zero block": bytes(BLOCK) + header(),
    "an extension before the end": header(kind=b"L") + bytes(BLOCK),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_readers_could_understand_differently_is_corrupt(what: str) -> None:
    _, tar = run(HOSTILE[what] + bytes(2 * BLOCK))
    assert tar.finish().reason is Reason.ARCHIVE_CORRUPT
    assert tar.finish().message.endswith("nothing behind it was kept.")


def test_nothing_passes_after_damage() -> None:
    tar = TarFilter([MOUNT])
    tar.feed(b"garbage" * 100)
    assert tar.broken
    assert tar.feed(archive([("run/secrets/kubernetes.io/token", SECRET)])) == b""


def test_a_header_may_not_make_the_filter_hold_much() -> None:
    big = header(kind=b"L", size=b"%011o\0" % (MAX_HELD - BLOCK))
    tar = TarFilter()
    for _ in range(10):
        tar.feed(big + b"n" * (MAX_HELD - BLOCK))
    assert tar.broken


def test_data_behind_the_end_is_reported_and_not_kept() -> None:
    whole = archive([("a", b"1")])
    out, tar = run(whole + archive([("b", b"2")]))
    assert out == whole
    assert tar.finish().reason is Reason.TRAILING_DATA


def test_a_pax_size_beyond_the_header_moves_the_next_member() -> None:
    """What the size field says is overruled by the pax record, so a secret cannot hide behind the smaller one."""
    record = b"13 size=1024\n"
    pax = header(kind=b"x", size=b"%011o\0" % len(record)) + record.ljust(BLOCK, b"\0")
    data = pax + header(name=b"tmp/a") + b"p" * 1024 + archive([("etc/b", b"1")])
    out, tar = run(data)
    assert out == data
    assert (tar.finish().message, tar.finish().whole) == ("The archive is whole: 2 members.", True)


def test_base_256_sizes_are_understood() -> None:
    data = header(size=b"\x80" + (1024).to_bytes(11, "big")) + b"d" * 1024 + bytes(1024)
    out, tar = run(data)
    assert out == data
    assert tar.finish().whole


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (b"/var/run/secrets", (b"run", b"secrets")),
        (b"./run//secrets/.", (b"run", b"secrets")),
        (b"../../run/x/../secrets", (b"run", b"secrets")),
        (b"var/running", (b"var", b"running")),
        (b"/", ()),
    ],
)
def test_paths_are_compared_by_what_they_name(path: bytes, parts: tuple[bytes, ...]) -> None:
    assert normalised(path) == parts


def test_excluding_the_root_excludes_nothing() -> None:
    data = archive([("a", b"1")])
    assert run(data, "/", ".", "/..")[0] == data
