"""The manifests say what the code relies on: rights, confinement of the pod, samples that are valid."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from firebreak import __version__
from firebreak.api.incident import IncidentSpec
from firebreak.api.playbook import CONTAIN, STANDARD, PlaybookSpec
from firebreak.kube import tarcommand, volatile
from firebreak.kube.probe_objects import CUT, FREE, Run
from firebreak.model.tiers import PRESERVE, TIERS, Right, Tier
from firebreak.settings import Settings

ROOT = Path(__file__).parents[2] / "manifests"
BASE = ROOT / "base"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def every_document() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every object; the settings file of the intake is none."""
    for path in sorted(ROOT.rglob("*.yaml")):
        for document in documents(path):
            if "kind" in document:
                yield path, document


def by_kind(path: Path) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in documents(path)}


def pod_spec() -> dict[str, Any]:
    return documents(BASE / "deployment.yaml")[0]["spec"]["template"]["spec"]


def from_rules(rules: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [
        (group, resource, name, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    ]


def from_rights(rights: tuple[Right, ...]) -> list[tuple[str, str, str, str]]:
    return [(right.group, right.resource, right.name, verb) for right in rights for verb in right.verbs]


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_the_manifest_of_a_tier_grants_exactly_what_the_code_says(tier: Tier) -> None:
    rbac = by_kind(ROOT.parent / tier.manifest / "rbac.yaml")
    assert sorted(from_rules(rbac["ClusterRole"]["rules"])) == sorted(from_rights(tier.everywhere))
    assert sorted(from_rules(rbac.get("Role", {"rules": []})["rules"])) == sorted(from_rights(tier.own))


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_a_tier_is_bound_to_the_operator_s_account_only(tier: Tier) -> None:
    rbac = by_kind(ROOT.parent / tier.manifest / "rbac.yaml")
    account = documents(BASE / "serviceaccount.yaml")[0]["metadata"]
    for kind, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
        if role not in rbac:
            continue
        assert rbac[kind]["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": role,
            "name": f"firebreak-{tier.name}",
        }
        assert rbac[kind]["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        ]
        assert rbac[role]["metadata"]["name"] == f"firebreak-{tier.name}"


def test_no_role_outside_the_tiers_gives_the_operator_anything() -> None:
    with_roles = {path.parent.name for path, document in every_document() if "Role" in document["kind"]}
    of_the_intake = {"intake", "intake-pods"}
    assert with_roles == {"tier-contain", "tier-preserve", "tier-eradicate", "tier-node", "samples", *of_the_intake}
    bound = [path for path, document in every_document() if document["kind"].endswith("RoleBinding")]
    assert not [path for path in bound if path.parent.name == "samples"]


def test_no_rule_has_a_wildcard_and_only_eradicate_names_secrets() -> None:
    for path, document in every_document():
        if document["kind"] not in {"Role", "ClusterRole"}:
            continue
        granted = from_rules(document["rules"])
        assert not [part for right in granted for part in right if "*" in part], path
        secrets = [resource for _, resource, _, _ in granted if resource.split("/")[0] == "secrets"]
        assert not secrets or path.parent.name == "tier-eradicate"


def test_the_namespace_enforces_restricted_pod_security() -> None:
    labels = documents(BASE / "namespace.yaml")[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_meets_restricted_pod_security_and_writes_to_tmp_only() -> None:
    spec = pod_spec()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (65532, 65532)
    assert [set(volume) - {"name"} for volume in spec["volumes"]] == [{"emptyDir"}]
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["privileged"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not [port for port in container["ports"] if "hostPort" in port]
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the pod's, not ours


def test_the_manifests_deploy_this_version_and_name_no_registry() -> None:
    assert pod_spec()["containers"][0]["image"] == f"firebreak:{__version__}"


def test_two_replicas_prefer_different_nodes_and_one_always_stays() -> None:
    deployment = documents(BASE / "deployment.yaml")[0]
    budget = documents(BASE / "poddisruptionbudget.yaml")[0]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    term = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ][0]["podAffinityTerm"]
    assert deployment["spec"]["replicas"] == 2
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert budget["spec"]["minAvailable"] == 1
    for selector in (deployment["spec"]["selector"], budget["spec"]["selector"], term["labelSelector"]):
        assert selector["matchLabels"].items() <= labels.items()


def test_a_replica_has_the_time_to_end_in_order_and_to_start_and_is_asked_for_what_it_serves() -> None:
    """Copies are given up within 10 s (`evidence.upload`), then the Lease is given back: a third of its 15 s."""
    (container,) = pod_spec()["containers"]
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
    assert pod_spec()["terminationGracePeriodSeconds"] == 30 > 10 + Settings().lease_seconds / 3 + 5
    paths = {kind: (probe["httpGet"]["path"], probe["httpGet"]["port"]) for kind, probe in probes.items()}
    assert paths == {
        "startup": ("/healthz", "http"),
        "liveness": ("/healthz", "http"),
        "readiness": ("/readyz", "http"),
    }
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] == 60
    assert probes["liveness"]["periodSeconds"] * probes["liveness"]["failureThreshold"] == 60


def test_only_namespaces_labelled_for_metrics_reach_the_operators_port() -> None:
    policy = documents(BASE / "networkpolicy.yaml")[0]
    labels = documents(BASE / "deployment.yaml")[0]["spec"]["template"]["metadata"]["labels"]
    port = pod_spec()["containers"][0]["ports"][0]["containerPort"]
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "firebreak"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": {"firebreak.dev/metrics": "true"}}}],
                "ports": [{"protocol": "TCP", "port": port}],
            }
        ],
    }
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_no_policy_of_ours_selects_the_probes_pods() -> None:
    policy = documents(BASE / "networkpolicy.yaml")[0]
    for role in (CUT, FREE):
        assert (
            not policy["spec"]["podSelector"]["matchLabels"].items() <= Run("1", "firebreak", "i").labels(role).items()
        )


def test_every_manifest_of_the_base_is_applied() -> None:
    resources = documents(BASE / "kustomization.yaml")[0]["resources"]
    there = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in resources if name.endswith(".yaml")} == there


@pytest.mark.parametrize("name", ["firebreak-store", "firebreak-outgoing"])
def test_credentials_and_secret_addresses_come_from_optional_secrets(name: str) -> None:
    sources = pod_spec()["containers"][0]["envFrom"]
    assert {"secretRef": {"name": name, "optional": True}} in sources


@pytest.mark.parametrize(("name", "built_in"), [("standard", STANDARD), ("contain", CONTAIN)])
def test_a_playbook_of_the_manifests_is_the_built_in_one(name: str, built_in: PlaybookSpec) -> None:
    playbook = documents(ROOT / "playbooks" / f"{name}.yaml")[0]
    assert playbook["metadata"]["name"] == name
    assert PlaybookSpec.model_validate(playbook["spec"]) == built_in
    assert f"{name}.yaml" in documents(ROOT / "playbooks" / "kustomization.yaml")[0]["resources"]


SAMPLES = sorted(path for path in (ROOT / "samples").glob("*.yaml") if path.name != "roles.yaml")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_valid(path: Path) -> None:
    for document in documents(path):
        models: dict[str, type[BaseModel]] = {"Incident": IncidentSpec, "Playbook": PlaybookSpec}
        assert document["apiVersion"] == "firebreak.dev/v1alpha1"
        models[document["kind"]].model_validate(document["spec"])


def test_the_smallest_incident_has_three_lines_below_its_apiversion() -> None:
    lines = [line for line in (ROOT / "samples" / "incident.yaml").read_text().splitlines() if line[:1] != "#"]
    assert len(lines) == 4


AUDIT = documents(ROOT / "audit" / "policy.yaml")[0]


def audit_level(verb: str, group: str, resource: str, user: str = "eve", groups: tuple[str, ...] = ()) -> str:
    """The level of a request, as the API server finds it: the first rule that matches."""
    for rule in AUDIT["rules"]:
        if (
            "nonResourceURLs" not in rule
            and verb in rule.get("verbs", [verb])
            and user in rule.get("users", [user])
            and ("userGroups" not in rule or set(groups) & set(rule["userGroups"]))
            and ("resources" not in rule or any(_covers(entry, group, resource) for entry in rule["resources"]))
        ):
            return rule["level"]
    return "None"


def _covers(entry: dict[str, Any], group: str, resource: str) -> bool:
    wanted = entry.get("resources", ["*"])
    return entry.get("group", "") == group and any(fnmatch(resource, pattern) for pattern in wanted)


@pytest.mark.parametrize("verb", ["get", "list", "create", "update", "patch", "delete"])
@pytest.mark.parametrize("groups", [(), ("system:nodes",)])
@pytest.mark.parametrize("resource", ["secrets", "serviceaccounts/token"])
def test_the_audit_log_knows_every_touch_of_a_secret_and_never_its_value(
    verb: str, groups: tuple[str, ...], resource: str
) -> None:
    assert audit_level(verb, "", resource, groups=groups) == "Metadata"


def test_the_audit_log_never_keeps_a_token_that_is_being_reviewed() -> None:
    assert audit_level("create", "authentication.k8s.io", "tokenreviews") == "Metadata"


def test_the_audit_log_keeps_execs_whatever_verb_they_come_with() -> None:
    assert audit_level("get", "", "pods/exec") == "Request"
    assert audit_level("create", "", "pods/exec") == "Request"


def test_the_audit_log_keeps_bodies_of_writes_and_drops_heartbeats() -> None:
    assert audit_level("patch", "rbac.authorization.k8s.io", "rolebindings") == "RequestResponse"
    assert audit_level("create", "", "pods") == "RequestResponse"  # tells the name that a Deployment's pod was given
    assert audit_level("update", "coordination.k8s.io", "leases") == "None"
    assert audit_level("get", "", "pods", user="system:kube-scheduler") == "None"
    assert audit_level("get", "", "pods") == "Metadata"


def fences(tier: Tier) -> dict[str, dict[str, Any]]:
    """The admission policies of a tier, by name."""
    found = documents(ROOT.parent / tier.manifest / "admission.yaml")
    return {d["metadata"]["name"]: d for d in found if d["kind"] == "ValidatingAdmissionPolicy"}


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_every_fence_is_bound_denies_fails_closed_and_is_about_the_operator_alone(tier: Tier) -> None:
    bindings = {
        document["spec"]["policyName"]: document["spec"]
        for document in documents(ROOT.parent / tier.manifest / "admission.yaml")
        if document["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    assert set(bindings) == set(fences(tier))
    for name, policy in fences(tier).items():
        assert bindings[name] == {"policyName": name, "validationActions": ["Deny"]}
        assert policy["spec"]["failurePolicy"] == "Fail"
        (condition,) = policy["spec"]["matchConditions"]
        assert condition["expression"] == ("request.userInfo.username == 'system:serviceaccount:firebreak:firebreak'")
        for rule in policy["spec"]["validations"]:
            assert rule["message"].startswith("firebreak: ")
            assert rule["reason"] == "Forbidden"


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_no_fence_has_parameters_for_one_that_is_not_found_would_refuse_everybody(tier: Tier) -> None:
    assert [name for name, policy in fences(tier).items() if "paramKind" in policy["spec"]] == []


def test_exec_is_fenced_to_the_very_scripts_that_a_capture_sends() -> None:
    variables = {v["name"]: v["expression"] for v in fences(PRESERVE)["firebreak-preserve-exec"]["spec"]["variables"]}
    assert variables["volatile"] == f'r"""{volatile.SCRIPT}"""'
    assert variables["archive"] == f'r"""{tarcommand.SCRIPT}"""'


PRIORITY = ROOT / "components" / "priority"


def test_containment_has_a_level_of_its_own_after_the_systems_calls_and_before_all_others() -> None:
    levels = {level["metadata"]["name"] for level in documents(PRIORITY / "levels.yaml")}
    flows = {flow["metadata"]["name"]: flow["spec"] for flow in documents(PRIORITY / "flows.yaml")}
    assert {name: flow["matchingPrecedence"] for name, flow in flows.items()} == {
        "firebreak-containment": 600,
        "firebreak-intake": 605,
        "firebreak-opening": 610,
        "firebreak-rest": 620,
    }  # Kubernetes' nodes have 500, its controllers 800, kube-system 900
    assert {flow["priorityLevelConfiguration"]["name"] for flow in flows.values()} == levels == set(flows)


def test_what_is_lent_to_nobody_is_what_a_cut_waits_for() -> None:
    lent = {
        level["metadata"]["name"]: level["spec"]["limited"]["lendablePercent"]
        for level in documents(PRIORITY / "levels.yaml")
    }
    assert lent == {"firebreak-containment": 0, "firebreak-intake": 0, "firebreak-opening": 0, "firebreak-rest": 50}


def test_no_tier_has_a_right_on_the_api_servers_priorities() -> None:
    assert not [r for tier in TIERS for r in (*tier.everywhere, *tier.own) if r.group.startswith("flowcontrol")]


@pytest.mark.parametrize("overlay", ["standard", "contain-only"])
def test_every_overlay_brings_the_priorities(overlay: str) -> None:
    (found,) = documents(ROOT / "overlays" / overlay / "kustomization.yaml")
    assert "../../components/priority" in found["components"]
