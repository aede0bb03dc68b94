"""The admission policies read from a cluster, compared with those that this version ships."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from firebreak.model import shipped
from firebreak.model.policies import MANIFESTS, PEOPLE, faults, remedy
from firebreak.model.shipped import SHIPPED

Object = dict[str, Any]
Objects = dict[str, Object]
ROOT = Path(__file__).parents[2]
MARKS = "firebreak-quarantine-marks"
LOCK = "firebreak-quarantine-lock"
OTHER = "is not the one of this version, or its binding is not"


def from_manifests(group: str) -> tuple[Objects, Objects]:
    """Policies and bindings of a group, by name."""
    texts = [path.read_text() for path in sorted((ROOT / MANIFESTS[group]).glob("*.yaml"))]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    policies, bindings = ({d["metadata"]["name"]: d for d in found if d["kind"] == kind} for kind in kinds)
    return policies, bindings


def test_the_digests_in_the_package_are_those_of_the_manifests() -> None:
    ran = subprocess.run([sys.executable, "tools/policies.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == Path(shipped.__file__).read_text(), "run: make policies"


def test_every_policy_of_the_manifests_has_a_digest() -> None:
    texts = [path.read_text() for path in (ROOT / "manifests").rglob("*.yaml")]
    found = [document for text in texts for document in yaml.safe_load_all(text) if document]
    names = [d["metadata"]["name"] for d in found if d.get("kind") == "ValidatingAdmissionPolicy"]
    assert sorted(names) == sorted(name for group in SHIPPED.values() for name in group)


@pytest.mark.parametrize("group", SHIPPED)
def test_policies_as_they_were_shipped_have_no_fault(group: str) -> None:
    assert faults(group, *from_manifests(group)) == []


def test_what_the_api_server_fills_in_makes_no_difference() -> None:
    policies, bindings = from_manifests(PEOPLE)
    for policy in policies.values():
        constraints = policy["spec"]["matchConstraints"]
        policy["spec"]["matchConstraints"] = {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            **constraints,
            "resourceRules": [{**rule, "scope": "*"} for rule in constraints["resourceRules"]],
        }
        policy["metadata"] |= {"uid": "u", "generation": 3}
        policy["status"] = {"observedGeneration": 3, "typeChecking": {}}
    assert faults(PEOPLE, policies, bindings) == []


def test_a_policy_or_binding_that_is_missing_is_named() -> None:
    policies, bindings = from_manifests(PEOPLE)
    del policies["firebreak-sources"], bindings[LOCK]
    assert faults(PEOPLE, policies, bindings) == [f"{LOCK} is not bound", "firebreak-sources is not there"]


def spec_of(changed: dict[str, Any]) -> Callable[[Object], None]:
    return lambda resource: resource["spec"].update(copy.deepcopy(changed))


def one_more_condition(policy: Object) -> None:
    policy["spec"]["matchConditions"].append({"name": "eve", "expression": "request.userInfo.username != 'eve'"})


def one_rule_less(policy: Object) -> None:
    del policy["spec"]["validations"][-1]


def weaker(policy: Object) -> None:
    policy["spec"]["validations"][0]["expression"] = "true"


def namespaces_only(policy: Object) -> None:
    policy["spec"]["matchConstraints"]["resourceRules"][0]["scope"] = "Cluster"


def untyped(policy: Object) -> None:
    warning = {"fieldRef": "spec.validations[0].expression", "warning": "undefined field 'labels'"}
    policy["status"] = {"typeChecking": {"expressionWarnings": [warning]}}


SOME = {"namespaceSelector": {"matchLabels": {"locked": "true"}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spec_of({"failurePolicy": "Ignore"}), "lets pass what it fails to judge"),
        (one_more_condition, OTHER),
        (one_rule_less, OTHER),
        (weaker, OTHER),
        (namespaces_only, OTHER),
        (untyped, "does not pass the API server's check of its types"),
    ],
)
def test_a_policy_that_was_weakened_is_named(change: Callable[[Object], None], words: str) -> None:
    policies, bindings = from_manifests(PEOPLE)
    change(policies[MARKS])
    assert faults(PEOPLE, policies, bindings) == [f"{MARKS} {words}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spec_of({"validationActions": ["Audit", "Warn"]}), "is bound, but does not deny"),
        (spec_of({"matchResources": SOME}), OTHER),
        (spec_of({"policyName": "firebreak-approvals"}), OTHER),
        (spec_of({"paramRef": {"selector": {"matchLabels": {"a": "b"}}, "parameterNotFoundAction": "Allow"}}), OTHER),
    ],
)
def test_a_binding_that_was_weakened_is_named(change: Callable[[Object], None], words: str) -> None:
    policies, bindings = from_manifests(PEOPLE)
    change(bindings[LOCK])
    assert faults(PEOPLE, policies, bindings) == [f"{LOCK} {words}"]


def test_objects_without_a_spec_are_faults_not_errors() -> None:
    policies, bindings = from_manifests(PEOPLE)
    policies[MARKS], bindings[LOCK] = {"metadata": {}}, {"metadata": {}}
    assert faults(PEOPLE, policies, bindings) == [
        f"{LOCK} is bound, but does not deny",
        f"{MARKS} lets pass what it fails to judge",
    ]


def test_the_remedy_takes_away_what_was_added_as_well() -> None:
    assert remedy(PEOPLE) == (
        "kubectl apply -k manifests/base/admission && kubectl replace -k manifests/base/admission"
    )
    assert remedy("node") == (
        "kubectl apply -k manifests/components/tier-node && kubectl replace -k manifests/components/tier-node"
    )
