"""What a thief does to secrets, rights and pods: a service account that may do everything, with nothing but kubectl."""

import base64
import json
import socket
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from people import Person

IMAGE = "busybox:1.35"
RBAC = "rbac.authorization.k8s.io"


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
    return _sent(_known(thief)["clusters"][0]["cluster"], "GET", path)


def apply_yaml(thief: Person, path: str, text: str) -> str:
    """Apply YAML on the server's side, as it is; kubectl would make JSON of it."""
    known = _known(thief)
    headers = {
        "Authorization": f"Bearer {known['users'][0]['user']['token']}",
        "Content-Type": "application/apply-patch+yaml",
    }
    return _sent(known["clusters"][0]["cluster"], "PATCH", f"{path}?fieldManager=thief", text, headers)


def _known(thief: Person) -> Any:
    return json.loads(thief("config", "view", "--raw", "--flatten", "--minify", "--output", "json"))


def _sent(server: Any, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> str:
    context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    with closing(HTTPSConnection(urlsplit(server["server"]).netloc, context=context, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
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
