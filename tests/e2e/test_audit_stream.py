"""The API server itself sends its audit events to the deployed intake, and what they show becomes contained pods.

Nobody else hands the events in: without the API server's webhook no test finds the incident that it waits for.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audited import AuditLog, answered, received
from cluster import control
from cluster.provider import AuditReceiver, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, own_namespace
from firebreak.intake.opening import ALERT
from incidents import Object, Place, account, binding, container, place, pod
from installed import until_execs_are_judged
from receiving import LABEL, NAME, NAMESPACE, Intake, deployed, falco, incidents
from shop_objects import IMAGE

pytestmark = pytest.mark.slow

READY = "touch /ready; exec sleep 1000000"
OPERATOR = "system:serviceaccount:firebreak:firebreak"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
BATCH_SECONDS = 40  # a batch that could not be sent is tried again after ten seconds, and fifteen more
ROUTES = """
fallbackNamespace: {namespace}
routes:
  - name: entered
    match: {{source: audit, rule: exec-into-pod, namespace: "stream-*"}}
    mode: Respond
    severity: High
  - name: looted
    match: {{source: audit, rule: secret-enumeration-across-namespaces, namespace: "stream-*"}}
    playbook: {playbook}
    severity: Critical
"""
# What an intruder runs in a pod: requests with the pod's own token, each answered with a code.
CALLS = """
import os, ssl, sys, time, urllib.request
at = "/var/run/secrets/kubernetes.io/serviceaccount/"
trust = ssl.create_default_context(cafile=at + "ca.crt")
headers = {"Authorization": "Bearer " + open(at + "token").read(), "Content-Type": "application/json"}
server = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
for call in sys.argv[1:]:
    path, _, body = call.partition(" ")
    request = urllib.request.Request(server + path, data=body.encode() or None, headers=headers)
    print(urllib.request.urlopen(request, context=trust).status, flush=True)
time.sleep(1000000)
"""


@pytest.fixture(scope="module")
def receiver(cluster: ClusterInfo) -> AuditReceiver:
    if cluster.audit_receiver is None:
        pytest.skip("this cluster's API server sends its audit events to nobody whose place the tests could take")
    return cluster.audit_receiver


@pytest.fixture(scope="module")
def fallback(kubectl: Kubectl) -> Iterator[str]:
    """Where incidents without a target lie."""
    with own_namespace(kubectl, "fallback") as name:
        yield name


@pytest.fixture(scope="module")
def intake(
    firebreak: str,
    receiver: AuditReceiver,
    fallback: str,
    cut_playbook: str,
    kubectl: Kubectl,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Intake]:
    """The intake, which may open incidents of one more playbook than `contain`."""
    rights = [
        {"apiGroups": ["firebreak.dev"], "resources": ["playbooks"], "resourceNames": [cut_playbook], "verbs": ["use"]},
        {"apiGroups": ["firebreak.dev"], "resources": ["incidents"], "verbs": ["respond"]},
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": fallback}}
    bound = binding("ClusterRoleBinding", fallback, fallback, subject(NAMESPACE, NAME))
    kubectl("apply", "-f", "-", stdin=listed({**role, "rules": rights}, bound))
    routes = ROUTES.format(namespace=fallback, playbook=cut_playbook)
    try:
        folder = tmp_path_factory.mktemp("intake")
        running = deployed(kubectl, folder, receiver=receiver, routes=routes, ECS_FILE="-", CLUSTER="e2e")
        with running as found, control.sending_audit_events():
            until_execs_are_judged(kubectl)
            yield found
    finally:
        kubectl("delete", f"clusterrolebinding/{fallback}", f"clusterrole/{fallback}", "--ignore-not-found")
        until_execs_are_judged(kubectl)


@pytest.fixture
def where(intake: Intake, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A namespace of this test's own; what was opened goes, so that the breaker forgets it."""
    with place(cluster, kubectl, "stream") as found:
        yield found
        kubectl("delete", "incidents", "--all", "-n", found.namespace, "--wait=false")


def listed(*objects: Object) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def subject(namespace: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def told(incident: Object) -> Any:
    """What the incident says of the alert that raised it."""
    return json.loads(incident["metadata"]["annotations"][ALERT])


def raised(kubectl: Kubectl, namespace: str, rule: str) -> list[Object]:
    """The incidents that a rule raised."""
    return [each for each in incidents(kubectl, namespace) if told(each)["rule"] == rule]


def until_raised(kubectl: Kubectl, namespace: str, rule: str) -> Object:
    wait_until(
        lambda: raised(kubectl, namespace, rule),
        timeout=BATCH_SECONDS,
        otherwise=lambda: f"{rule} raised nothing; there are {[told(each) for each in incidents(kubectl, namespace)]}",
    )
    (found,) = raised(kubectl, namespace, rule)
    return found


def shell(where: Place, name: str) -> None:
    """Start a pod that can be entered."""
    where.apply(pod(name, container(READY)))
    where.ready(f"pod/{name}")


def implant(where: Place, role: str, *calls: str) -> Any:
    """Start a pod whose account has a ClusterRole, and which makes these calls; return it when all were answered."""
    where.apply(account("web"), binding("ClusterRoleBinding", where.namespace, role, subject(where.namespace, "web")))
    may = ("auth", "can-i", "list", "secrets", "-A", f"--as=system:serviceaccount:{where.namespace}:web")
    wait_until(lambda: "yes" in where.kubectl(*may), timeout=10, otherwise="the account did not get its rights")
    intruder = {"name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["python", "-c", CALLS]}
    where.apply(pod("web", {**intruder, "args": list(calls)}, serviceAccountName="web"))
    where.ready("pod/web")
    said = ("logs", "web", "-n", where.namespace)
    wait_until(
        lambda: len(where.kubectl(*said).split()) == len(calls),
        timeout=30,
        otherwise=lambda: f"the pod's calls are not answered: {where.kubectl(*said)}",
    )
    return where.get("pod", "web")


@pytest.fixture
def unbound(where: Place) -> Iterator[None]:
    """Cluster-wide bindings that bear the namespace's name go with it."""
    yield
    for name in (where.namespace, f"{where.namespace}-admin"):
        where.kubectl("delete", "clusterrolebinding", name, "--ignore-not-found")


def milliseconds_to_contained(log: AuditLog, where: Place, is_cause: Callable[[Object], bool]) -> float:
    """From the API server's receipt of what is found to its answer to the later of label and policy."""
    events = list(log.seen(where.namespace))
    begun = next(received(each) for each in events if is_cause(each))
    cut = {
        each["objectRef"]["resource"]: answered(each)
        for each in reversed(events)
        if each["user"]["username"] == OPERATOR
        and (each["verb"], each["objectRef"]["resource"]) in {("patch", "pods"), ("create", "networkpolicies")}
    }
    assert set(cut) == {"pods", "networkpolicies"}
    return (max(cut.values()) - begun).total_seconds() * 1000


def entered(event: Object) -> bool:
    return event["objectRef"].get("subresource") == "exec" and event["user"]["username"] != OPERATOR


def test_a_real_exec_contains_the_pod_that_was_entered(
    where: Place, log: AuditLog, record_property: Callable[[str, object], None]
) -> None:
    shell(where, "web")
    where.exec("web", "true")
    found = until_raised(where.kubectl, where.namespace, "exec-into-pod")
    assert told(found)["route"] == "entered"
    assert found["spec"] == {
        "target": {"pod": "web"},
        "mode": "Respond",
        "playbook": "contain",
        "severity": "High",
        "reason": found["spec"]["reason"],
        "source": "audit",
        "state": "Active",
    }
    assert "pods/exec" in found["spec"]["reason"]
    where.condition(found["metadata"]["name"], "Contained", "True/Enforced")
    record_property("milliseconds from exec to contained", milliseconds_to_contained(log, where, entered))


def test_a_siem_reads_on_stdout_what_the_rules_find(where: Place) -> None:
    shell(where, "web")
    where.exec("web", "true")
    opened = until_raised(where.kubectl, where.namespace, "exec-into-pod")
    written = where.kubectl("logs", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={NAME}", "--tail=-1").splitlines()
    findings = [json.loads(line) for line in written if line.startswith('{"ecs":')]
    (found,) = [each for each in findings if each["orchestrator"].get("namespace") == where.namespace]
    assert found["rule"]["id"] == "exec-into-pod"
    assert found["user"] == {"name": "kubernetes-admin"}
    assert found["orchestrator"]["cluster"] == {"name": "e2e"}
    assert found["orchestrator"]["resource"] == {"type": "pods", "name": "web"}
    assert found["labels"]["audit_ids"] == told(opened)["auditIDs"]


def test_secrets_read_across_namespaces_from_inside_a_pod_contain_that_pod(
    where: Place, log: AuditLog, unbound: None, record_property: Callable[[str, object], None]
) -> None:
    others = ("default", "kube-system", "kube-public", "kube-node-lease", where.namespace)
    running = implant(where, "cluster-admin", *(f"/api/v1/namespaces/{each}/secrets" for each in others))
    found = until_raised(where.kubectl, where.namespace, "secret-enumeration-across-namespaces")
    assert told(found)["route"] == "looted"
    wanted = ({"pod": "web"}, running["metadata"]["uid"], "cut", "Critical", "Respond")
    assert tuple(found["spec"][key] for key in ("target", "podUID", "playbook", "severity", "mode")) == wanted
    where.condition(found["metadata"]["name"], "Contained", "True/Enforced")
    last = f"/api/v1/namespaces/{others[-1]}/secrets"
    record_property(
        "milliseconds from the fifth namespace to contained",
        milliseconds_to_contained(log, where, lambda event: event["requestURI"] == last),
    )


def test_a_cluster_admin_binding_contains_the_pod_that_made_it_and_plans_about_a_person(
    where: Place, fallback: str, unbound: None
) -> None:
    made = binding("ClusterRoleBinding", f"{where.namespace}-admin", "cluster-admin", {"kind": "User", "name": "eve"})
    for each in made["subjects"]:
        each["apiGroup"] = "rbac.authorization.k8s.io"
    running = implant(where, "cluster-admin", f"{RBAC}/clusterrolebindings {json.dumps(made)}")
    found = until_raised(where.kubectl, where.namespace, "cluster-admin-bound")
    assert (found["spec"]["target"], found["spec"]["podUID"]) == ({"pod": "web"}, running["metadata"]["uid"])
    assert (found["spec"]["playbook"], found["spec"]["mode"], told(found)["route"]) == ("contain", "Respond", "default")
    where.condition(found["metadata"]["name"], "Contained", "True/Enforced")
    # The binding that gave the account its rights was a person's, who has no pod.
    by_person = until_raised(where.kubectl, fallback, "cluster-admin-bound")
    assert (by_person["spec"].get("target"), by_person["spec"]["mode"]) == (None, "Plan")
    assert "kubernetes-admin" in by_person["spec"]["reason"]


def lines(log: Path, *words: str) -> list[Any]:
    """The events whose line in the log has these words."""
    return [json.loads(line) for line in log.read_text().splitlines() if all(word in line for word in words)]


def batch(events: list[Any]) -> Object:
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events}


def test_events_that_are_sent_again_make_no_second_incident(
    intake: Intake, receiver: AuditReceiver, where: Place, cluster: ClusterInfo
) -> None:
    shell(where, "web")
    where.exec("web", "true")
    found = until_raised(where.kubectl, where.namespace, "exec-into-pod")["metadata"]["name"]
    where.condition(found, "Contained", "True/Enforced")
    assert cluster.audit_log
    again = lines(cluster.audit_log, where.namespace, "/exec?")
    assert told(where.get("incident", found))["auditIDs"][0] in {event["auditID"] for event in again}

    def replay() -> None:
        before = intake.total("audit_events_total")
        for address in intake.replicas().values():
            for _ in range(2):
                assert intake.post("audit", batch(again), to=address, token=receiver.token).status == 200
        wait_until(
            lambda: intake.total("audit_events_total") >= before + 4 * len(again) and not intake.total("waiting"),
            timeout=30,
            otherwise="the intake does not look at what was sent",
        )

    replay()
    assert len(raised(where.kubectl, where.namespace, "exec-into-pod")) == 1
    closing = {"spec": {"state": "Closed", "verdict": "Exercise"}}
    where.kubectl("patch", "incident", found, "-n", where.namespace, "--type=merge", "-p", json.dumps(closing))
    where.wait(f"incident/{found}", "jsonpath={.status.phase}=Closed")
    replay()
    assert [each["metadata"]["name"] for each in raised(where.kubectl, where.namespace, "exec-into-pod")] == [found]


def test_a_forged_batch_opens_nothing(intake: Intake, receiver: AuditReceiver, where: Place) -> None:
    shell(where, "web")
    shell(where, "db")
    forged = batch(
        [
            {
                "auditID": "a",
                "verb": "get",
                "stage": "ResponseComplete",
                "user": {"username": "mallory"},
                "objectRef": {"resource": "pods", "subresource": "exec", "namespace": where.namespace, "name": "web"},
                "responseStatus": {"code": 101},
            }
        ]
    )
    assert intake.post("audit", forged, token="").status == 401
    assert intake.post("audit", forged, token="a-guess-at-the-token").status == 401
    assert intake.post("audit", forged, certificate="eve").status == 403
    # The API server's token is for audit events: who steals it from the node sends no alert of Falco's.
    assert intake.post("falco", falco(where.namespace, "web"), token=receiver.token).status == 403
    where.exec("db", "true")
    found = until_raised(where.kubectl, where.namespace, "exec-into-pod")
    assert found["spec"]["target"] == {"pod": "db"}
    assert len(incidents(where.kubectl, where.namespace)) == 1


def test_what_was_done_while_the_intake_was_away_is_told_when_it_is_back(intake: Intake, where: Place) -> None:
    shell(where, "web")
    at = ("--namespace", NAMESPACE)
    where.kubectl("scale", f"deployment/{NAME}", *at, "--replicas=0")
    where.kubectl("wait", "pod", *at, f"--selector={LABEL}", "--for=delete", "--timeout=90s")
    where.exec("web", "true")
    where.kubectl("scale", f"deployment/{NAME}", *at, "--replicas=2")
    where.kubectl("rollout", "status", f"deployment/{NAME}", *at, "--timeout=120s")
    found = until_raised(where.kubectl, where.namespace, "exec-into-pod")
    where.condition(found["metadata"]["name"], "Contained", "True/Enforced")
