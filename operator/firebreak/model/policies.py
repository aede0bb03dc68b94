"""The admission policies that Firebreak ships: whether what stands in a cluster is what this version brings.

`model.shipped` keeps a digest of each policy with its binding; `make policies` writes it from the manifests.
"""

from collections.abc import Mapping
from typing import Any

from firebreak.api.base import Json
from firebreak.model.digest import sha256
from firebreak.model.shipped import SHIPPED
from firebreak.model.tiers import TIERS, as_shipped

PEOPLE = "people"
"""The policies about people, in `SHIPPED`; those of a tier go by the tier's name."""

MANIFESTS: Mapping[str, str] = {PEOPLE: "manifests/base/admission"} | {tier.name: tier.manifest for tier in TIERS}
"""The kustomize directory of each group."""

# What the API server writes where a manifest says nothing (admissionregistration.k8s.io/v1, seen on 1.35).
DEFAULTS: Json = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
EVERY_SCOPE: Json = {"scope": "*"}


def digest(policy: Json, binding: Json) -> str:
    """Return the digest of what a policy and its binding say, read from a cluster or from a manifest."""
    spec = policy.get("spec") or {}
    constraints = spec.get("matchConstraints") or {}
    rules = [EVERY_SCOPE | rule for rule in constraints.get("resourceRules") or []]
    matched = DEFAULTS | constraints | {"resourceRules": rules}
    return sha256([{**spec, "matchConstraints": matched}, binding.get("spec")])


def faults(group: str, policies: Mapping[str, Json], bindings: Mapping[str, Json]) -> list[str]:
    """Say of each policy of a group that is not in force as it was shipped what is wrong with it.

    `policies` and `bindings` are those of the cluster, by name. Raises KeyError for what is no group.
    """
    found = ((name, _fault(policies.get(name), bindings.get(name), same)) for name, same in SHIPPED[group].items())
    return [f"{name} {words}" for name, words in found if words]


def remedy(group: str) -> str:
    """Say what a person does to have the policies of a group as they were shipped. Raises KeyError for no group."""
    return as_shipped(MANIFESTS[group])


def _fault(policy: Json | None, binding: Json | None, shipped: str) -> str:
    if policy is None or binding is None:
        return "is not bound" if policy else "is not there"
    seen = (
        ("Deny" in _of(binding, "validationActions"), "is bound, but does not deny"),
        (_of(policy, "failurePolicy") == "Fail", "lets pass what it fails to judge"),
        (digest(policy, binding) == shipped, "is not the one of this version, or its binding is not"),
        (not _type_warnings(policy), "does not pass the API server's check of its types"),
    )
    return next((words for well, words in seen if not well), "")


def _of(resource: Json, key: str) -> Any:
    return (resource.get("spec") or {}).get(key) or ()


def _type_warnings(policy: Json) -> Any:
    return ((policy.get("status") or {}).get("typeChecking") or {}).get("expressionWarnings")
