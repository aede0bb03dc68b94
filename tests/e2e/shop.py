"""A small shop on a real cluster, broken into: how the end-to-end tests attack it and look at an incident."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.commands import run
from cluster.waiting import wait_until
from installed import Kubectl
from shop_objects import PORT, incident, manifests, pod_spec


@dataclass(frozen=True)
class Talk:
    """How many lines came back from the command and control so far."""

    stream: int
    knocks: int


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

    def labels(self, pod: str) -> dict[str, str]:
        """A pod's labels."""
        found: dict[str, str] = self.get("pod", pod)["metadata"].get("labels", {})
        return found

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
