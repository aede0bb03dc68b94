"""What `firebreak preflight` says of the policies about people: as installed, and where one of them is off."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.model.policies import PEOPLE, remedy
from incidents import Place, Ran

ROOT = Path(__file__).parents[2]
TRIED = ("firebreak-approvals", "firebreak-creators", "firebreak-quarantine-forgery")
BINDING = "validatingadmissionpolicybinding"


@pytest.fixture
def home(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Place:
    """Firebreak's own namespace."""
    return Place(cluster, kubectl, firebreak)


def preflight(home: Place) -> tuple[Ran, dict[str, tuple[str, str]]]:
    """Run it as the administrator; return outcome and detail of each check as well."""
    ran = home.firebreak("preflight", "--no-probe", "--output", "json")
    return ran, {check["name"]: (check["outcome"], check["detail"]) for check in json.loads(ran.out)["checks"]}


def outcomes(home: Place) -> tuple[str, str]:
    """Of the trials, and of the reading."""
    _, checks = preflight(home)
    return checks["guards people"][0], checks["policies people"][0]


@contextmanager
def put_back(home: Place) -> Iterator[None]:
    """Whatever was done to the policies is undone by what preflight itself advises."""
    try:
        yield
    finally:
        for command in remedy(PEOPLE).split(" && "):
            _, *arguments, folder = command.split()
            home.kubectl(*arguments, str(ROOT / folder))
        wait_until(
            lambda: outcomes(home) == ("ok", "ok"), timeout=30, otherwise=lambda: f"not as it was: {preflight(home)[1]}"
        )


def test_as_installed_the_policies_about_people_are_tried_where_that_proves_something_and_all_are_read(
    home: Place,
) -> None:
    ran, checks = preflight(home)
    assert checks["guards people"] == (
        "ok",
        f"tried, and refused: {', '.join(TRIED)}; the others are read, not tried",
    )
    assert {name: told for name, told in checks.items() if name.startswith("policies")} == {
        "policies people": ("ok", "read: 10 bound, denying, equal to this version's"),
        "policies contain": ("ok", "read: 5 bound, denying, equal to this version's"),
        "policies preserve": ("ok", "read: 1 bound, denying, equal to this version's"),
        "policies eradicate": ("ok", "read: 3 bound, denying, equal to this version's"),
    }
    assert ran.code == 5, ran.err  # the store is not named where the command runs


@pytest.mark.parametrize("policy", TRIED)
def test_a_policy_that_is_not_bound_is_named_by_the_trial_and_by_the_reading(home: Place, policy: str) -> None:
    with put_back(home):
        home.kubectl("delete", BINDING, policy)
        wait_until(lambda: outcomes(home) == ("FAILED", "FAILED"), timeout=30, otherwise="it went on denying")
        ran, checks = preflight(home)
        assert (ran.code, ran.err.splitlines()[0]) == (1, "error: not as it must be: guards people, policies people")
        assert f"tried, and not refused: {policy};" in checks["guards people"][1]
        assert checks["policies people"] == ("FAILED", f"{policy} is not bound")


def test_a_policy_that_takes_a_quarantine_to_try_is_missed_by_reading(home: Place) -> None:
    with put_back(home):
        home.kubectl("delete", BINDING, "firebreak-quarantine-lock")
        ran, checks = preflight(home)
        assert (ran.code, ran.err.splitlines()[0]) == (1, "error: not as it must be: policies people")
        assert checks["guards people"][0] == "ok"
        assert checks["policies people"] == ("FAILED", "firebreak-quarantine-lock is not bound")


def test_a_condition_that_lets_somebody_pass_is_seen_and_what_preflight_advises_takes_it_away(home: Place) -> None:
    condition = {"name": "a", "expression": "request.userInfo.username != 'eve'"}
    patch = [{"op": "add", "path": "/spec/matchConditions/-", "value": condition}]
    with put_back(home):
        home.kubectl(
            "patch", "validatingadmissionpolicy", "firebreak-quarantine-marks", "--type=json", "-p", json.dumps(patch)
        )
        _, checks = preflight(home)
        assert checks["policies people"] == (
            "FAILED",
            "firebreak-quarantine-marks is not the one of this version, or its binding is not",
        )
