"""The manifests of the intake: confined like the operator, rights to open and count and nothing else."""

from typing import Any

import pytest
import yaml

from firebreak import __version__
from firebreak.intake.routes import Routes, load
from firebreak.intake.settings import IntakeSettings
from firebreak.kube.guard import trial_of_intake
from firebreak.model.names import LAST_SEEN, REPEATS
from test_manifests import BASE, ROOT, by_kind, documents, from_rules, pod_spec

INTAKE = ROOT / "components" / "intake"
PODS = ROOT / "components" / "intake-pods"
ACCOUNT = "system:serviceaccount:firebreak:firebreak-intake"


def deployment() -> dict[str, Any]:
    (found,) = documents(INTAKE / "deployment.yaml")
    return found


def spec() -> dict[str, Any]:
    return deployment()["spec"]["template"]["spec"]


def test_its_account_opens_incidents_of_one_playbook_and_counts_repeats() -> None:
    rbac = by_kind(INTAKE / "rbac.yaml")
    assert sorted(from_rules(rbac["ClusterRole"]["rules"])) == [
        ("firebreak.dev", "incidents", "", "create"),
        ("firebreak.dev", "incidents", "", "get"),
        ("firebreak.dev", "incidents", "", "patch"),
        ("firebreak.dev", "playbooks", "contain", "use"),
    ]
    assert set(rbac) == {"ClusterRole", "ClusterRoleBinding"}


def test_listing_pods_is_a_component_of_its_own() -> None:
    rbac = by_kind(PODS / "rbac.yaml")
    assert from_rules(rbac["ClusterRole"]["rules"]) == [("", "pods", "", "list")]


@pytest.mark.parametrize("component", [INTAKE, PODS], ids=lambda path: path.name)
def test_its_roles_are_bound_to_its_account_only(component: Any) -> None:
    rbac = by_kind(component / "rbac.yaml")
    subject = {"kind": "ServiceAccount", "name": "firebreak-intake", "namespace": "firebreak"}
    assert rbac["ClusterRoleBinding"]["subjects"] == [subject]
    assert rbac["ClusterRoleBinding"]["roleRef"]["name"] == rbac["ClusterRole"]["metadata"]["name"]
    assert spec()["serviceAccountName"] == "firebreak-intake"


def test_its_pod_is_as_confined_as_the_operator_s() -> None:
    ours, theirs = spec(), pod_spec()
    assert ours["securityContext"] == theirs["securityContext"]
    assert ours["enableServiceLinks"] is False
    (container,) = ours["containers"]
    assert container["securityContext"] == theirs["containers"][0]["securityContext"]
    assert container["image"] == f"firebreak:{__version__}"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(ours)
    assert {kind for volume in ours["volumes"] for kind in set(volume) - {"name"}} == {"secret", "configMap"}
    assert [mount["readOnly"] for mount in container["volumeMounts"]] == [True] * 4


def test_its_settings_are_ones_that_there_are() -> None:
    prefix = "FIREBREAK_INTAKE_"
    names = [each["name"] for each in spec()["containers"][0]["env"]]
    assert {name.removeprefix(prefix).lower() for name in names} < set(IntakeSettings.model_fields)


def test_tokens_and_authorities_are_optional_and_a_certificate_is_not() -> None:
    volumes = {volume["name"]: volume.get("secret") or volume["configMap"] for volume in spec()["volumes"]}
    assert {name: found.get("optional", False) for name, found in volumes.items()} == {
        "tls": False,
        "tokens": True,
        "clients": True,
        "routes": False,
    }


def test_what_it_posts_to_a_siem_with_comes_from_a_secret_of_its_own_that_need_not_be_there() -> None:
    (container,) = spec()["containers"]
    assert {"secretRef": {"name": "firebreak-intake-outgoing", "optional": True}} in container["envFrom"]


def test_it_has_the_time_to_open_what_it_accepted() -> None:
    assert spec()["terminationGracePeriodSeconds"] == 50 > 2 * 20 + 5


def test_the_routes_that_ship_are_the_defaults() -> None:
    assert load((INTAKE / "routes.yaml").read_text(), "routes.yaml") == Routes()


def test_one_sender_talks_to_one_replica_and_every_selector_means_the_pods() -> None:
    (service,) = documents(INTAKE / "service.yaml")
    (policy,) = documents(INTAKE / "networkpolicy.yaml")
    (budget,) = documents(INTAKE / "poddisruptionbudget.yaml")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    selectors = (service["spec"]["selector"], budget["spec"]["selector"]["matchLabels"])
    for selector in (*selectors, policy["spec"]["podSelector"]["matchLabels"]):
        assert selector == {"app.kubernetes.io/name": "firebreak-intake"}
        assert selector.items() <= labels.items()


def test_only_who_sends_alerts_reaches_the_port_for_alerts() -> None:
    (policy,) = documents(INTAKE / "networkpolicy.yaml")
    reached = {
        next(iter(rule["from"][0]["namespaceSelector"]["matchLabels"])): rule["ports"][0]["port"]
        for rule in policy["spec"]["ingress"]
    }
    assert reached == {"firebreak.dev/alerts": 8443, "firebreak.dev/metrics": 8080}
    assert {port["name"]: port["containerPort"] for port in spec()["containers"][0]["ports"]} == {
        "alerts": 8443,
        "http": 8080,
    }


def test_the_fence_is_about_the_intake_alone_denies_and_fails_closed() -> None:
    policy, binding = documents(BASE / "admission" / "intake.yaml")
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{ACCOUNT}'"
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"] == {"policyName": "firebreak-intake", "validationActions": ["Deny"]}
    assert trial_of_intake("firebreak").policy == policy["metadata"]["name"]
    sender = trial_of_intake("firebreak").sender
    assert sender
    assert sender.user == ACCOUNT


def test_the_fence_lets_the_two_annotations_be_written_that_count() -> None:
    text = yaml.safe_dump(documents(BASE / "admission" / "intake.yaml")[0])
    assert REPEATS in text
    assert LAST_SEEN in text


def test_every_file_of_the_component_is_applied() -> None:
    (found,) = documents(INTAKE / "kustomization.yaml")
    assert {*found["resources"], "routes.yaml"} == {p.name for p in INTAKE.glob("*.yaml")} - {"kustomization.yaml"}
