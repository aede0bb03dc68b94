"""What is left of an audit event under an audit policy, as the API server decides it.

Source: k8s.io/apiserver/pkg/audit/policy/checker.go; docs of audit.k8s.io/v1. The first rule that matches decides, and
who calls is the caller himself, not whom he impersonates.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from firebreak.detect.cases import failures
from firebreak.detect.rules import Case, Cases, Correlation, Rule, Ruleset

Json = dict[str, Any]
BODIES = {"Metadata": (), "Request": ("requestObject",), "RequestResponse": ("requestObject", "responseObject")}
# Cases of rules name a group only where their rule asks for it.
GROUPS = {
    **dict.fromkeys(("daemonsets", "deployments", "replicasets", "statefulsets"), "apps"),
    **dict.fromkeys(("cronjobs", "jobs"), "batch"),
    "networkpolicies": "networking.k8s.io",
}


def recorded(policy: Mapping[str, Any], event: Mapping[str, Any]) -> Json | None:
    """Return what the API server records of an event that has all its bodies; None when it records nothing."""
    rule = next((each for each in policy["rules"] if _matches(each, event)), None)
    stage = event.get("stage", "ResponseComplete")
    if rule is None or rule["level"] == "None" or stage in {*policy.get("omitStages", ()), *rule.get("omitStages", ())}:
        return None
    dropped = {"requestObject", "responseObject"} - set(BODIES[rule["level"]])
    return {key: value for key, value in event.items() if key not in dropped}


def unseen(ruleset: Ruleset, rule: Rule | Correlation, record: Callable[[Json], Json | None]) -> set[str]:
    """The cases of a rule in which it finds nothing in what `record` leaves of their events."""
    return {case.name for case in rule.cases.match if not _finds(ruleset, rule, case, record)}


def _finds(ruleset: Ruleset, rule: Rule | Correlation, case: Case, record: Callable[[Json], Json | None]) -> bool:
    left = tuple(event for event in map(record, case.events) if event is not None)
    tried = replace(rule, cases=Cases(match=(Case(case.name, left),)))
    return not list(failures(ruleset, tried))


def _matches(rule: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    user = event.get("user", {})
    if "users" in rule and user.get("username") not in rule["users"]:
        return False
    if "userGroups" in rule and not set(rule["userGroups"]) & set(user.get("groups") or ()):
        return False
    if "verbs" in rule and event.get("verb") not in rule["verbs"]:
        return False
    if "namespaces" in rule or "resources" in rule:
        return _about(rule, event.get("objectRef"))
    if "nonResourceURLs" in rule:
        path = event.get("requestURI", "").partition("?")[0]
        return "objectRef" not in event and any(_fits(each, path) for each in rule["nonResourceURLs"])
    return True


def _about(rule: Mapping[str, Any], about: Mapping[str, str] | None) -> bool:
    if about is None or ("namespaces" in rule and about.get("namespace", "") not in rule["namespaces"]):
        return False
    resource, subresource = about["resource"], about.get("subresource", "")
    group = about.get("apiGroup", GROUPS.get(resource, ""))
    return "resources" not in rule or any(
        each["group"] == group
        and _named(each.get("resources", ()), resource, subresource)
        and about.get("name", "") in each.get("resourceNames", (about.get("name", ""),))
        for each in rule["resources"]
    )


def _named(names: Iterable[str], resource: str, subresource: str) -> bool:
    whole = f"{resource}/{subresource}" if subresource else resource
    return not names or any(each in {whole, "*", f"{resource}/*", f"*/{subresource}"} for each in names)


def _fits(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
