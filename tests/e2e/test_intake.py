"""Alerts from outside become contained pods on a real cluster, and nothing else gets in."""

import base64
import json
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from audited import AuditLog
from cluster import control
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.model.names import LAST_SEEN, REPEATS
from incidents import Door, Object, Place, container, place, pod
from receiving import (
    HOST,
    NAME,
    PORT,
    PROPAGATION,
    TOKEN,
    Intake,
    alertmanager,
    deployed,
    falco,
    incidents,
    now,
    served,
    until_opened,
)
from thefts import GROUP
from thief import CORE, RBAC_SAYS, ROLES, Attempt, Thief, labels, on

pytestmark = pytest.mark.slow

READY = "touch /ready; exec sleep 1000000"
POLICY = "ValidatingAdmissionPolicy 'firebreak-intake'"
ANY = "denied request: firebreak"  # where several policies refuse, the API server names any of them
MIB = 2**20
ACCOUNT = f"system:serviceaccount:firebreak:{NAME}"
MINE = "falco-0123456789abcdef0123"
ROUTES = """
fallbackNamespace: firebreak
routes: [{name: attacks, match: {source: alertmanager, rule: Miner}, mode: Respond}]
"""


@pytest.fixture(scope="module")
def intake(firebreak: str, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    folder = tmp_path_factory.mktemp("intake")
    with deployed(kubectl, folder, routes=ROUTES, BODY_SECONDS=2, HEAD_SECONDS=3) as found:
        yield found


@pytest.fixture
def where(intake: Intake, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A namespace of this test's own; what it opened goes, so that the breaker forgets it."""
    with place(cluster, kubectl, "intake") as found:
        yield found
        kubectl("delete", "incidents", "--all", "-n", found.namespace, "--wait=false")


def contained(where: Place, found: Object, seconds: int = 60) -> None:
    where.condition(found["metadata"]["name"], "Contained", "True/Enforced", seconds=seconds)


def test_an_alert_of_falco_s_contains_a_real_pod(intake: Intake, where: Place) -> None:
    where.apply(pod("web", container(READY)))
    where.ready("pod/web")
    assert intake.post("falco", falco(where.namespace, "web")).status == 202
    (found,) = until_opened(where.kubectl, where.namespace)
    assert found["spec"] == {
        "target": {"pod": "web"},
        "mode": "Respond",
        "playbook": "contain",
        "severity": "High",
        "reason": found["spec"]["reason"],
        "source": "falco",
        "state": "Active",
    }
    contained(where, found)


def test_falco_gets_in_by_its_certificate_and_a_pod_is_found_by_its_container(intake: Intake, where: Place) -> None:
    where.apply(pod("web", container(READY)))
    where.ready("pod/web")
    running = where.get("pod", "web")
    identifier = running["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2][:12]
    fields = {"k8s.ns.name": None, "k8s.pod.name": None, "container.id": identifier}
    alert = falco("", "", hostname=running["spec"]["nodeName"], fields=fields)
    assert intake.post("falco", alert, certificate="eve").status == 403
    assert intake.post("falco", alert, certificate="falco").status == 202
    (found,) = until_opened(where.kubectl, where.namespace)
    assert (found["spec"]["target"], found["spec"]["podUID"]) == ({"pod": "web"}, running["metadata"]["uid"])
    contained(where, found)


def test_a_group_of_alertmanager_s_contains_its_pods_before_it_is_answered_twice(intake: Intake, where: Place) -> None:
    where.apply(*(pod(name, container(READY)) for name in ("web", "db")))
    where.ready("pod/web", "pod/db")
    group = alertmanager(where.namespace, "web", "db")
    answered = intake.post("alertmanager", group)
    assert (answered.status, answered.body["opened"]) == (200, 2)
    assert len(incidents(where.kubectl, where.namespace)) == 2
    for address in intake.replicas().values():
        assert intake.post("alertmanager", group, to=address).body["repeated"] == 2
    for found in incidents(where.kubectl, where.namespace):
        contained(where, found)


def slow(intake: Intake, head: bytes) -> bytes:
    """Begin a request and never end it; return what the intake says, nothing when it closes."""
    trust = ssl.create_default_context(cafile=str(intake.folder / "ca.crt"))
    with (
        socket.create_connection((intake.address, 443), timeout=30) as plain,
        trust.wrap_socket(plain, server_hostname=HOST) as line,
    ):
        line.sendall(head)
        return line.recv(1000)


def test_what_is_forged_replayed_oversized_slow_malformed_or_unknown_opens_nothing_and_costs_no_memory(
    intake: Intake, where: Place
) -> None:
    good = falco(where.namespace, "web")
    assert intake.post("falco", good, token="").status == 401
    assert intake.post("falco", good, token=TOKEN[:-1]).status == 401
    before = intake.memory()
    huge = b'{"rule": "' + b"x" * (2 * MIB)
    refused: dict[str, list[Any]] = {
        "forged": intake.post_all("falco", [good] * 200, token="a-guess-at-the-token"),
        "oversized": intake.post_all("falco", [huge] * 50, at_once=10),
        "malformed": intake.post_all("alertmanager", [b"[" * MIB, b"\xff" * 1000, b'{"alerts": 1}'] * 20, at_once=10),
        "replayed": intake.post_all("falco", [{**good, "time": now(-7200)}] * 20),
    }
    statuses = {name: {each.status for each in answers} for name, answers in refused.items()}
    assert {name: found - {0} for name, found in statuses.items()} == {
        "forged": {401},
        "oversized": {413},
        "malformed": {400},
        "replayed": {202},
    }
    head = f"POST /falco HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    assert slow(intake, head) == b""
    assert slow(intake, head + b"Content-Length: 1000\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: intake.total("waiting") == 0, timeout=30, otherwise="what was refused is kept all the same")
    assert incidents(where.kubectl, where.namespace) == []
    assert intake.total("alerts_total", source="falco", outcome="stale") == 20
    assert intake.total("refused_total", reason="unauthenticated") >= 202
    assert intake.total("buffer_bytes") == 0
    assert intake.memory() - before < 32 * MIB


def writes(log: AuditLog, namespace: str) -> Counter[str]:
    """What the intake wrote to incidents of a namespace, by verb; refused creates included."""
    return Counter(event["verb"] for event in log.seen(namespace, ACCOUNT) if event["verb"] != "get")


def test_ten_thousand_of_one_alert_are_one_incident_and_few_writes(intake: Intake, where: Place, log: AuditLog) -> None:
    alert, addresses = falco(where.namespace, "gone"), list(intake.replicas().values())
    before = intake.memory()
    for number in range(10):
        answers = intake.post_all("falco", [alert] * 1000, to=addresses[number % len(addresses)], at_once=10)
        assert {each.status for each in answers} == {202}

    def counted() -> int:
        (found,) = incidents(where.kubectl, where.namespace)
        return int(found["metadata"]["annotations"].get(REPEATS, "0"))

    wait_until(lambda: counted() == 9999, timeout=60, otherwise=lambda: f"counted {counted()} repeats")
    (found,) = incidents(where.kubectl, where.namespace)
    assert LAST_SEEN in found["metadata"]["annotations"]
    written = writes(log, where.namespace)
    assert written["create"] <= len(addresses)
    assert written["patch"] <= 40
    assert intake.memory() - before < 32 * MIB


def test_a_thousand_different_ones_trip_the_breaker_and_critical_ones_are_contained_all_the_same(
    intake: Intake, where: Place
) -> None:
    names = [f"web-{number}" for number in range(12)]
    idle = {"nodeSelector": {"firebreak.test/node": "none"}}
    where.apply(*(pod(name, container(READY), **idle) for name in (*names, "vault")))
    for name in names:
        assert intake.post("falco", falco(where.namespace, name)).status == 202
    until_opened(where.kubectl, where.namespace, len(names))
    flood = [falco(where.namespace, f"none-{number}", rule=f"Rule {number}") for number in range(1000)]
    answers = intake.post_all("falco", flood)
    assert {each.status for each in answers} == {202}
    assert intake.post("falco", falco(where.namespace, "vault", priority="Critical")).status == 202
    until_opened(where.kubectl, where.namespace, 1000 + len(names) + 1, seconds=240)

    def cut() -> set[str]:
        pods = where.get("pods")["items"]
        return {each["metadata"]["name"] for each in pods if "quarantine" in (each["metadata"].get("labels") or {})}

    wait_until(lambda: "vault" in cut(), timeout=120, otherwise="the critical one is not contained")
    assert len(cut() & set(names)) == 10


def attempts(namespace: str) -> list[Attempt]:
    """What somebody tries who has stolen the intake's token. The incident MINE is one of the intake's."""
    mine, all_of = on(GROUP, "incidents", namespace, MINE), on(GROUP, "incidents", namespace)
    good = opening(namespace)

    def opens(what: str, refused: str = POLICY, *, name: str = "falco-ffffffffffffffffffff", **spec: Any) -> Attempt:
        body = {**good, "metadata": {"name": name}, "spec": {**good["spec"], **spec}}
        return Attempt(what, refused, "POST", all_of, body)

    def changes(what: str, body: Object, refused: str = POLICY) -> Attempt:
        return Attempt(what, refused, "PATCH", mine, body)

    standard = "may not use playbook standard"
    return [
        opens("respond with a stronger playbook", standard, playbook="standard"),
        opens("cut all that has a label", target={"selector": {"matchLabels": {"app": "web"}}}),
        opens("cut a whole workload", target={"workload": {"kind": "Deployment", "name": "web"}}),
        opens("set a guard rail aside", ANY, overrides=["Protected"]),
        opens("open a closed incident", state="Closed", verdict="Exercise"),
        opens("open in the own name", openedBy=ACCOUNT),
        opens("open in nobody's name", ANY, source=""),
        opens("take another format's name", name="audit-ffffffffffffffffffff"),
        opens("take a name of people's", name="web-shell"),
        changes("close an incident", {"spec": {"state": "Closed", "verdict": "FalsePositive"}}),
        changes("override", {"spec": {"overrides": ["BreakerOpen"]}}, ANY),
        changes("aim elsewhere", {"spec": {"severity": "Low"}}),
        changes("label an incident", labels(labels={"a": "b"})),
        changes("hold an incident by a finalizer", labels(finalizers=["intruder.example/stay"])),
        changes("write another annotation", labels(annotations={"a": "b"})),
        changes("rewrite what raised it", labels(annotations={"firebreak.dev/alert": "{}"})),
        changes("count downwards", labels(annotations={REPEATS: "1"})),
        changes("write a story into the count", labels(annotations={REPEATS: "many"})),
        *(
            Attempt(what, RBAC_SAYS, method, path, body)
            for what, method, path, body in (
                ("delete an incident", "DELETE", mine, None),
                ("report", "PATCH", f"{mine}/status", {"status": {"phase": "Closed"}}),
                ("approve", "POST", on(GROUP, "approvals", namespace), {"metadata": {"name": "a"}}),
                ("write a playbook", "POST", f"{GROUP}/playbooks", {"metadata": {"name": "contain-x"}}),
                ("list incidents", "GET", all_of, None),
                ("label a pod", "PATCH", on(CORE, "pods", namespace, "web"), labels(labels={"a": "b"})),
                ("choose an image", "PATCH", on(CORE, "pods", namespace, "web"), {"spec": {"containers": []}}),
                ("delete a pod", "DELETE", on(CORE, "pods", namespace, "web"), None),
                ("run a pod", "POST", on(CORE, "pods", namespace), {"metadata": {"name": "p"}}),
                ("exec", "GET", on(CORE, "pods", namespace, "web/exec"), None),
                ("read a secret", "GET", on(CORE, "secrets", "firebreak", f"{NAME}-tls"), None),
                ("list secrets", "GET", f"{CORE}/secrets", None),
                ("grant itself more", "POST", f"{ROLES}/clusterrolebindings", {"metadata": {"name": "c"}}),
            )
        ),
    ]


def opening(namespace: str) -> Object:
    """An incident as the intake opens it."""
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": MINE, "namespace": namespace},
        "spec": {"target": {"pod": "web"}, "mode": "Plan", "playbook": "contain", "source": "falco"},
    }


def test_a_thief_with_the_intake_s_token_opens_incidents_and_nothing_else(
    intake: Intake, where: Place, cluster: ClusterInfo
) -> None:
    mine = opening(where.namespace)
    where.kubectl("create", "-f", "-", stdin=json.dumps(labelled(mine)))
    token = where.kubectl("create", "token", NAME, "-n", "firebreak", "--duration", "10m").strip()
    door = Door.of(cluster)
    thief = Thief(door.server, door.trust, token)
    told = [(each, thief.tries(each)) for each in attempts(where.namespace)]
    wrong = [
        f"{each.name}: {answer.code} {answer.message}"
        for each, answer in told
        if answer.code not in {403, 422} or each.refused not in answer.message
    ]
    assert wrong == []
    path = on(GROUP, "incidents", where.namespace)
    own = Attempt("open", "", "POST", path, {**mine, "metadata": {"name": "falco-eeeeeeeeeeeeeeeeeeee"}})
    count = labels(annotations={REPEATS: "8", LAST_SEEN: "2026-11-21T12:00:00+00:00"})
    counting = Attempt("count", "", "PATCH", f"{path}/{MINE}", count)
    assert [thief.tries(each).code for each in (own, counting)] == [201, 200]


def labelled(incident: Object) -> Object:
    """The incident with a count."""
    return {**incident, "metadata": {**incident["metadata"], "annotations": {REPEATS: "7"}}}


def test_while_the_api_server_is_away_nothing_is_lost_of_senders_that_come_again_and_nothing_of_those_that_never_do(
    intake: Intake, where: Place, breakable: None
) -> None:
    group, address = alertmanager(where.namespace, "web"), next(iter(intake.replicas().values()))
    with control.stopped("kube-apiserver"):
        assert intake.post("falco", falco(where.namespace, "db"), to=address).status == 202
        refused = intake.post("alertmanager", group, to=address)
        assert (refused.status, refused.body["refused"]) == (503, "unavailable")
    until_opened(where.kubectl, where.namespace, 1, seconds=60)
    wait_until(
        lambda: intake.post("alertmanager", group, to=address).status == 200,
        timeout=60,
        otherwise="the alert that is sent again is not taken",
    )
    targets = sorted(each["spec"]["target"]["pod"] for each in incidents(where.kubectl, where.namespace))
    assert targets == ["db", "web"]


def test_tokens_and_certificates_are_rotated_without_a_restart(intake: Intake, where: Place) -> None:
    before = set(intake.replicas())
    second = served(intake.folder, "second")
    intake.rotate(f"{NAME}-tokens", {"e2e": TOKEN.encode(), "next": b"the-next-token-of-the-tests"})
    intake.rotate(f"{NAME}-tls", second)
    addresses = list(intake.replicas().values())

    def both() -> bool:
        body = falco(where.namespace, "web")
        taken = [intake.post("falco", body, to=each, token="the-next-token-of-the-tests") for each in addresses]
        return all(each.status == 202 for each in taken) and all(shown(intake, each) == second for each in addresses)

    wait_until(both, timeout=PROPAGATION, otherwise="the new token or certificate is not taken")
    assert intake.post("falco", falco(where.namespace, "web")).status == 202
    intake.rotate(f"{NAME}-tokens", {"next": b"the-next-token-of-the-tests"})
    where.kubectl(
        "patch", "secret", f"{NAME}-tokens", "-n", "firebreak", "--type=merge", "-p", '{"data": {"e2e": null}}'
    )

    def gone() -> bool:
        return all(intake.post("falco", falco(where.namespace, "x"), to=each).status == 401 for each in addresses)

    wait_until(gone, timeout=PROPAGATION, otherwise="the token that was taken away still counts")
    intake.token = "the-next-token-of-the-tests"
    assert set(intake.replicas()) == before


def shown(intake: Intake, address: str) -> dict[str, bytes]:
    """The pair in the folder whose certificate a replica shows."""
    trust = ssl.create_default_context(cafile=str(intake.folder / "ca.crt"))
    with (
        socket.create_connection((address, PORT), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=HOST) as line,
    ):
        certificate = ssl.DER_cert_to_PEM_cert(line.getpeercert(binary_form=True) or b"")
    pairs = [served(intake.folder, name) for name in ("first", "second")]
    return next(pair for pair in pairs if body(pair["tls.crt"].decode()) == body(certificate))


def body(pem: str) -> bytes:
    return base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))


def test_preflight_tries_the_fence_of_the_intake_s_account(intake: Intake, where: Place) -> None:
    ran = where.firebreak("preflight", "--no-probe", "-o", "json", "--namespace", "firebreak")
    checks = {each["name"]: each["outcome"] for each in json.loads(ran.out)["checks"]}
    assert checks["guards intake"] == "ok"
