"""The files of manifests/audit agree with each other and with what the intake takes."""

from pathlib import Path
from typing import Any

import yaml

from firebreak.intake.listener import SHARE
from firebreak.intake.runtime import AUDIT
from firebreak.intake.settings import IntakeSettings

MANIFESTS = Path(__file__).parents[2] / "manifests"
AUDITING = MANIFESTS / "audit"
CONFIG, LOG = "/etc/kubernetes/audit", "/var/log/kubernetes/audit"


def read(name: str) -> Any:
    """A YAML file of the audit set-up."""
    return yaml.safe_load((AUDITING / name).read_text())


def arguments() -> dict[str, str]:
    """The API server's arguments about auditing."""
    listed = read("kubeadm.yaml")["apiServer"]["extraArgs"]
    assert len({each["name"] for each in listed}) == len(listed)
    return {each["name"]: each["value"] for each in listed}


def test_kind_gets_the_arguments_and_volumes_of_kubeadm() -> None:
    (node,) = read("kind.yaml")["nodes"]
    (patch,) = node["kubeadmConfigPatches"]
    server = yaml.safe_load(patch)["apiServer"]
    assert server["extraArgs"] == arguments()
    assert server["extraVolumes"] == read("kubeadm.yaml")["apiServer"]["extraVolumes"]
    assert [each["containerPath"] for each in node["extraMounts"]] == [CONFIG, LOG]


def test_every_file_that_the_api_server_is_told_of_lies_in_a_folder_that_it_sees() -> None:
    seen = {each["mountPath"]: each["readOnly"] for each in read("kubeadm.yaml")["apiServer"]["extraVolumes"]}
    assert seen == {CONFIG: True, LOG: False}
    found = arguments()
    webhook = read("webhook.kubeconfig")
    files = [found["audit-policy-file"], found["audit-webhook-config-file"], webhook["users"][0]["user"]["tokenFile"]]
    files.append(webhook["clusters"][0]["cluster"]["certificate-authority"])
    assert {str(Path(each).parent) for each in files} == {CONFIG}
    assert str(Path(found["audit-log-path"]).parent) == LOG


def test_the_webhook_sends_to_the_intake_s_path_under_the_name_of_its_service() -> None:
    (cluster,) = (each["cluster"] for each in read("webhook.kubeconfig")["clusters"])
    service = yaml.safe_load((MANIFESTS / "components" / "intake" / "service.yaml").read_text())
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert cluster["tls-server-name"] == host
    assert cluster["server"].endswith(f":{service['spec']['ports'][0]['port']}/{AUDIT}")
    assert "insecure-skip-tls-verify" not in cluster


def test_no_batch_that_comes_through_the_webhook_is_too_long_for_the_intake_and_none_comes_too_fast() -> None:
    found, settings = arguments(), IntakeSettings()
    number, longest = (int(found[f"audit-webhook-{name}"]) for name in ("batch-max-size", "truncate-max-event-size"))
    wrapping = 1024  # an EventList around the events
    assert number * longest + wrapping < settings.audit_bytes
    assert int(found["audit-webhook-batch-throttle-qps"]) < settings.rate
    # Each batch under way has a connection of its own.
    assert int(found["audit-webhook-batch-throttle-burst"]) < settings.connections // SHARE


def test_no_event_of_a_request_that_succeeds_is_dropped_for_its_length() -> None:
    """Truncation takes the bodies. What is left is what a caller writes into path, query and headers."""
    headers, escaped = 2**20 + 4096, 6  # bytes that an HTTP server in Go reads; JSON has six bytes for each `&`
    assert headers * escaped < int(arguments()["audit-webhook-truncate-max-event-size"])


def test_the_network_policy_lets_api_servers_reach_the_port_of_the_intake_s_pods() -> None:
    policy = read("networkpolicy.yaml")
    (document,) = yaml.safe_load_all((MANIFESTS / "components" / "intake" / "deployment.yaml").read_text())
    ports = {
        each["name"]: each["containerPort"] for each in document["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert policy["spec"]["podSelector"] == document["spec"]["selector"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": ports["alerts"]}]
    assert all("ipBlock" in each for each in rule["from"])
