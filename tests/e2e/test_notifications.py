"""The deployed operator posts to a server beside it, named by the Secret that its users make."""

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
        print(json.dumps({"token": self.headers["Authorization"], "code": code, "body": body}), flush=True)
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


@pytest.fixture
def where(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "notifications") as found:
        yield found


@pytest.fixture
def posting(where: Place, firebreak: str, kubectl: Kubectl) -> Iterator[None]:
    """Firebreak started with a Secret that names the receiver, and without one afterwards."""
    where.apply(receiver())
    url = f"http://{address(kubectl, where.namespace, 'receiver')}:8080/services/secret-path"
    literals = {
        "FIREBREAK_NOTIFY_URL": url,
        "FIREBREAK_NOTIFY_HEADER": f"Authorization: {TOKEN}",
        "FIREBREAK_NOTIFY_FORMAT": "json",
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": literals}
    kubectl("apply", "-n", firebreak, "-f", "-", stdin=json.dumps(secret))
    restart(kubectl)
    yield
    kubectl("delete", "secret", SECRET, "-n", firebreak, "--ignore-not-found")
    restart(kubectl)


@pytest.mark.slow
def test_an_incident_is_posted_with_its_sentence_and_no_url_is_logged(
    where: Place, posting: None, firebreak: str, kubectl: Kubectl, cut_playbook: str
) -> None:
    where.apply(pod("web", container("touch /ready; exec sleep 1000000")))
    where.ready("pod/web")
    where.open("shell", "web", playbook=cut_playbook)
    where.condition("shell", "Contained", "True/Enforced")

    def posts() -> list[Object]:
        lines = kubectl("logs", "receiver", "-n", where.namespace).splitlines()
        return [json.loads(line) for line in lines]

    def taken() -> list[Object]:
        return [post["body"] for post in posts() if post["code"] == 200 and post["body"]["incident"]["name"] == "shell"]

    def contained() -> bool:
        return any(c["type"] == "Contained" and c["status"] == "True" for body in taken() for c in body["conditions"])

    wait_until(contained, timeout=60, otherwise=lambda: f"that the pod is cut was not posted: {posts()}")
    assert {post["token"] for post in posts()} == {TOKEN}
    assert taken()[0]["event"] == "opened"
    assert any(body["message"].startswith("Cut off since ") for body in taken())
    logs = kubectl("logs", "-n", firebreak, "-l", "app.kubernetes.io/name=firebreak", "--tail=-1")
    assert "secret-path" not in logs
    assert TOKEN not in logs
