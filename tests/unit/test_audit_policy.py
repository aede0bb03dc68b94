"""The audit policy that is shipped keeps what each shipped rule looks at, and no secret value."""

from functools import partial
from pathlib import Path

import pytest
import yaml

from audit_policy import BODIES, recorded, unseen
from firebreak.detect.rules import Correlation, Rule, Ruleset

ROOT = Path(__file__).parents[2]
POLICY = yaml.safe_load((ROOT / "manifests" / "audit" / "policy.yaml").read_text())
RULES = Ruleset.load()
FIRING = [each for each in RULES.named.values() if isinstance(each, Correlation) or each.fires]
READS, CHANGES = ("get", "list", "watch"), ("create", "update", "patch")
APPS, BATCH, RBAC = "apps", "batch", "rbac.authorization.k8s.io"
# Only a policy that writes secrets into the log shows this; the rule has another way to see it.
NEEDS_SECRETS = ("service-account-token-secret", "a policy that logs bodies shows the type")


def level(verb: str, group: str, resource: str, name: str = "x", user: str = "eve", *groups: str) -> str:
    """What the policy keeps of a request."""
    kind, _, subresource = resource.partition("/")
    about = {"apiGroup": group, "resource": kind, "subresource": subresource, "namespace": "shop", "name": name}
    bodies = {"requestObject": {}, "responseObject": {}}
    found = recorded(POLICY, {"verb": verb, "user": {"username": user, "groups": groups}, "objectRef": about, **bodies})
    if found is None:
        return "None"
    return next(name for name, kept in BODIES.items() if set(kept) == bodies.keys() & found.keys())


@pytest.mark.parametrize("rule", FIRING, ids=lambda rule: str(rule.name))
def test_a_rule_finds_what_it_is_for_in_what_the_policy_keeps(rule: Rule | Correlation) -> None:
    allowed = {NEEDS_SECRETS[1]} if rule.name == NEEDS_SECRETS[0] else set()
    assert unseen(RULES, rule, partial(recorded, POLICY)) == allowed


@pytest.mark.parametrize("verb", [*READS, *CHANGES, "delete", "deletecollection"])
@pytest.mark.parametrize("user", ["eve", "system:apiserver", "system:kube-controller-manager", "system:node:n1"])
def test_secrets_are_kept_without_their_content_whoever_asks(verb: str, user: str) -> None:
    groups = ["system:nodes"] if user.startswith("system:node:") else []
    assert level(verb, "", "secrets", "x", user, *groups) == "Metadata"
    assert level(verb, "", "configmaps", "x", user, *groups) == "Metadata"


def test_no_token_is_kept() -> None:
    assert level("create", "", "serviceaccounts/token") == "Metadata"
    assert level("create", "authentication.k8s.io", "tokenreviews") == "Metadata"
    assert level("create", "authentication.k8s.io", "selfsubjectreviews") == "Metadata"


@pytest.mark.parametrize(
    ("verb", "group", "resource", "wanted"),
    [
        *((verb, RBAC, kind, "RequestResponse") for verb in CHANGES for kind in ("clusterroles", "rolebindings")),
        ("delete", RBAC, "clusterrolebindings", "Request"),
        ("create", "", "pods", "RequestResponse"),
        ("patch", "", "pods", "RequestResponse"),
        ("update", "", "pods", "Request"),
        ("patch", "", "pods/ephemeralcontainers", "Request"),
        ("get", "", "pods/exec", "Request"),
        ("create", "", "pods/eviction", "Request"),
        ("get", "", "pods/log", "Metadata"),
        ("patch", "", "pods/status", "Metadata"),
        ("patch", APPS, "deployments", "RequestResponse"),
        ("update", APPS, "daemonsets", "Request"),
        ("patch", BATCH, "cronjobs", "RequestResponse"),
        ("create", "", "persistentvolumes", "Request"),
        ("patch", "", "services", "Request"),
        ("delete", "networking.k8s.io", "networkpolicies", "Request"),
        ("update", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "Request"),
        ("delete", "events.k8s.io", "events", "Metadata"),
        ("deletecollection", "", "events", "Metadata"),
        ("create", "", "events", "None"),
        ("list", "", "pods", "Metadata"),
    ],
)  # fmt: skip
def test_a_request_is_kept_with_what_shows_its_meaning(verb: str, group: str, resource: str, wanted: str) -> None:
    assert level(verb, group, resource) == wanted


def test_what_the_control_plane_reads_all_day_is_not_kept_unless_it_is_a_secret_or_a_way_into_a_pod() -> None:
    assert level("list", "", "pods", "", "system:kube-scheduler") == "None"
    assert level("get", "", "pods", "x", "system:node:n1", "system:nodes") == "None"
    assert level("get", "", "pods/exec", "x", "system:node:n1", "system:nodes") == "Request"
