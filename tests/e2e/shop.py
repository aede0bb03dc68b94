"""A small shop on a real cluster, broken into: what the end-to-end tests attack, and how they look at an incident.

Every pod of the Deployment `web` serves its own name over HTTP and talks to the intruder's command and control, once
over a connection that stays open (`/beacon/stream` grows with every line that comes back) and again and again over new
ones (`/beacon/knocks`). The files lie outside of the paths that are captured, so that evidence does not change while it
is read. The pods run as the account `web`, which may read config maps and the Secret `database`; that one is opted in
for rotation and reaches the pods as the variable DB_PASSWORD.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.commands import run
from cluster.waiting import wait_until
from installed import Kubectl

IMAGE = "firebreak:dev"  # has a Python, which the intruder's server is written in
PORT = 8080
C2_PORT = 4444

# Says every line back, on as many connections as there are.
ECHO = f"""
import asyncio
async def echo(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def main():
    async with await asyncio.start_server(echo, "0.0.0.0", {C2_PORT}) as server:
        await server.serve_forever()
asyncio.run(main())
"""

# {c2} is an address: the cluster may have no name service.
BEACON = """
mkdir -p /beacon
hostname > /srv/www/index.html
while :; do
  while echo alive; do usleep 50000; done | nc {c2} {port} >> /beacon/stream
  usleep 100000
done &
while :; do
  echo knock | timeout 1 nc {c2} {port} >> /beacon/knocks
  usleep 50000
done &
exec httpd -f -p {http} -h /srv/www
"""


@dataclass(frozen=True)
class Talk:
    """How many lines came back from the command and control so far."""

    stream: int
    knocks: int


def listener(name: str) -> dict[str, Any]:
    """The intruder's command and control: a pod that says every line back."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "listen",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", ECHO],
                    "readinessProbe": {"tcpSocket": {"port": C2_PORT}, "periodSeconds": 1},
                }
            ],
        },
    }


def pod_spec(c2: str) -> dict[str, Any]:
    """What a pod of the shop runs; `c2` is the address of the command and control."""
    script = BEACON.format(c2=c2, port=C2_PORT, http=PORT)
    return {
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "app",
                "image": "busybox:1.35",
                "imagePullPolicy": "IfNotPresent",
                "workingDir": "/srv/www",
                "command": ["sh", "-c", script],
                "ports": [{"containerPort": PORT}],
                "env": [
                    {
                        "name": "DB_PASSWORD",
                        "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}},
                    }
                ],
                "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
            }
        ],
    }


def manifests(c2: str, *, replicas: int = 2) -> list[dict[str, Any]]:
    """The shop: account with rights, a secret opted in for rotation, Deployment and Service."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(c2)}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["database"], "verbs": ["get"]},
    ]
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}},
        {"apiVersion": rbac, "kind": "Role", "metadata": {"name": "web"}, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": {"name": "web"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
            "subjects": [{"kind": "ServiceAccount", "name": "web"}],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", "annotations": {"firebreak.dev/rotate": '{"password": {"length": 24}}'}},
            "stringData": {"password": "swordfish"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]},
        },
    ]


def incident(name: str, target: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """An Incident about a target, such as {"pod": NAME}; `spec` adds fields such as playbook."""
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name},
        "spec": {"target": target, **spec},
    }


@dataclass(frozen=True)
class Shop:
    """A namespace with things in it, and how to look at them. The shop itself opens with `open`."""

    kubectl: Kubectl
    namespace: str
    c2: str
    """The address of the command and control."""
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the shop's namespace."""
        return self.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def firebreak(self, *arguments: str) -> str:
        """Run the `firebreak` command in the shop's namespace, as the cluster's administrator."""
        general = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        return run([sys.executable, "-m", "firebreak", *general, *arguments], timeout=120)

    def get(self, *what: str) -> dict[str, Any]:
        """Read an object, or a list, as JSON."""
        found: dict[str, Any] = json.loads(self.run("get", *what, "--output", "json"))
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects client-side, as a person does."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--filename", "-", stdin=json.dumps(listed))

    def open(self, *, replicas: int = 2) -> None:
        """Open the shop and return when all its pods are ready and talk to the command and control."""
        self.apply(*manifests(self.c2, replicas=replicas))
        self.run("rollout", "status", "deployment/web", "--timeout=90s")
        for pod in self.pods():
            self.talks(pod)

    def bystander(self) -> str:
        """Start a pod that talks as the shop's pods do and has nothing else in common with them; return its name."""
        spec = pod_spec(self.c2) | {"serviceAccountName": "default"}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bystander"}, "spec": spec})
        address(self.kubectl, self.namespace, "bystander")
        return "bystander"

    def pods(self, selector: str = "app=web") -> list[str]:
        """The names of the pods with these labels that are not on their way out."""
        found = [item["metadata"] for item in self.get("pods", "--selector", selector)["items"]]
        return sorted(metadata["name"] for metadata in found if "deletionTimestamp" not in metadata)

    def exec(self, pod: str, *command: str) -> str:
        """Run a command in a pod: quarantine does not stop that."""
        return self.run("exec", pod, "--", *command)

    def talk(self, pod: str) -> Talk:
        """Read how much a pod has heard from the command and control so far."""
        text = self.exec(pod, "sh", "-c", "wc -l < /beacon/stream; wc -l < /beacon/knocks")
        stream, knocks = text.split()
        return Talk(int(stream), int(knocks))

    def talks(self, pod: str, *, lines: int = 1, seconds: float = 30) -> None:
        """Wait until so many more lines came back to a pod over each kind of connection."""
        before = self._begun(pod, seconds)

        def more() -> bool:
            now = self.talk(pod)
            return min(now.stream - before.stream, now.knocks - before.knocks) >= lines

        words = f"pod {pod} hears nothing from {self.c2}"
        wait_until(more, timeout=seconds, otherwise=words)

    def silent(self, pod: str, *, control: str, seconds: float = 20) -> None:
        """Wait until a pod hears nothing any more over either kind of connection while another one does hear."""

        def heard_nothing() -> bool:
            before = self.talk(pod)
            self.talks(control, lines=15, seconds=seconds)
            return self.talk(pod) == before

        wait_until(heard_nothing, timeout=seconds, otherwise=f"pod {pod} still hears from {self.c2}")

    def reconnect(self, pod: str) -> None:
        """End a pod's connections to the command and control; it makes new ones at once.

        What was sent while it was cut is sent again ever more rarely: the old connection may take long to come back.
        """
        self.exec(pod, "killall", "nc")

    def reaches(self, pod: str, ip: str) -> bool:
        """Whether a pod gets an answer from another pod of the shop, over a new connection."""
        request = f"timeout 2 wget -q -O /dev/null http://{ip}:{PORT}/ && echo yes || echo no"
        return self.exec(pod, "sh", "-c", request).strip() == "yes"

    def _begun(self, pod: str, seconds: float) -> Talk:
        ready = "test -s /beacon/stream && test -s /beacon/knocks && echo yes || true"
        words = f"pod {pod} never reached the command and control at {self.c2}"
        wait_until(lambda: self.exec(pod, "sh", "-c", ready), timeout=seconds, otherwise=words)
        return self.talk(pod)

    def raise_incident(self, name: str, target: dict[str, Any], **spec: Any) -> None:
        """Apply an Incident."""
        self.apply(incident(name, target, **spec))

    def await_condition(self, name: str, condition: str, value: str = "True", *, seconds: int = 60) -> dict[str, Any]:
        """Wait with `kubectl wait` until an incident's condition has a value; return the condition."""
        wanted = f"--for=condition={condition}={value}"
        try:
            self.run("wait", wanted, f"incident/{name}", f"--timeout={seconds}s")
        except Exception as error:
            error.add_note(json.dumps(self.status(name), indent=1))
            raise
        return self.condition(name, condition)

    def await_reason(self, name: str, condition: str, reason: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until an incident's condition has a reason; return the condition."""
        wait_until(
            lambda: self.condition(name, condition).get("reason") == reason,
            timeout=seconds,
            otherwise=lambda: f"{condition} never became {reason}: {json.dumps(self.status(name), indent=1)}",
        )
        return self.condition(name, condition)

    def status(self, name: str) -> dict[str, Any]:
        """An incident's status, empty while there is none."""
        status: dict[str, Any] = self.get("incident", name).get("status", {})
        return status

    def condition(self, name: str, condition: str) -> dict[str, Any]:
        """An incident's condition, empty while it was never observed."""
        found = self.status(name).get("conditions", [])
        return next((each for each in found if each["type"] == condition), {})

    def uid(self, name: str) -> str:
        """An incident's uid: its label key and policy are named for it."""
        uid: str = self.get("incident", name)["metadata"]["uid"]
        return uid


def address(kubectl: Kubectl, namespace: str, pod: str) -> str:
    """Wait until a pod is ready; return its address."""
    kubectl("wait", "--namespace", namespace, "--for=condition=Ready", f"pod/{pod}", "--timeout=90s")
    ip = kubectl("get", "pod", pod, "--namespace", namespace, "--output", "jsonpath={.status.podIP}")
    assert re.fullmatch(r"[0-9a-f.:]+", ip), f"pod {pod} is ready without an address: {ip!r}"
    return ip
