"""The way to the API server from inside a pod, without the official client."""

import asyncio
import sys
from pathlib import Path

import pytest

from firebreak.kube.configuration import ConfigurationError, in_cluster

SERVICE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def account(folder: Path, content: str = "t0ken") -> Path:
    (folder / "token").write_text(f"{content}\n")
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    return folder


async def test_the_mounted_account_and_two_variables_are_all_it_takes(tmp_path: Path) -> None:
    found = in_cluster(account(tmp_path), SERVICE)
    assert (found.host, found.ssl_ca_cert) == ("https://10.96.0.1:443", str(tmp_path / "ca.crt"))
    assert (found.verify_ssl, await found.authorization()) == (True, "Bearer t0ken")


def test_an_address_of_version_6_is_put_into_brackets(tmp_path: Path) -> None:
    assert (
        in_cluster(account(tmp_path), SERVICE | {"KUBERNETES_SERVICE_HOST": "fd00::1"}).host == "https://[fd00::1]:443"
    )


def test_an_account_that_is_incomplete_says_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*No such file"):
        in_cluster(tmp_path, SERVICE)
    with pytest.raises(ConfigurationError, match="incomplete: KUBERNETES_SERVICE_HOST, _PORT, its token or its CA"):
        in_cluster(account(tmp_path), {})
    with pytest.raises(ConfigurationError, match="incomplete"):
        in_cluster(account(tmp_path, content=""), SERVICE)


async def test_the_operator_starts_without_the_official_client() -> None:
    """19 MiB and half a second of a start: kopf would load it, and so would a loader of kubeconfigs."""
    code = "import sys, firebreak.operator; print([m for m in sys.modules if m.startswith('kubernetes')])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"[]\n")
