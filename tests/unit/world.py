"""A small shop on the fake API server: a Deployment's pod, its account with rights, a secret that may be rotated."""

from typing import Any

from fake_api import Call, ExecSession, FakeApi, Obj

POD_PATH = "/api/v1/namespaces/shop/pods/web-1"
POLICIES_PATH = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
BINDING_PATH = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/web-reader"
SECRET_PATH = "/api/v1/namespaces/shop/secrets/db"
UID = "11111111-2222-3333-4444-555555555555"
KEY = f"quarantine.firebreak.dev/{UID}"
APP_WEB = {"selector": {"matchLabels": {"app": "web"}}}
"""A target that grows: the pods web-1 and web-2, and those that join them."""
ACCOUNT = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
ALICE = {"kind": "User", "name": "alice"}
OLD_PASSWORD = "b2xkLXBhc3N3b3Jk"


def web_pod(name: str = "web-1", **metadata: Any) -> Obj:
    """A running pod of ReplicaSet web-5d that runs as `web` and reads the secret `db`."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "uid": "rs-uid", "controller": True}
    running = {"name": "c", "containerID": f"containerd://{name}", "restartCount": 0}
    running["state"] = {"running": {"startedAt": "2026-11-21T11:00:00Z"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web", "pod-template-hash": "5d"},
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {"nodeName": "node1", "serviceAccountName": "web", "containers": [container()]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [running],
        },
    }


def container() -> Obj:
    """A container with a secret in its environment, and one value written out."""
    reference = {"secretKeyRef": {"name": "db", "key": "password"}}
    env = [{"name": "DB_PASSWORD", "valueFrom": reference}, {"name": "TOKEN", "value": "literal-value-to-leave-out"}]
    return {"name": "c", "image": "web:1", "env": env}


def incident(name: str = "shell", uid: str = UID, **spec: Any) -> Obj:
    """An incident as the API server stores it, defaults filled in."""
    defaults = {"target": {"pod": "web-1"}, "mode": "Respond", "playbook": "standard", "state": "Active"}
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": "shop", "uid": uid},
        "spec": {**defaults, **spec},
    }


def node(name: str, **spec: Any) -> Obj:
    """A node that is Ready."""
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def playbook(name: str, approval: str = "Never") -> Obj:
    """All steps, with one answer to the question whether a person is asked."""
    steps: list[Obj] = [{step: {}} for step in ("quarantine", "capture", "revoke", "rotate", "replace")]
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Playbook",
        "metadata": {"name": name},
        "spec": {"approval": approval, "steps": steps},
    }


def approval(digest: str, approver: str = "ann", *, step: str = "revoke", about: str = "shell") -> Obj:
    """An Approval as the API server stores it."""
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Approval",
        "metadata": {"name": f"{about}-{step}-{approver}-{digest[7:15]}", "namespace": "shop"},
        "spec": {"incident": about, "step": step, "digest": digest, "approver": approver},
    }


def service(name: str, namespace: str = "shop", **selector: str) -> Obj:
    """A Service of the pods with these labels."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector}}


def shop(fake: FakeApi) -> None:
    """Put the shop there. The fake has no controllers: the second pod is the one that a ReplicaSet would make."""
    fake.put(web_pod())
    fake.put(web_pod("web-2"))
    fake.put(_core("ServiceAccount", "web"))
    fake.put(node("node1"))
    fake.put(_core("Secret", "db", {"firebreak.dev/rotate": '{"password": {}}'}) | {"data": {"password": OLD_PASSWORD}})
    fake.put(playbook("unattended"))
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container()]}}
    selector = {"matchLabels": {"app": "web"}}
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "observedGeneration": 99}
    deployment = _apps("Deployment", "web", {"replicas": 1, "selector": selector, "template": template}, counts)
    fake.put(deployment)
    uid = fake.get("Deployment", "shop", "web")["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": True}
    sets = _apps("ReplicaSet", "web-5d", {"replicas": 1, "selector": selector, "template": template}, counts)
    sets["metadata"] |= {"uid": "rs-uid", "ownerReferences": [owner], "labels": {"app": "web"}}
    fake.put(sets)
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    fake.put(_rbac("Role", "reader", {"rules": rules}))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    fake.put(_rbac("RoleBinding", "web-reader", {"roleRef": role, "subjects": [ACCOUNT, ALICE]}))
    fake.containers.on_exec = shell


async def shell(session: ExecSession) -> None:
    """A container without a shell: what is read by exec is recorded as missing."""
    await session.exit(127)


def _core(kind: str, name: str, annotations: dict[str, str] | None = None) -> Obj:
    metadata = {"name": name, "namespace": "shop", "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _apps(kind: str, name: str, spec: Obj, status: Obj) -> Obj:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}


def _rbac(kind: str, name: str, rest: Obj) -> Obj:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **rest}


def is_cut(call: Call) -> bool:
    """Whether a call is one of the two that contain; only the first of a pod is, and it alone sets the key."""
    if "dryRun" in call.query:
        return False  # a guard that is tried
    if call.line.endswith("/networkpolicies") and call.method == "POST":
        return True
    return call.method == "PATCH" and call.resource == "pods" and _keyed(call)


def _keyed(call: Call) -> bool:
    labels = (call.body["metadata"].get("labels") or {}).items()
    return any(key.startswith("quarantine.firebreak.dev/") and value == "true" for key, value in labels)
