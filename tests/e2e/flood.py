"""A flood that stands still: requests fill a priority level of the API server, held by a webhook until they may go on.

It costs no CPU while it stands: the API server waits for the webhook, and the rest queues before it.
"""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from cluster.commands import run
from cluster.provider import ClusterInfo
from cluster.settings import MACHINE_IP
from cluster.waiting import wait_until
from firebreak.kube.client import Api
from installed import Kubectl

USERS, EACH = 60, 15  # service accounts, and requests that each has under way: more than any level has seats
LONGEST = 30  # seconds: what a webhook may take at most; then the API server goes on without it
REFUSED_AGAIN = 1.0  # seconds: what the API server asks for
FAREWELL = 1.0  # seconds: aiohttp closes a session before its TLS connections have said goodbye
QUEUED = "apiserver_flowcontrol_current_inqueue_requests"
NAME = "firebreak-flood"


@dataclass
class Flood:
    """Service accounts of a namespace that create ConfigMaps as fast as they are let."""

    cluster: ClusterInfo
    kubectl: Kubectl
    namespace: str
    held: int = 0
    """How many requests the webhook holds."""
    moved: bool = False
    """Whether any request of the flood has come through."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _moving: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def queued(self, **labels: str) -> float:
        """How many requests wait in the API server's queues."""
        found = text_string_to_metric_families(self.kubectl("get", "--raw", "/metrics"))
        samples = [s for family in found if family.name == QUEUED for s in family.samples]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def move(self) -> None:
        """Let go what is held, and what comes."""
        self._loop.call_soon_threadsafe(self._moving.set)

    @contextmanager
    def standing(self, certificate: Path, key: Path) -> Iterator["Flood"]:
        """Flood while the block runs; it begins when requests queue behind those that are held."""
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(certificate, key),))
        thread.start()
        try:
            wait_until(
                lambda: self.held and self.queued(priority_level="workload-low"),
                timeout=LONGEST,
                otherwise=lambda: f"the flood fills no level: {self.held} requests are held and none is queued",
            )
            yield self
        finally:
            self.kubectl("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")
            self.move()
            self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()
            self._loop.close()

    async def _run(self, certificate: Path, key: Path) -> None:
        app = web.Application()
        app.router.add_post("/", self._hold)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        try:
            site = web.TCPSite(runner, MACHINE_IP, 0, ssl_context=context)
            await site.start()
            hook = _webhook(self.namespace, f"https://{MACHINE_IP}:{runner.addresses[0][1]}/", certificate)
            await asyncio.to_thread(self.kubectl, "apply", "--filename", "-", stdin=json.dumps(hook))
            await self._send_all()
        finally:
            await runner.cleanup()
            await asyncio.sleep(FAREWELL)

    async def _hold(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.held += 1
        await self._moving.wait()
        self.held -= 1
        answer = {"uid": review["request"]["uid"], "allowed": True}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer})

    async def _send_all(self) -> None:
        async with await Api.connect(str(self.cluster.kubeconfig)) as api:
            await asyncio.gather(*(self._send(api, number % USERS) for number in range(USERS * EACH)))

    async def _send(self, api: Api, user: int) -> None:
        url = f"{api.base}/api/v1/namespaces/{self.namespace}/configmaps"
        as_whom = {"Impersonate-User": f"system:serviceaccount:{self.namespace}:flood-{user}"}
        while not self._ended.is_set():
            async with api.session.post(url, json={"metadata": {"generateName": "flood-"}}, headers=as_whom) as answer:
                self.moved = self.moved or answer.status < 400
            with suppress(TimeoutError):
                async with asyncio.timeout(REFUSED_AGAIN):
                    await self._ended.wait()


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this end of the cluster's link, and its key."""
    certificate, key = folder / "flood.crt", folder / "flood.key"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=IP:{MACHINE_IP}"]
    run([*request, *about, "-keyout", str(key), "-out", str(certificate)])
    return certificate, key


def allowed_to(namespace: str) -> tuple[dict[str, object], dict[str, object]]:
    """The right of the flood's accounts to what they send."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": NAME, "namespace": namespace}}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": f"system:serviceaccounts:{namespace}"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    return {**head, "kind": "Role", "rules": rules}, {
        **head,
        "kind": "RoleBinding",
        "roleRef": role,
        "subjects": [group],
    }


def _webhook(namespace: str, url: str, certificate: Path) -> dict[str, object]:
    """Asked about ConfigMaps of the flood's own namespace alone; when it does not answer, it is done without."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "flood.firebreak.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": LONGEST,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [rule],
        "clientConfig": {"url": url, "caBundle": base64.b64encode(certificate.read_bytes()).decode()},
    }
    kind = "ValidatingWebhookConfiguration"
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": NAME}}
    return {**head, "webhooks": [hook]}
