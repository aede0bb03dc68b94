"""The deployed operator posts to a server beside it, named by the Secret that users make; a SIEM reads its stdout."""

import json
from collections.abc import Iterator

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import Object, Place, container, place, pod
from installed import restart
from shop import address
from shop_objects import IMAGE

SECRET = "firebreak-outgoing"
TOKEN = "Bearer of-the-receiver"
# Takes every post, the second one only when it comes again; says each with its header on one line.
SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    seen = 0
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.seen += 1
        code = 503 if Handler.seen == 2 else 200
        told = {"path": self.path, "token": self.headers["Authorization"], "type": self.headers["Content-Type"]}
        print(json.dumps({**told, "code": code, "body": body}), flush=True)
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def receiver() -> Object:
    made = pod("receiver", {"name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent"})
    made["spec"]["containers"][0] |= {
        "command": ["python3", "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return made


@pytest.fixture(scope="module")
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "notifications") as found:
        yield found


@pytest.fixture(scope="module")
def posting(where: Place, firebreak: str, kubectl: Kubectl) -> Iterator[None]:
    """Firebreak started with a Secret that names the receiver, and without one afterwards."""
    where.apply(receiver())
    server = f"http://{address(kubectl, where.namespace, 'receiver')}:8080"
    literals = {
        "FIREBREAK_CLUSTER": "e2e",
        "FIREBREAK_ECS_FILE": "-",
        "FIREBREAK_CLOUDEVENTS_URL": f"{server}/events/secret-path",
        "FIREBREAK_CLOUDEVENTS_HEADER": f"Authorization: {TOKEN}",
        "FIREBREAK_NOTIFY_URL": f"{server}/services/secret-path",
        "FIREBREAK_NOTIFY_HEADER": f"Authorization: {TOKEN}",
        "FIREBREAK_NOTIFY_FORMAT": "json",
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": literals}
    kubectl("apply", "-n", firebreak, "-f", "-", stdin=json.dumps(secret))
    restart(kubectl)
    yield
    kubectl("delete", "secret", SECRET, "-n", firebreak, "--ignore-not-found")
    restart(kubectl)


@pytest.fixture(scope="module")
def cut(where: Place, posting: None, cut_playbook: str) -> None:
    """An incident whose pod is cut off."""
    where.apply(pod("web", container("touch /ready; exec sleep 1000000")))
    where.ready("pod/web")
    where.open("shell", "web", playbook=cut_playbook)
    where.condition("shell", "Contained", "True/Enforced")


def taken(where: Place, kubectl: Kubectl, path: str) -> list[Object]:
    """What the server took at one of its addresses, with whatever secret behind it."""
    posts = [json.loads(line) for line in kubectl("logs", "receiver", "-n", where.namespace).splitlines()]
    assert {post["token"] for post in posts} <= {TOKEN}
    return [post for post in posts if post["path"] == f"/{path}/secret-path" and post["code"] == 200]


def logs(firebreak: str, kubectl: Kubectl) -> list[str]:
    """What both replicas wrote."""
    return kubectl("logs", "-n", firebreak, "-l", "app.kubernetes.io/name=firebreak", "--tail=-1").splitlines()


@pytest.mark.slow
def test_an_incident_is_posted_with_its_sentence_and_no_url_is_logged(
    where: Place, cut: None, firebreak: str, kubectl: Kubectl
) -> None:
    def told() -> list[Object]:
        bodies = [post["body"] for post in taken(where, kubectl, "services")]
        return [body for body in bodies if body["incident"]["name"] == "shell"]

    def contained() -> bool:
        return any(c["type"] == "Contained" and c["status"] == "True" for body in told() for c in body["conditions"])

    wait_until(contained, timeout=60, otherwise=lambda: f"that the pod is cut was not posted: {told()}")
    assert told()[0]["event"] == "opened"
    assert any(body["message"].startswith("Cut off since ") for body in told())
    written = "".join(logs(firebreak, kubectl))
    assert "secret-path" not in written
    assert TOKEN not in written


@pytest.mark.slow
def test_a_siem_gets_the_same_as_cloud_events_and_as_lines(
    where: Place, cut: None, firebreak: str, kubectl: Kubectl
) -> None:
    def events() -> list[Object]:
        posts = [post for post in taken(where, kubectl, "events") if post["body"]["subject"].endswith("/shell")]
        assert {post["type"] for post in posts} <= {"application/cloudevents+json; charset=UTF-8"}
        return [post["body"] for post in posts]

    def is_cut(event: Object) -> bool:
        labels = event["data"]["labels"]
        return (labels.get("condition"), labels.get("status")) == ("Contained", "True")

    wait_until(
        lambda: any(map(is_cut, events())),
        timeout=60,
        otherwise=lambda: f"that the pod is cut is no CloudEvent: {events()}",
    )
    assert events()[0]["type"] == "dev.firebreak.incident.opened"
    assert {event["source"] for event in events()} == {"https://firebreak.dev/clusters/e2e"}
    documents = [json.loads(line) for line in logs(firebreak, kubectl) if line.startswith('{"ecs":')]
    lines = {document["event"]["id"]: document for document in documents}
    assert {event["id"]: event["data"] for event in events()}.items() <= lines.items()
    (found,) = [event["data"] for event in events() if is_cut(event)]
    assert found["orchestrator"] == {
        "type": "kubernetes",
        "cluster": {"name": "e2e"},
        "namespace": where.namespace,
        "resource": {"type": "pods", "name": "web"},
    }
