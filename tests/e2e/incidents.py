"""Incidents on a real cluster as tests write and read them: manifests in, conditions, evidence and answers out."""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from cluster.provider import ClusterError, ClusterInfo
from conftest import Kubectl, own_namespace
from firebreak.api.status import IncidentStatus
from firebreak.cli.verifying import split
from firebreak.evidence.artifact import Artifact
from firebreak.evidence.keys import Key
from firebreak.evidence.layout import Layout
from firebreak.evidence.manifest import Manifest, Sealed, read_chain
from firebreak.evidence.store import EvidenceStore
from firebreak.evidence.verify import Verification, verify
from shop_objects import incident

IMAGE = "busybox:1.35"
RBAC = "rbac.authorization.k8s.io"
NO_LIMIT = 2**40  # bytes
IDLE = "touch /ready; exec sleep 1000000"
# A shell that lets nobody in before the gate is open: a capture that reads this container waits.
GATED = """
printf '#!/bin/busybox ash\nuntil [ -e /gate ]; do usleep 100000; done\nexec /bin/busybox ash "$@"\n' > /bin/held
chmod +x /bin/held
mv /bin/held /bin/sh
touch /ready
exec /bin/busybox sleep 1000000
"""

Object = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A namespace, and what a test does in it."""

    cluster: ClusterInfo
    kubectl: Kubectl
    namespace: str

    def apply(self, *objects: Object) -> None:
        """Apply objects; those without a namespace of their own go here."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--namespace", self.namespace, "--filename", "-", stdin=text)

    def get(self, *what: str) -> Any:
        """The object or list, parsed."""
        return json.loads(self.kubectl("get", *what, "--namespace", self.namespace, "--output", "json"))

    def ready(self, *what: str, seconds: int = 60) -> None:
        """Wait until pods are Ready and Deployments Available."""
        for each in what:
            condition = "Ready" if each.startswith("pod") else "Available"
            self.wait(each, f"condition={condition}", seconds=seconds)

    def wait(self, what: str, until: str, *, seconds: int = 60) -> None:
        """`kubectl wait`: a watch, no polling."""
        self.kubectl("wait", "--namespace", self.namespace, what, f"--for={until}", f"--timeout={seconds}s")

    def exec(self, pod: str, *command: str, container: str = "app") -> str:
        """Run a command in a container."""
        return self.kubectl("exec", "--namespace", self.namespace, pod, "--container", container, "--", *command)

    def open(self, name: str, pod: str, **spec: Any) -> None:
        """Open an incident about a pod."""
        self.apply(incident(name, {"pod": pod}, **spec))

    def status(self, name: str) -> IncidentStatus:
        """What Firebreak says of an incident."""
        return IncidentStatus.model_validate(self.get("incident", name).get("status") or {})

    def condition(self, name: str, kind: str, expected: str, *, seconds: int = 60) -> str:
        """Wait until a condition is as expected, `Status/Reason` with or without the reason; return its message."""
        status, _, reason = expected.partition("/")
        path = f'{{.status.conditions[?(@.type=="{kind}")].{"reason" if reason else "status"}}}'
        try:
            self.wait(f"incident/{name}", f"jsonpath={path}={reason or status}", seconds=seconds)
        except ClusterError as error:
            raise ClusterError(f"{kind} of {name} is not {expected}: {self.status(name).message}") from error
        found = self.status(name).condition(kind)
        assert found is not None
        assert (found.status, found.reason) == (status, reason or found.reason), found
        return found.message

    def evidence(self, name: str) -> "Evidence":
        """The evidence of an incident, read from the store."""
        return Evidence.of(self.cluster, self.status(name))

    def firebreak(self, *arguments: str) -> Ran:
        """Run the command line in this namespace, with the store's keys."""
        environment = {**os.environ, "FIREBREAK_STORE_OPTIONS": json.dumps(store_options(self.cluster))}
        general = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace]
        done = subprocess.run(
            [sys.executable, "-m", "firebreak", *general, *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=environment,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def place(cluster: ClusterInfo, kubectl: Kubectl, prefix: str) -> Iterator[Place]:
    """A namespace of one's own."""
    with own_namespace(kubectl, prefix) as name:
        yield Place(cluster, kubectl, name)


def store_options(cluster: ClusterInfo) -> dict[str, str]:
    """What opens the store of the deployed Firebreak from here."""
    assert cluster.s3 is not None, "this cluster names no S3 server"
    return {
        "AWS_ENDPOINT_URL": cluster.s3.endpoint,
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        "AWS_REGION": cluster.s3.region,
        "AWS_ALLOW_HTTP": "true",
    }


@dataclass(frozen=True)
class Evidence:
    """One incident's bundle, as an auditor reads it: by its address, its seal and the store's keys."""

    store: EvidenceStore
    url: str
    seal: str
    root: str
    options: dict[str, str] = field(repr=False)
    prefix: Key

    @classmethod
    def of(cls, cluster: ClusterInfo, status: IncidentStatus) -> "Evidence":
        assert status.evidence is not None, status.message
        root, prefix = split(status.evidence.url)
        options = store_options(cluster)
        store = EvidenceStore.open(root, options)
        return cls(store, status.evidence.url, status.evidence.seal, root, options, prefix)

    def verified(self) -> Verification:
        """What verification by the seal in the status finds."""
        return asyncio.run(verify(self.store, self.prefix, expected_digest=self.seal))

    def chain(self) -> tuple[Sealed, ...]:
        """The manifests."""
        return asyncio.run(read_chain(self.store, Layout(self.prefix)))

    @property
    def manifest(self) -> Manifest:
        """The only manifest."""
        (sealed,) = self.chain()
        return sealed.manifest

    def artifacts(self) -> dict[str, Artifact]:
        """What the manifest lists, by the name's part after the pod's folder."""
        return {artifact.name.split("/", 2)[2]: artifact for artifact in self.manifest.artifacts}

    def read(self, artifact: Artifact) -> bytes:
        """The bytes of one artifact."""
        assert artifact.object_key is not None, artifact
        key = Layout(self.prefix).full(artifact.object_key)
        return asyncio.run(self.store.read(key, limit=NO_LIMIT))

    def objects(self) -> dict[str, bytes]:
        """Everything that the store holds of the incident, by key."""

        async def read_all() -> dict[str, bytes]:
            found = await self.store.list(self.prefix)
            return {info.key: await self.store.read(info.key, limit=NO_LIMIT) for info in found}

        return asyncio.run(read_all())


@dataclass(frozen=True)
class Door:
    """The API server as somebody meets it who holds nothing but a token."""

    server: str
    trust: ssl.SSLContext

    @classmethod
    def of(cls, cluster: ClusterInfo) -> "Door":
        known = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        data = known.get("certificate-authority-data")
        authority = base64.b64decode(data).decode() if data else None
        trust = ssl.create_default_context(cadata=authority, cafile=known.get("certificate-authority"))
        return cls(known["server"], trust)

    def answers(self, token: str, path: str) -> int:
        """The status code of a GET."""
        request = urllib.request.Request(  # noqa: S310 - the test cluster's own address
            self.server + path, headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.trust) as answer:  # noqa: S310 - the same
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code


def container(script: str, *arguments: str, name: str = "app", **more: Any) -> Object:
    """A container that runs a shell script, and is Ready when the script has made the file /ready."""
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "sh", "-c", script, name, *arguments],
        "readinessProbe": {"exec": {"command": ["/bin/busybox", "test", "-e", "/ready"]}, "periodSeconds": 1},
        **more,
    }


def pod_spec(*containers: Object, **more: Any) -> Object:
    """The spec of a pod that ends at once when told to."""
    return {"terminationGracePeriodSeconds": 0, "containers": list(containers), **more}


def pod(name: str, *containers: Object, **more: Any) -> Object:
    """A pod that nothing owns."""
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(*containers, **more)}


def workload(kind: str, name: str, *containers: Object, replicas: int = 1, **more: Any) -> Object:
    """A Deployment or StatefulSet; its pods carry the label `app`."""
    labels = {"app": name}
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod_spec(*containers, **more)},
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, annotations: dict[str, str] | None = None, kind: str = "Opaque", **values: str) -> Object:
    """A Secret with these values."""
    metadata = {"name": name, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": values}


def from_secret(variable: str, name: str, key: str) -> Object:
    """An environment variable that takes its value from a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def account(name: str) -> Object:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def role(kind: str, name: str, resource: str) -> Object:
    """A Role or ClusterRole that reads one kind of object of the core group."""
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": ["get", "list"]}]
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}


def binding(kind: str, name: str, to: str, *subjects: Object) -> Object:
    """A RoleBinding or ClusterRoleBinding to a role of its own scope."""
    reference = {"apiGroup": RBAC, "kind": kind.removesuffix("Binding"), "name": to}
    metadata = {"name": name}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": reference,
        "subjects": list(subjects),
    }
