"""The audit set-up as manifests/audit ships it: a real API server takes it, and what it sends becomes an Incident."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from bare import BareApi, bare_api, free_ports, program
from cluster import pki, process
from cluster.waiting import wait_until
from firebreak.intake.opening import ALERT
from receiving import HOST, TOKEN, as_process
from scraping import Scrape, parsed

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "manifests" / "audit"
CONFIG, LOG = "/etc/kubernetes/audit", "/var/log/kubernetes/audit"
SERVICE = "https://10.96.0.50:443"
SWORDFISH = "c3dvcmRmaXNo"  # "swordfish", as a Secret has it


@dataclass(frozen=True)
class Audited:
    """An API server with the shipped set-up, and the intake that it sends to."""

    api: BareApi
    log: Path
    alerts: int
    probes: int

    def metrics(self) -> Scrape:
        """What the intake tells Prometheus."""
        with closing(HTTPConnection("127.0.0.1", self.probes, timeout=10)) as line:
            line.request("GET", "/metrics")
            return parsed(line.getresponse().read().decode())

    def events(self) -> list[dict[str, Any]]:
        """The events of the log file, so far as their lines are whole."""
        *lines, _ = self.log.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines]

    def lines(self, name: str) -> list[str]:
        """The lines of the log about an object of this name that was made."""
        return [line for line in self.log.read_text().splitlines() if f'"name":"{name}"' in line and '"create"' in line]

    def send(self, body: str) -> int:
        """Send something to the intake as a shipper does, and return the answer's code."""
        trust = ssl.create_default_context(cafile=str(self.log.parents[1] / "ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", self.alerts), timeout=10) as plain,
            trust.wrap_socket(plain, server_hostname=HOST) as secured,
            closing(HTTPConnection(HOST)) as line,
        ):
            line.sock = secured
            line.request("POST", "/audit", body.encode(), {"Authorization": f"Bearer {TOKEN}"})
            return line.getresponse().status

    def opened(self, rule: str) -> list[dict[str, Any]]:
        """The incidents that a rule opened."""
        found = json.loads(self.api.kubectl("get", "incidents", "--all-namespaces", "-o", "json"))["items"]
        return [each for each in found if json.loads(each["metadata"]["annotations"][ALERT])["rule"] == rule]

    def until_opened(self, rule: str) -> None:
        """Wait for an incident of a rule."""
        wait_until(lambda: self.opened(rule), timeout=30, otherwise=f"{rule} opened no incident")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    alerts, probes = free_ports(2)
    flags = _set_up(folder, alerts)
    with bare_api(folder, flags) as api:
        api.kubectl("apply", "-k", str(ROOT / "crds"))
        api.kubectl("create", "namespace", "firebreak")
        with _intake(folder, api, alerts, probes):
            yield Audited(api, folder / "log" / "audit.log", alerts, probes)


def _set_up(folder: Path, port: int) -> list[str]:
    """Put the shipped files in their places, and return the flags that kubeadm would give the API server.

    Only the folders differ, and the address of the intake.
    """
    config, log = folder / "config", folder / "log"
    config.mkdir()
    log.mkdir()
    places = {CONFIG: str(config), LOG: str(log), SERVICE: f"https://127.0.0.1:{port}"}

    def moved(text: str) -> str:
        for shipped, here in places.items():
            text = text.replace(shipped, here)
        return text

    for name in ("policy.yaml", "webhook.kubeconfig"):
        (config / name).write_text(moved((SHIPPED / name).read_text()))
    (config / "intake-token").write_text(TOKEN)
    pki.authority(folder, "ca", "intake-ca")
    (config / "intake-ca.crt").write_bytes((folder / "ca.crt").read_bytes())
    wanted = yaml.safe_load((SHIPPED / "kubeadm.yaml").read_text())["apiServer"]["extraArgs"]
    return [f"--{each['name']}={moved(each['value'])}" for each in wanted]


@contextmanager
def _intake(folder: Path, api: BareApi, alerts: int, probes: int) -> Iterator[None]:
    """The intake, with TLS and a token that is good for audit events only."""
    log = folder / "intake.log"
    command, env = as_process(folder, api.kubeconfig, port=alerts, probes=probes, sender="apiserver.audit")
    with program(command, log, env) as running:
        wait_until(
            lambda: running.poll() is not None or "listening" in log.read_text(),
            timeout=20,
            otherwise=lambda: f"the intake does not listen; its log ends:\n{process.tail(log)}",
        )
        assert running.poll() is None, process.tail(log)
        yield


def test_an_attack_that_the_api_server_reports_becomes_an_incident(audited: Audited) -> None:
    audited.api.kubectl("create", "clusterrolebinding", "eve", "--clusterrole=cluster-admin", "--user=eve")
    audited.until_opened("cluster-admin-bound")
    (found,) = audited.opened("cluster-admin-bound")
    assert found["spec"]["source"] == "audit"
    assert audited.metrics().value("firebreak_intake_audit_malformed_total") == 0


def test_no_value_of_a_secret_and_no_token_is_in_the_log(audited: Audited) -> None:
    kubectl = audited.api.kubectl
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "data": {"password": SWORDFISH}}
    kubectl("create", "--filename", "-", stdin=json.dumps(secret))
    kubectl("annotate", "secret", "database", "a=b")
    kubectl("patch", "secret", "database", "--patch", json.dumps({"stringData": {"password": "swordfish"}}))
    kubectl("get", "secrets", "--output", "yaml")
    kubectl("create", "configmap", "settings", f"--from-literal=password={SWORDFISH}")
    kubectl("create", "serviceaccount", "web")
    token = kubectl("create", "token", "web").strip()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    assert json.loads(kubectl("create", "--filename", "-", "--output", "json", stdin=json.dumps(review)))["status"][
        "authenticated"
    ]
    kubectl("delete", "secret", "database")

    kept = {(each["verb"], each["level"]) for each in audited.events() if about(each, "secrets", "database")}
    assert kept == {("create", "Metadata"), ("get", "Metadata"), ("patch", "Metadata"), ("delete", "Metadata")}
    assert {each["level"] for each in audited.events() if about(each, "serviceaccounts", "web", "token")} == {
        "Metadata"
    }
    text = audited.log.read_text()
    assert "tokenreviews" in text
    assert [value for value in (SWORDFISH, "swordfish", token, token.rpartition(".")[2]) if value in text] == []


def test_the_longest_events_that_a_caller_can_make_push_no_other_out_and_are_told(audited: Audited) -> None:
    """Six bytes stand for each `<` and `&`. etcd takes 1.5 MiB of a pod, which is kept twice, HTTP 1 MiB of a path."""
    padding = {"name": "PADDING", "value": "<" * 1_500_000}
    app = {"name": "app", "image": "busybox:1.35", "securityContext": {"privileged": True}, "env": [padding]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "long"}, "spec": {"containers": [app]}}
    created = audited.api.ask("POST", f"/api/v1/namespaces/default/pods?{'&' * 900_000}", pod)
    assert created == HTTPStatus.CREATED
    audited.api.kubectl("create", "clusterrole", "all", "--verb=*", "--resource=*.*")
    audited.until_opened("wildcard-role")
    audited.until_opened("bodies-left-out")
    (length,) = (len(line) for line in audited.log.read_bytes().split(b"\n") if b'"name":"long"' in line)
    assert length > 23_000_000
    assert audited.metrics().value("firebreak_intake_refused_total", reason="size") == 0


@pytest.mark.parametrize("shipper", ["vector", "fluent-bit"])
def test_a_line_of_the_log_opens_an_incident_as_a_shipper_sends_it(audited: Audited, shipper: str) -> None:
    """As their to-intake.yaml say. It is another call by somebody else, for of this one the webhook has told."""
    audited.api.kubectl("create", "clusterrolebinding", shipper, "--clusterrole=cluster-admin", f"--user={shipper}")
    wait_until(lambda: audited.lines(shipper), timeout=10, otherwise="it is not in the log")
    (line,) = audited.lines(shipper)
    line = line.replace('"auditID":"', '"auditID":"other-').replace('"administrator"', f'"mallory-{shipper}"')
    body = line if shipper == "vector" else json.dumps({"log": line})
    assert audited.send(f"{body}\n") == HTTPStatus.OK
    wait_until(
        lambda: any(f"mallory-{shipper}" in each["spec"]["reason"] for each in audited.opened("cluster-admin-bound")),
        timeout=30,
        otherwise="the line opened no incident",
    )


def test_a_patch_that_cannot_be_written_down_is_counted_and_takes_no_other_event_with_it(audited: Audited) -> None:
    """In a batch without truncation all of them are lost, and nothing counts it (seen on 1.35)."""
    path, apply = "/api/v1/namespaces/default/services/unseen?fieldManager=x", "application/apply-patch+yaml"
    unseen = "apiVersion: v1\nkind: Service\nmetadata: {name: unseen}\nspec: {ports: [{port: 80}]}\n"
    rules = [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "poser"}}
    assert audited.api.ask("PATCH", path, unseen, apply) == HTTPStatus.CREATED
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert audited.api.ask("POST", roles, {**role, "rules": rules}) == HTTPStatus.CREATED
    audited.until_opened("escalation-verbs-granted")
    assert [each["stage"] for each in audited.events() if about(each, "services", "unseen")] == ["RequestReceived"]
    metrics = parsed(audited.api.kubectl("get", "--raw", "/metrics"))
    assert [metrics.value("apiserver_audit_error_total", plugin=each) for each in ("log", "truncate")] == [1, 1]


def about(event: dict[str, Any], resource: str, name: str, subresource: str | None = None) -> bool:
    """Whether an event is about this object."""
    found = event.get("objectRef", {})
    return (found.get("resource"), found.get("name"), found.get("subresource")) == (resource, name, subresource)
