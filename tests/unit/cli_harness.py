"""Runs the real command line in this process, against the fake API server, and returns all that it wrote."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from firebreak.cli.app import execute

UID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-8888-7777-6666-555555555555"
KEY = f"quarantine.firebreak.dev/{UID}"
OTHER_KEY = f"quarantine.firebreak.dev/{OTHER}"


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """The command, with a kubeconfig for one API server."""

    kubeconfig: Path

    async def __call__(self, *arguments: str) -> Ran:
        return await asyncio.to_thread(_run, ["--kubeconfig", str(self.kubeconfig), *arguments])


def bare(*arguments: str) -> Ran:
    """Run the command without any cluster."""
    return _run(list(arguments))


@contextlib.contextmanager
def own_logs() -> Iterator[None]:
    """Where the logs of this process go is in the end as it was before the block."""
    root, ours = logging.getLogger(), structlog.get_config()
    before, level = root.handlers, root.level
    try:
        yield
    finally:
        structlog.configure(**ours)
        root.handlers, root.level = before, level


def _run(arguments: list[str]) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with own_logs(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = execute(arguments)
    return Ran(code, out.getvalue(), err.getvalue())


def write_kubeconfig(folder: Path, server: str, namespace: str, **user: str) -> Path:
    """Write a kubeconfig; without credentials, unless `user` names some."""
    path = folder / "kubeconfig"
    context = {"cluster": "fake", "user": "fake", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": user}],
        "contexts": [{"name": "fake", "context": context}],
        "current-context": "fake",
    }
    path.write_text(json.dumps(config))
    return path


def pod(name: str = "web", **metadata: Any) -> dict[str, Any]:
    """A pod of namespace shop."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "web"}, **metadata},
        "spec": {"containers": [{"name": "app", "image": "shop/web:1"}], "serviceAccountName": "web"},
        "status": {"phase": "Running"},
    }


def cut_pod(name: str = "web", **keys: str) -> dict[str, Any]:
    """A pod that was cut and detached; `keys` are further labels."""
    labels = {KEY: "true", "quarantine": "true", **keys}
    annotations = {
        "firebreak.dev/original-labels": '{"app": "web"}',
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    return pod(name, labels=labels, annotations=annotations)


def policy(incident: str = "shell", uid: str = UID) -> dict[str, Any]:
    """An incident's deny-all policy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"firebreak-{uid}",
            "namespace": "shop",
            "uid": f"policy-of-{incident}",
            "labels": {"app.kubernetes.io/managed-by": "firebreak"},
            "annotations": {"firebreak.dev/incident": incident},
        },
        "spec": {
            "podSelector": {"matchLabels": {f"quarantine.firebreak.dev/{uid}": "true"}},
            "policyTypes": ["Ingress", "Egress"],
        },
    }


def incident(name: str = "shell", uid: str = UID, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An incident about pod web."""
    return {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "creationTimestamp": "2026-01-05T10:00:00Z"},
        "spec": {"target": {"pod": "web"}, "mode": "Respond", "state": "Active", **spec},
        "status": status or {},
    }


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    """A condition as the operator writes it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-05T10:00:01.000000Z",
    }


BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "edit", "namespace": "shop", "uid": "uid-edit"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
    "subjects": [{"kind": "User", "name": "late", "apiGroup": "rbac.authorization.k8s.io"}],
}
WEB_ACCOUNT = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
ANN = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
REVOKED = {
    "state": "Done",
    "changes": {
        "patch RoleBinding shop/edit": {
            "object": "RoleBinding shop/edit",
            "verb": "patch",
            "why": "takes shop/web out of ClusterRole edit",
            "state": "Done",
            "before": {"subjects": [WEB_ACCOUNT, ANN]},
        }
    },
    "counts": {"Done": 1},
}


def closed_status(**steps: Any) -> dict[str, Any]:
    """The status of a closed incident about pod web."""
    return {
        "phase": "Closed",
        "observedGeneration": 1,
        "message": "Cut off since 2026-01-05T10:00:01Z (web)",
        "pods": {"uid-web": {"name": "web", "account": "web"}},
        "steps": steps,
    }
