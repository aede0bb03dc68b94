"""Which rules find less in the audit logs of EKS, AKS and GKE, whose policies are fixed: the table in the docs.

What is published of these policies: GKE's page "Audit policy" names configure-helper.sh of the Kubernetes repository
(cluster/gce/gci, `create-master-audit-policy`); the EKS Best Practices Guides, "Auditing and logging", say that EKS has
that one, with aws-auth added. AKS's is not published (Azure/AKS #3671).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit_policy import recorded, unseen
from firebreak.detect.rules import Correlation, Ruleset

PAGE = Path(__file__).parents[2] / "docs" / "audit-logging.md"
RULES = Ruleset.load()
FIRING = {each.name: each for each in RULES.named.values() if isinstance(each, Correlation) or each.fires}
READS = {"get", "list"}
WATCHES = {*READS, "watch"}
COLUMNS = ("EKS", "AKS, kube-audit-admin", "GKE", "GKE, no Data Access logs")
KNOWN_GROUPS = (
    "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps",
    "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "extensions",
    "metrics.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io",
    "storage.k8s.io",
)  # fmt: skip
# The parts of configure-helper.sh that events of our rules meet.
REFERENCE: dict[str, Any] = {
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/version", "/swagger*"]},
        {"level": "None", "resources": [{"group": "", "resources": ["events"]}]},
        {
            "level": "Metadata",
            "resources": [
                {"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]},
                {"group": "authentication.k8s.io", "resources": ["tokenreviews"]},
            ],
        },
        {
            "level": "Request",
            "verbs": ["get", "list", "watch"],
            "resources": [{"group": each} for each in KNOWN_GROUPS],
        },
        {"level": "RequestResponse", "resources": [{"group": each} for each in KNOWN_GROUPS]},
        {"level": "Metadata"},
    ],
}
Json = dict[str, Any]


def eks(event: Json) -> Json | None:
    return recorded(REFERENCE, event)


def aks_admin(event: Json) -> Json | None:
    """The same without get and list (Microsoft's table AKSAuditAdmin): the best that can be hoped."""
    return None if event.get("verb") in READS else recorded(REFERENCE, event)


def gke(event: Json) -> Json | None:
    """Without what is not in Cloud Audit Logs, see `detect.cloudaudit`."""
    found = recorded(REFERENCE, event)
    if found is None:
        return None
    user = {"username": found.get("user", {}).get("username", "")}
    return {key: value for key, value in found.items() if key not in {"impersonatedUser", "stage"}} | {"user": user}


def gke_admin_activity(event: Json) -> Json | None:
    return None if event.get("verb") in WATCHES else gke(event)


LOGS: dict[str, Callable[[Json], Json | None]] = dict(
    zip(COLUMNS, (eks, aks_admin, gke, gke_admin_activity), strict=True)
)


def table() -> dict[str, dict[str, str]]:
    """The table of the page: rule to column to cell."""
    _, _, rest = PAGE.read_text().partition(f"| Rule | {' | '.join(COLUMNS)} |\n")
    found = {}
    for line in rest.splitlines()[1:]:
        if not line.startswith("| "):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.strip("`")] = dict(zip(COLUMNS, cells, strict=True))
    return found


def test_the_table_has_just_the_rules_that_find_less_somewhere() -> None:
    less = {name for name, rule in FIRING.items() if any(unseen(RULES, rule, log) for log in LOGS.values())}
    assert list(table()) == sorted(less)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_cell_says_whether_a_rule_finds_all_of_its_cases_some_or_none(column: str) -> None:
    expected = {}
    for name in table():
        lost = len(unseen(RULES, FIRING[name], LOGS[column]))
        expected[name] = {0: {"all"}, len(FIRING[name].cases.match): {"no", "writes"}}.get(lost, {"some"})
    assert [name for name, cells in table().items() if cells[column] not in expected[name]] == []
