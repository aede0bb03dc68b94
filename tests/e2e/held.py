"""A pod of a Deployment under quarantine, still owned by it; and the words in which the lock refuses."""

from dataclasses import dataclass
from typing import Any

from incidents import Place, account, container, workload
from people import Person
from shop_objects import CUT, incident

SERVE = "touch /ready; exec httpd -f -p 8080 -h /"
# What no role of Kubernetes' own gives, and what somebody may have all the same.
MORE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "more"},
    "rules": [
        {
            "apiGroups": [""],
            "resources": ["pods/ephemeralcontainers", "pods/resize", "pods/status"],
            "verbs": ["get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["bindings", "pods/binding"], "verbs": ["create"]},
        {
            "apiGroups": ["firebreak.dev"],
            "resources": ["incidents", "incidents/status"],
            "verbs": ["get", "list", "patch", "delete", "deletecollection"],
        },
    ],
}
NOT_DELETED = "is under quarantine; it may not be deleted; when its incident is over, lift it with firebreak release"
NOT_ENTERED = "is under quarantine; it may be neither evicted nor entered; when its incident is over, lift it with:"
NOT_RELABELLED = "is under quarantine; its labels may not be changed;"
NOT_REBUILT = "is under quarantine; its spec may not be changed, nor containers added;"
NOT_REPORTED = "is under quarantine; its phase, addresses and containers are its node's to report;"
NOT_ANNOTATED = "is under quarantine; the annotations that keep it may not be changed;"
NOT_FORGED = (
    "firebreak: only Firebreak puts a pod under quarantine: nobody else sets labels quarantine.firebreak.dev/..."
)
NOT_UNLOCKED = "is the quarantine of an incident: only Firebreak makes and changes it; lift it with firebreak release"
STAY = "cluster-autoscaler.kubernetes.io/safe-to-evict"


@dataclass(frozen=True)
class Scene:
    """A held pod, its sibling, and who is after it."""

    at: Place
    victim: str
    sibling: str
    node: str
    uid: str
    """The incident's."""
    people: dict[str, Person]

    def pod(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.at.get("pod", name)
        return found

    def fill(self, words: tuple[str, ...], pod: str) -> tuple[str, ...]:
        """A command about a pod."""
        names = {"POD": pod, "NS": self.at.namespace, "UID": self.uid}
        filled = list(words)
        for key, value in names.items():
            filled = [word.replace(key, value) for word in filled]
        return tuple(filled)


def hold(at: Place, name: str) -> tuple[str, str]:
    """Start two pods of a Deployment and hold one; return the held one and its sibling."""
    at.apply(account("web"), workload("Deployment", "web", container(SERVE), replicas=2, serviceAccountName="web"))
    at.kubectl("rollout", "status", "deployment/web", "--namespace", at.namespace, "--timeout=60s")
    victim, sibling = sorted(pod["metadata"]["name"] for pod in at.get("pods", "--selector", "app=web")["items"])
    at.kubectl("label", "pod", victim, "suspect=true", "--namespace", at.namespace)
    at.apply(incident(name, {"selector": {"matchLabels": {"suspect": "true"}}}, playbook=CUT))
    at.condition(name, "Contained", "True/Enforced")
    assert at.status(name).held == [victim]
    return victim, sibling
