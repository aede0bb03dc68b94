"""The intake, deployed as its users deploy it: certificate and tokens in Secrets, then kustomize; and its senders."""

import asyncio
import base64
import io
import json
import os
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from cluster import pki
from cluster.provider import AuditReceiver
from cluster.waiting import wait_until
from installed import NAMESPACE, Kubectl
from scraping import Scrape, scrape

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAME = "firebreak-intake"
HOST = f"{NAME}.{NAMESPACE}.svc"
PORT = 8443
OUTSIDE = f"{NAME}-from-outside"
LABEL = f"app.kubernetes.io/name={NAME}"
TOKEN = "e2e-token-of-the-tests"
FAREWELL = 0.3  # seconds: aiohttp closes a session before its TLS connections have said goodbye
PROPAGATION = 180  # seconds: the kubelet brings a changed Secret into a pod at its own pace
Object = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """What the intake answered; status 0 where it closed the connection."""

    status: int
    body: Any = None


@dataclass
class Intake:
    """The deployed intake. `folder` has the authority that signed its certificate."""

    kubectl: Kubectl
    folder: Path
    address: str
    token: str = field(default=TOKEN, repr=False)

    def post(self, path: str, body: Any, **more: Any) -> Answered:
        """Post one alert. `more`: token, to (an address), certificate (a name in `folder`)."""
        return self.post_all(path, [body], **more)[0]

    def post_all(
        self,
        path: str,
        bodies: list[Any],
        *,
        token: str | None = None,
        to: str = "",
        certificate: str = "",
        at_once: int = 20,
    ) -> list[Answered]:
        """Post alerts, so many at once, over as many connections."""
        shown = self.token if token is None else token
        headers = {"Authorization": f"Bearer {shown}"} if shown and not certificate else {}
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if certificate:
            trust.load_cert_chain(self.folder / f"{certificate}.crt", self.folder / f"{certificate}.key")
        host = to or self.address
        url = f"https://{host}:{PORT if to else 443}/{path}"

        async def every() -> list[Answered]:
            gate = asyncio.Semaphore(at_once)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=0)) as session:

                async def one(body: Any) -> Answered:
                    data = body if isinstance(body, bytes) else json.dumps(body).encode()
                    async with gate:
                        try:
                            async with session.post(
                                url, data=io.BytesIO(data), headers=headers, server_hostname=HOST
                            ) as answer:
                                return Answered(answer.status, await answer.json())
                        except aiohttp.ClientError:
                            return Answered(0)

                answers = list(await asyncio.gather(*map(one, bodies)))
            await asyncio.sleep(FAREWELL)
            return answers

        return asyncio.run(every())

    def replicas(self) -> dict[str, str]:
        """Names and addresses of the pods that run."""
        text = self.kubectl("get", "pods", "-n", NAMESPACE, "-l", LABEL, "-o", "json")
        pods = [each for each in json.loads(text)["items"] if "deletionTimestamp" not in each["metadata"]]
        return {each["metadata"]["name"]: each["status"]["podIP"] for each in pods}

    def scraped(self) -> list[Scrape]:
        """What every replica tells Prometheus."""
        return [scrape(self.kubectl, NAMESPACE, name) for name in self.replicas()]

    def total(self, name: str, **labels: str) -> float:
        """A metric, summed over the replicas."""
        return sum(each.value(f"firebreak_intake_{name}", **labels) for each in self.scraped())

    def memory(self) -> float:
        """Bytes of the replica that has most."""
        return max(each.value("process_resident_memory_bytes") for each in self.scraped())

    def rotate(self, name: str, data: dict[str, bytes]) -> None:
        """Write a Secret anew."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(secret(name, data)))


def secret(name: str, data: dict[str, bytes]) -> Object:
    """A Secret of Firebreak's namespace."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": encoded}


def served(folder: Path, name: str) -> dict[str, bytes]:
    """A certificate for the Service's name, by the folder's authority, as a Secret of TLS has it."""
    pki.certificate(folder, name, f"/CN={HOST}", "ca", f"extendedKeyUsage=serverAuth\nsubjectAltName=DNS:{HOST}\n")
    return {"tls.crt": (folder / f"{name}.crt").read_bytes(), "tls.key": (folder / f"{name}.key").read_bytes()}


def as_process(
    folder: Path, kubeconfig: str | Path, *, port: int, probes: int, sender: str = "e2e"
) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of an intake that runs here, on loopback, with TLS and one sender's token.

    The folder has the authority, `ca`, that signs its certificate.
    """
    for directory, files in {"tls": served(folder, "first"), "tokens": {sender: TOKEN.encode()}}.items():
        (folder / directory).mkdir()
        for name, data in files.items():
            (folder / directory / name).write_bytes(data)
    tls, tokens = folder / "tls", folder / "tokens"
    settings = {"PORT": port, "PROBE_PORT": probes, "TLS": tls, "TOKENS": tokens, "KUBECONFIG": kubeconfig}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIREBREAK_")}
    environment |= {f"FIREBREAK_INTAKE_{name}": str(value) for name, value in settings.items()}
    return [sys.executable, "-m", "firebreak", "intake"], environment


@contextmanager
def deployed(
    kubectl: Kubectl, folder: Path, *, receiver: AuditReceiver | None = None, routes: str = "", **settings: object
) -> Iterator[Intake]:
    """Deploy the intake with these settings (FIREBREAK_INTAKE_...), and take it away afterwards.

    As the `receiver` it gets what the API server sends.
    """
    tokens = {"e2e": TOKEN.encode()}
    if receiver:
        shutil.copy(receiver.authority, folder / "ca.crt")
        shutil.copy(receiver.authority_key, folder / "ca.key")
        tokens[receiver.sender] = receiver.token.encode()
    pki.authority(folder, "ca", "intake-ca")
    pki.certificate(folder, "falco", "/CN=x", "ca", "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:falco.e2e\n")
    pki.certificate(folder, "eve", "/CN=falco.e2e", "ca", "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:eve.e2e\n")
    authorities = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": (folder / "ca.crt").read_text()}}
    objects = [
        secret(f"{NAME}-tls", served(folder, "first")),
        secret(f"{NAME}-tokens", tokens),
        {**authorities, "metadata": {"name": f"{NAME}-clients", "namespace": NAMESPACE}},
        _from_outside(),
    ]
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    overlay = _overlay(folder, settings, routes, receiver)
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(overlay))
    try:
        kubectl("rollout", "restart", f"deployment/{NAME}", "-n", NAMESPACE)
        kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=120s")
        address = kubectl("get", "service", NAME, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
        intake = Intake(kubectl, folder, address)
        wait_until(
            lambda: all(
                intake.post("falco", {}, to=each, token="").status for each in ("", *intake.replicas().values())
            ),
            timeout=60,
            otherwise="the intake is ready and cannot be reached",
        )
        yield intake
    finally:
        kubectl("delete", "-k", str(overlay), "--ignore-not-found", "--wait=false")
        for each in (
            f"secret/{NAME}-tls",
            f"secret/{NAME}-tokens",
            f"configmap/{NAME}-clients",
            f"networkpolicy/{OUTSIDE}",
        ):
            kubectl("delete", each, "-n", NAMESPACE, "--ignore-not-found")


def _from_outside() -> Object:
    """A policy that lets the tests in: they run in no namespace, as an API server does."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": OUTSIDE, "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": PORT}]}],
        },
    }


def _overlay(folder: Path, settings: dict[str, object], routes: str, receiver: AuditReceiver | None) -> Path:
    """An overlay as docs/intake.md shows it."""
    at = folder / "overlay"
    at.mkdir()
    manifests = os.path.relpath(MANIFESTS, at)
    chosen = {"CLIENT_CA": "/etc/firebreak/clients/ca.crt", "CLIENT_NAMES": "falco.e2e", **settings}
    literals = [f"FIREBREAK_INTAKE_{name}={value}" for name, value in chosen.items()]
    generated: list[Object] = [{"name": f"{NAME}-settings", "behavior": "merge", "literals": literals}]
    if routes:
        (at / "routes.yaml").write_text(routes)
        generated.append({"name": f"{NAME}-routes", "behavior": "replace", "files": ["routes.yaml"]})
    overlay: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [f"{manifests}/components/intake"],
        "components": [f"{manifests}/components/intake-pods"],
        "images": [{"name": "firebreak", "newTag": "dev"}],
        "configMapGenerator": generated,
    }
    if receiver:
        address = [{"op": "add", "path": "/spec/clusterIP", "value": receiver.address}]
        overlay["patches"] = [{"target": {"kind": "Service", "name": NAME}, "patch": json.dumps(address)}]
    (at / "kustomization.yaml").write_text(json.dumps(overlay))
    return at


def now(seconds: float = 0) -> str:
    """The time so many seconds from now, as Falco writes it."""
    moment = datetime.fromtimestamp(time.time() + seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def falco(namespace: str, pod: str, rule: str = "Shell in a container", **more: Any) -> Object:
    """An alert of Falco's about a pod."""
    fields = {"k8s.ns.name": namespace, "k8s.pod.name": pod, **more.pop("fields", {})}
    alert = {"rule": rule, "priority": "Error", "time": now(), "output": "a shell", "output_fields": fields}
    return {**alert, **more}


def alertmanager(namespace: str, *pods: str, severity: str = "high") -> Object:
    """A group of Alertmanager's: one firing alert for each pod."""
    labels = {"alertname": "Miner", "namespace": namespace, "severity": severity}
    return {
        "version": "4",
        "receiver": "firebreak",
        "alerts": [
            {"status": "firing", "labels": {**labels, "pod": pod}, "startsAt": now(), "fingerprint": f"{number:016x}"}
            for number, pod in enumerate(pods)
        ],
    }


def incidents(kubectl: Kubectl, namespace: str) -> list[Object]:
    """The incidents of a namespace."""
    found: list[Object] = json.loads(kubectl("get", "incidents", "-n", namespace, "-o", "json"))["items"]
    return found


def until_opened(kubectl: Kubectl, namespace: str, number: int = 1, seconds: int = 30) -> list[Object]:
    """Wait for so many incidents of a namespace."""
    wait_until(
        lambda: len(incidents(kubectl, namespace)) >= number,
        timeout=seconds,
        otherwise=f"there are no {number} incidents in {namespace}",
    )
    return incidents(kubectl, namespace)
