"""`firebreak verify`, the real command on a sealed bundle on files."""

import asyncio
import shlex
from pathlib import Path

import pytest

from cli_harness import Cli, bare, incident, write_kubeconfig
from evidence_samples import COLLECTOR, PREFIX, Pieces, a_request, bundle_in
from fake_api import FakeApi
from firebreak.cli.failure import Failure
from firebreak.cli.verifying import inside, split
from firebreak.evidence import custody
from firebreak.evidence.seal import seal
from firebreak.evidence.store import EvidenceStore


async def fill(root: Path) -> str:
    """Seal a bundle and return its seal."""
    bundle = bundle_in(EvidenceStore.open(f"file://{root}"))
    await custody.record(bundle, COLLECTOR, "captured")
    await bundle.save(a_request("app.log"), Pieces(b"hello"))
    return (await seal(bundle, COLLECTOR)).digest


async def test_untouched_evidence_is_as_it_was_sealed(fake: FakeApi, tmp_path: Path) -> None:
    digest = await fill(tmp_path / "evidence")
    url = f"file://{tmp_path}/evidence/{PREFIX}"
    fake.put(incident(status={"evidence": {"url": url, "seal": digest}}))
    ran = await Cli(write_kubeconfig(tmp_path, fake.url, "shop"))("verify", "shell")
    assert (ran.code, ran.err) == (0, f"FIREBREAK_STORE is not set; the address is the status's own: {url}\n")
    first, second, third = ran.out.splitlines()[:3]
    assert (first, third) == (f"{url}: as it was sealed", f"seal {digest}")
    assert second.startswith("1 artifacts, 5 bytes hashed, 1 manifests")


@pytest.mark.parametrize("end", ["", "/"])
async def test_evidence_in_ones_own_store_is_verified_there(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    digest = await fill(tmp_path / "evidence" / "prod")
    monkeypatch.setenv("FIREBREAK_STORE", f"file://{tmp_path}/evidence{end}")
    url = f"file://{tmp_path}/evidence/prod/{PREFIX}"
    fake.put(incident(status={"evidence": {"url": url, "seal": digest}}))
    ran = await Cli(write_kubeconfig(tmp_path, fake.url, "shop"))("verify", "shell")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{url}: as it was sealed\n")


async def test_a_status_cannot_steer_credentials_to_another_store(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await fill(tmp_path / "theirs")
    monkeypatch.setenv("FIREBREAK_STORE", f"file://{tmp_path}/ours")
    url = f"file://{tmp_path}/theirs/{PREFIX}"
    fake.put(incident(status={"evidence": {"url": url, "seal": digest}}))
    cli = Cli(write_kubeconfig(tmp_path, fake.url, "shop"))
    ran = await cli("verify", "shell")
    what = f"error: the status says that the evidence is at {url}, which is not in the store file://{tmp_path}/ours"
    command = f"firebreak verify --url {url} --seal {digest}"
    hint = f"next:  find out who wrote that status; if you trust the address with your credentials: {command}"
    assert (ran.code, ran.out, ran.err) == (1, "", f"{what} (FIREBREAK_STORE)\n{hint}\n")
    assert (await cli(*command.split()[1:])).code == 0


@pytest.mark.parametrize(
    "url",
    [
        "s3://own-else/incidents/shop/shell-1",
        "s3://own/../else/incidents/shop/shell-1",
        "s3://own//incidents/shop/shell-1",
        "S3://own/incidents/shop/shell-1",
        "gs://own/incidents/shop/shell-1",
        "s3://own@else/incidents/shop/shell-1",
        "s3://own/incidents/shop/shell-1?endpoint=x",
        "s3://own/incidents/shop/x'; id #",
        "s3://own",
    ],
)
def test_what_only_looks_like_ones_own_store_is_outside(url: str) -> None:
    with pytest.raises(Failure, match=r"which is not in the store s3://own \(FIREBREAK_STORE\)") as refused:
        inside("s3://own", url, None)
    assert shlex.split(refused.value.hint.partition("credentials: ")[2]) == ["firebreak", "verify", "--url", url]


def test_changed_evidence_is_found_and_named(tmp_path: Path) -> None:
    digest = asyncio.run(fill(tmp_path / "evidence"))
    next((tmp_path / "evidence" / PREFIX / "objects").rglob("app.log.*")).write_bytes(b"hullo")
    ran = bare("verify", "--url", f"file://{tmp_path}/evidence/{PREFIX}", "--seal", digest, "-o", "json")
    assert ran.code == 1
    assert [problem["kind"] for problem in ran.json["problems"]] == ["HashDiffers"]
    assert ran.err.startswith(
        "error: 1 problems: this evidence cannot be relied on as sealed\nnext:  leave the store as it is"
    )


def test_without_a_seal_to_compare_with_it_is_said_what_that_is_worth(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "evidence"))
    ran = bare("verify", "--url", f"file://{tmp_path}/evidence/{PREFIX}")
    assert ran.code == 0
    assert "no seal to compare with was given: whoever can write to the store could forge all of it" in ran.out


async def test_an_incident_without_evidence_is_said_so(fake: FakeApi, tmp_path: Path) -> None:
    fake.put(incident())
    ran = await Cli(write_kubeconfig(tmp_path, fake.url, "shop"))("verify", "shell")
    assert (ran.code, ran.err) == (
        1,
        "error: incident shop/shell has no evidence yet\nnext:  firebreak watch shell -n shop\n",
    )


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    ran = bare("verify", "--url", f"file://{tmp_path}/none/incidents/shop/shell-1")
    assert ran.code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("shell", "--url", "s3://b/incidents/shop/shell-1")])
def test_an_incident_or_an_address_is_wanted_and_not_both(arguments: tuple[str, ...]) -> None:
    ran = bare("verify", *arguments)
    assert ran.code == 2
    assert "name an incident, or an address with --url" in ran.err


@pytest.mark.parametrize(
    ("url", "root", "prefix"),
    [
        ("s3://b/incidents/shop/shell-1", "s3://b", "incidents/shop/shell-1"),
        ("s3://b/x/prod/incidents/shop/shell-1/", "s3://b/x/prod", "incidents/shop/shell-1"),
        ("gs://b/incidents/incidents/shell-1", "gs://b", "incidents/incidents/shell-1"),
    ],
)
def test_an_address_names_the_store_and_the_place_in_it(url: str, root: str, prefix: str) -> None:
    assert split(url) == (root, prefix)


@pytest.mark.parametrize(
    "url", ["", "s3://b", "s3://b/incidents/shop", "incidents/shop/x", "s3://b/incidents/../shell", "s3://b/i/shop/x"]
)
def test_what_is_no_address_of_evidence_is_a_usage_error(url: str) -> None:
    with pytest.raises(Failure, match="is not the address of an incident's evidence"):
        split(url)
