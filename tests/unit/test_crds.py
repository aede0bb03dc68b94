"""The CRDs in crds/ are those of the models."""

from pathlib import Path

import pytest
import yaml

from cli_harness import bare
from firebreak.api.crd import CRDS as DEFINITIONS
from firebreak.api.crd import render

CRDS = Path(__file__).parents[2] / "crds"


FILES = ("approvals.yaml", "incidents.yaml", "playbooks.yaml")


@pytest.mark.parametrize("file", FILES)
def test_the_files_are_generated_from_the_models(file: str) -> None:
    assert (CRDS / file).read_text() == render(DEFINITIONS[file]()), "run `make crds`"


def test_what_is_installed_is_what_is_generated() -> None:
    assert yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"] == list(FILES)


def test_the_command_prints_all_as_one_stream() -> None:
    ran = bare("crds")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "---\n".join((CRDS / file).read_text() for file in FILES)


def test_the_command_writes_the_files_that_the_repository_keeps(tmp_path: Path) -> None:
    ran = bare("crds", "--output-dir", str(tmp_path))
    assert (ran.code, ran.out) == (0, "")
    for file in FILES:
        assert (tmp_path / file).read_text() == (CRDS / file).read_text()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = bare("crds", "--output-dir", str(tmp_path / "none"))
    assert ran.code == 1
    assert ran.err == (
        f"error: {tmp_path}/none is not a folder; nothing was written\nnext:  mkdir -p {tmp_path}/none\n"
    )
