"""The CRDs in crds/ are those of the models."""

from pathlib import Path

import pytest

from cli_harness import bare
from firebreak.api.crd import incident_crd, playbook_crd, render

CRDS = Path(__file__).parents[2] / "crds"


@pytest.mark.parametrize(("file", "crd"), [("incidents.yaml", incident_crd()), ("playbooks.yaml", playbook_crd())])
def test_the_files_are_generated_from_the_models(file: str, crd: dict[str, object]) -> None:
    assert (CRDS / file).read_text() == render(crd), "run `make crds`"


def test_the_command_prints_both_as_one_stream() -> None:
    ran = bare("crds")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (CRDS / "incidents.yaml").read_text() + "---\n" + (CRDS / "playbooks.yaml").read_text()


def test_the_command_writes_the_files_that_the_repository_keeps(tmp_path: Path) -> None:
    ran = bare("crds", "--output-dir", str(tmp_path))
    assert (ran.code, ran.out) == (0, "")
    for file in ("incidents.yaml", "playbooks.yaml"):
        assert (tmp_path / file).read_text() == (CRDS / file).read_text()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = bare("crds", "--output-dir", str(tmp_path / "none"))
    assert ran.code == 1
    assert ran.err == (
        f"error: {tmp_path}/none is not a folder; nothing was written\nnext:  mkdir -p {tmp_path}/none\n"
    )
