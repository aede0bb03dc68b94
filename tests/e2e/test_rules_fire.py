"""Every shipped rule about secrets, tokens, rights and pods fires on what a real attacker's token really does.

The API server writes its log under the shipped audit policy; `firebreak detect` reads it. Who attacks is a service
account with a token of its own that is bound to cluster-admin, so that nothing is filtered as an administrator's.
"""

import base64
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, own_namespace
from people import Person, Registry

ATTACKS = {
    "added-capabilities-pod", "anonymous-access-granted", "anonymous-request-allowed", "built-in-role-changed",
    "cluster-admin-bound", "ephemeral-container-added", "escalation-verbs-granted", "exec-by-service-account",
    "exec-into-pod", "host-namespace-pod", "host-path-pod", "port-forward-to-pod", "privileged-pod",
    "secret-enumeration", "secret-enumeration-across-namespaces", "secrets-listed-everywhere",
    "service-account-token-requested", "service-account-token-secret", "service-account-token-secret-read",
    "system-identity-impersonated", "wildcard-role", "workload-in-kube-system",
}  # fmt: skip
IMAGE = "busybox:1.35"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def log(cluster: ClusterInfo) -> Path:
    """The audit log."""
    if cluster.audit_log is None:
        pytest.skip("this cluster names no audit log: set FIREBREAK_AUDIT_LOG")
    return cluster.audit_log


@pytest.fixture(scope="module")
def thief(
    cluster: ClusterInfo, kubectl: Kubectl, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, int]]:
    """A service account that may do everything, and where the log ended before it got there."""
    start = log.stat().st_size
    with own_namespace(kubectl, "thief") as name:
        kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount={name}:thief")
        try:
            person = Registry(cluster, kubectl, name, tmp_path_factory.mktemp("thief")).person("thief")
            wait_until(lambda: person.may("*", "*"), timeout=10, otherwise="the thief did not get his rights")
            yield person, start
        finally:
            kubectl("delete", "clusterrolebinding", name, "--ignore-not-found")


@pytest.fixture(scope="module")
def fired(
    thief: tuple[Person, int], log: Path, cluster: ClusterInfo, tmp_path_factory: pytest.TempPathFactory
) -> set[str]:
    """The rules that fired on all that the thief did."""
    person, start = thief
    folder = tmp_path_factory.mktemp("audit")
    take_secrets(person)
    take_rights(person)
    start_pods(person)
    enter_a_pod(person, cluster)
    person("create", "configmap", f"{person.namespace}-last")
    wait_until(
        lambda: person.namespace.encode() + b"-last" in log.read_bytes()[start:],
        timeout=20,
        otherwise="the last call is not in the audit log",
    )
    return rules_of(log, start, person.namespace, folder)


@pytest.mark.parametrize("rule", sorted(ATTACKS))
def test_a_rule_fires_on_the_real_thing(rule: str, fired: set[str]) -> None:
    assert rule in fired


def rules_of(log: Path, start: int, mine: str, folder: Path) -> set[str]:
    """What is found in the log from a place on, in lines that name this test's own namespace or account."""
    with log.open("rb") as opened:
        opened.seek(start)
        lines = [line for line in opened if mine.encode() in line]
    part = folder / "audit.log"
    part.write_bytes(b"".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "firebreak", "detect", str(part)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return {json.loads(line)["rule"] for line in done.stdout.splitlines()}


def take_secrets(thief: Person) -> None:
    """Read secrets by name, of several namespaces, and of the whole cluster; get tokens in both ways."""
    own = thief.namespace
    for number in range(15):
        thief("create", "secret", "generic", f"s{number}", "--from-literal=a=b")
    for number in range(14):
        thief("get", "secret", f"s{number}")
    thief("patch", "secret", "s14", "--type=merge", "--patch", "{}")
    for namespace in ("default", "kube-system", "kube-public", "kube-node-lease", own):
        thief("get", "secrets", "--namespace", namespace)
    thief("get", "secrets", "--all-namespaces")
    thief("create", "token", "default")
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "thief-token", "annotations": {"kubernetes.io/service-account.name": "thief"}},
    }
    thief("create", "--filename", "-", stdin=json.dumps(token))
    thief("get", "secret", "thief-token")


def take_rights(thief: Person) -> None:
    """Widen rights in each way that a rule knows: by JSON patches where these say least."""
    own = thief.namespace
    as_who = ("--as=system:kube-scheduler", "--as-group=system:masters")
    thief("get", "pods", *as_who)
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "narrow"}}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    thief("create", "--filename", "-", stdin=json.dumps({**role, "rules": rules}))
    operations = [
        {"op": "add", "path": "/rules/0/verbs/-", "value": "impersonate"},
        {"op": "add", "path": "/rules/-", "value": {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}},
    ]
    thief("patch", "role", "narrow", "--type=json", "--patch", json.dumps(operations))
    thief("create", "rolebinding", "admin-here", "--clusterrole=cluster-admin", "--user=eve")
    thief("create", "role", "readable", "--verb=get", "--resource=configmaps")
    thief("create", "rolebinding", "public", "--role=readable", "--user=system:anonymous")
    thief("create", "configmap", "open")
    path = f"/api/v1/namespaces/{own}/configmaps/open"

    wait_until(
        lambda: '"name":"open"' in anonymous(thief, path), timeout=10, otherwise="nobody may not read what is public"
    )
    thief("annotate", "clusterrole", "view", f"{own}=here")
    thief("annotate", "clusterrole", "view", f"{own}-")


def anonymous(thief: Person, path: str) -> str:
    """Read a path without credentials; kubectl would ask for a name."""
    view = json.loads(thief("config", "view", "--raw", "--flatten", "--minify", "--output", "json"))
    server = view["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    with closing(HTTPSConnection(urlsplit(server["server"]).netloc, context=context, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def start_pods(thief: Person) -> None:
    """Ask for pods that lead to their node: none is scheduled, each is refused by no admission."""
    app = {"name": "app", "image": IMAGE}
    root = {"name": "root", "hostPath": {"path": "/"}}
    specs: dict[str, dict[str, object]] = {
        "privileged": {"containers": [{**app, "securityContext": {"privileged": True}}]},
        "capable": {"containers": [{**app, "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}]},
        "host-pid": {"hostPID": True, "containers": [app]},
        "host-path": {"volumes": [root], "containers": [app]},
    }
    for name, spec in specs.items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
        nowhere = {"no-such": "node"}
        thief("create", "--filename", "-", stdin=json.dumps({**pod, "spec": {**spec, "nodeSelector": nowhere}}))
    where = ("--namespace", "kube-system")
    thief("create", "deployment", thief.namespace, f"--image={IMAGE}", "--replicas=0", *where)
    thief("delete", "deployment", thief.namespace, *where)


def enter_a_pod(thief: Person, cluster: ClusterInfo) -> None:
    """Run a command in a pod, open a tunnel to it, and put a container into it."""
    thief("run", "shell", f"--image={IMAGE}", "--restart=Never", "--", "sleep", "1d")
    thief("wait", "--for=condition=Ready", "pod/shell", "--timeout=30s")
    assert thief("exec", "shell", "--", "echo", "hello") == "hello\n"
    thief("debug", "shell", f"--image={IMAGE}", "--", "true")
    command = [str(cluster.bin / "kubectl"), "--kubeconfig", str(thief.kubeconfig), "--namespace", thief.namespace]
    with subprocess.Popen([*command, "port-forward", "pod/shell", ":80"], stdout=subprocess.PIPE) as forward:
        try:
            assert forward.stdout is not None
            local = int(forward.stdout.readline().split()[2].rsplit(b":", 1)[1])
            socket.create_connection(("127.0.0.1", local), 5).close()
        finally:
            forward.terminate()
