"""The objects of one run of the enforcement probe, and what their statuses mean in words."""

from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.model.change import Ref
from firebreak.model.names import MANAGED_BY, PREFIX

RUN_LABEL = f"{PREFIX}/probe"
ROLE_LABEL = f"{PREFIX}/probe-role"
CUT, FREE = "cut", "free"
PORT = 7373
LIFETIME = 600  # seconds after which kubelet ends a probe pod that nobody removed

# Waiting reasons of kubelet that do not pass by themselves (pkg/kubelet/images, pkg/kubelet/kuberuntime).
HOPELESS = frozenset(
    {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"}
)


@dataclass(frozen=True)
class Run:
    """One run of the probe: where, and with which image. `pull_secrets` are names of Secrets in the namespace."""

    id: str
    namespace: str
    image: str
    pull_secrets: tuple[str, ...] = ()

    def pod(self, role: str) -> Ref:
        """The pod that plays a role."""
        return Ref("Pod", f"firebreak-probe-{self.id}-{role}", self.namespace)

    @property
    def policy(self) -> Ref:
        """The deny-all policy on the cut pod."""
        return Ref("NetworkPolicy", f"firebreak-probe-{self.id}", self.namespace)

    def labels(self, role: str | None = None) -> dict[str, str]:
        """The labels of what belongs to the run."""
        return {**MANAGED_BY, RUN_LABEL: self.id, **({ROLE_LABEL: role} if role else {})}

    def pod_body(self, role: str, peer: str | None = None) -> Json:
        """Return a pod that meets restricted Pod Security, has no token, and prefers a node without its peer."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.pod(role).name, "namespace": self.namespace, "labels": self.labels(role)},
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": LIFETIME,
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "imagePullSecrets": [{"name": name} for name in self.pull_secrets],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "affinity": {"podAntiAffinity": self._apart()},
                "containers": [self._container(peer)],
            },
        }

    def _container(self, peer: str | None) -> Json:
        told = [f"--peer={peer}"] if peer else []
        return {
            "name": "probe",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-m", "firebreak.kube.probe_pod"],
            "args": [f"--run={self.id}", "--address=$(POD_IP)", f"--port={PORT}", "--node=$(NODE_IP)", *told],
            "env": [
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }

    def _apart(self) -> Json:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {RUN_LABEL: self.id}}}
        return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}

    def policy_body(self) -> Json:
        """Return the policy that allows the cut pod nothing, in or out."""
        return {
            "apiVersion": self.policy.api_version,
            "kind": self.policy.kind,
            "metadata": {"name": self.policy.name, "namespace": self.namespace, "labels": self.labels()},
            "spec": {
                "podSelector": {"matchLabels": {RUN_LABEL: self.id, ROLE_LABEL: CUT}},
                "policyTypes": ["Ingress", "Egress"],
            },
        }


def state_in_words(pod: Json) -> str:
    """Say why a probe pod does not run yet."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')}: {str(waiting.get('message', ''))[:200]}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {str(condition.get('message', ''))[:200]}"
    return str(status.get("phase") or "Pending")


def hopeless(pod: Json) -> bool:
    """Whether the pod has ended, or waits for what does not pass by itself."""
    status = pod.get("status") or {}
    if status.get("phase") in {"Failed", "Succeeded"}:
        return True
    waiting = [(c.get("state") or {}).get("waiting") or {} for c in status.get("containerStatuses") or []]
    return any(w.get("reason") in HOPELESS for w in waiting)
