"""Who may do what: the sample roles, what the documentation says of them, and playbooks that keep to their name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fake_api import FakeApi
from firebreak.api.playbook import STEP_NAMES, PlaybookSpec, unlike_its_name
from firebreak.engine.playbooks import fetch
from harness import connect
from world import playbook

ROOT = Path(__file__).parents[2]
ROLES = list(yaml.safe_load_all((ROOT / "manifests" / "samples" / "roles.yaml").read_text()))
INSTALL = (ROOT / "docs" / "install.md").read_text()


def in_words(rule: dict[str, Any]) -> str:
    names = f" {', '.join(rule['resourceNames'])}" if "resourceNames" in rule else ""
    return f"{', '.join(rule['resources'])}{names}: {', '.join(rule['verbs'])}"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role["metadata"]["name"])
def test_the_documentation_says_of_a_sample_role_what_it_grants(role: dict[str, Any]) -> None:
    rules = "; ".join(in_words(rule) for rule in role["rules"])
    assert f"| `{role['metadata']['name']}` | {rules} |" in INSTALL


def test_there_is_a_role_for_each_part_in_an_incident_and_the_documentation_names_no_other() -> None:
    names = [role["metadata"]["name"] for role in ROLES]
    parts = ["viewer", "alert-source", "responder", "approver", "releaser"]
    assert names == [f"firebreak-{part}" for part in parts]
    assert INSTALL.count("| `firebreak-") == 5


def test_no_role_is_aggregated_into_those_of_kubernetes() -> None:
    assert [label for role in ROLES for label in role["metadata"]["labels"] if "aggregate" in label] == []


def spec(*steps: str) -> PlaybookSpec:
    return PlaybookSpec.model_validate({"steps": [{step: {}} for step in steps]})


@pytest.mark.parametrize("step", sorted({*STEP_NAMES} - {"quarantine", "capture"}))
@pytest.mark.parametrize("name", ["contain", "contain-databases"])
def test_every_step_beyond_containing_and_preserving_is_unlike_a_contain_playbook(name: str, step: str) -> None:
    assert unlike_its_name(name, spec("quarantine", "capture", step))
    assert not unlike_its_name("containment", spec("quarantine", "capture", step))


def test_containing_and_preserving_is_what_contain_playbooks_are_for() -> None:
    assert not unlike_its_name("contain", spec("quarantine", "capture"))
    assert not unlike_its_name("contain-quietly", spec("capture"))


async def test_contain_is_built_in_and_needs_no_manifest(fake: FakeApi) -> None:
    async with connect(fake) as api:
        found, snapshot, problem = await fetch(api, "contain")
    assert ([step.name for step in found.steps], problem) == (["quarantine", "capture"], "")
    assert snapshot is not None


async def test_a_playbook_from_before_the_rule_does_not_go_beyond_its_name(fake: FakeApi) -> None:
    fake.put(playbook("contain-all"))  # the fake judges by no schema, as an older one did not
    async with connect(fake) as api:
        found, snapshot, problem = await fetch(api, "contain-all")
    assert ([step.name for step in found.steps], snapshot) == (["quarantine", "capture"], None)
    assert problem == (
        "playbook 'contain-all' does more than its name allows; pods are contained and preserved, nothing more. "
        "Give it another name."
    )
