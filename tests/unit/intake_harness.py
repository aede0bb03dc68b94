"""A running intake in the test's own process: real sockets on loopback, the fake API server behind it."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import generate_latest

from fake_api import FakeApi, Obj
from firebreak.detect.rules import Ruleset
from firebreak.intake.access import Access, Tokens
from firebreak.intake.routes import Routes
from firebreak.intake.runtime import PATHS, Intake
from firebreak.intake.settings import IntakeSettings
from firebreak.intake.tls import Certificates
from firebreak.model.clock import Clock
from harness import IMPATIENT, PATIENCE, connect

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TOKEN = "a-token-of-the-tests"
EXEC_RULE = """
name: exec-into-pod
title: Exec into a pod
id: 6a2a1d1e-8a3e-4f0e-9a51-6f0f8f1f0a01
status: stable
description: Somebody enters a pod.
references: ["https://attack.mitre.org/techniques/T1609/"]
author: Firebreak
date: 2026-11-21
tags: [attack.t1609]
level: LEVEL
falsepositives: [people who look after it]
logsource: {product: kubernetes, service: audit}
detection:
  selection: {verb: [get, create], objectRef.resource: pods, objectRef.subresource: exec}
  condition: selection
firebreak: {target: object, cases: {match: [], miss: []}}
"""


@dataclass(frozen=True)
class Answered:
    """What the intake answered."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Sender:
    """Posts to a running intake."""

    intake: Intake
    session: aiohttp.ClientSession
    scheme: str = "http"

    async def post(self, path: str, body: Any, **headers: str) -> Answered:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.scheme}://127.0.0.1:{self.intake.port}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(url, data=data, headers=named) as answer:
            return Answered(answer.status, await answer.json(), dict(answer.headers))

    async def said(self, data: bytes) -> bytes:
        """Send bytes as they are, and return all that comes until the intake ends the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.intake.port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer

    def metric(self, line: str) -> float:
        """The value of a metric, by its name and labels as Prometheus reads them; 0 when it is not there."""
        found = [
            each.rpartition(" ")[2]
            for each in generate_latest(self.intake.metrics.registry).decode().splitlines()
            if each.startswith(f"firebreak_intake_{line} ")
        ]
        return float(found[0]) if found else 0.0


@asynccontextmanager
async def intake(
    fake: FakeApi,
    *,
    tokens: Path | None = None,
    tls: Path | None = None,
    clock: Clock = lambda: NOW,
    client: ssl.SSLContext | None = None,
    rules: Path | None = None,
    routes: Routes | None = None,
    **settings: Any,
) -> AsyncIterator[Sender]:
    """Run an intake until the block ends. Without tokens and names everybody is let in."""
    chosen = IntakeSettings(port=0, probe_port=0, tokens=tokens, tls=tls, **settings)
    known = Tokens(tokens, frozenset({*PATHS.values(), "audit"}))
    access = Access(known, frozenset(chosen.client_names), insecure=not (tokens or chosen.client_names))
    certificates = Certificates(tls, chosen.client_ca) if tls else None
    connector = aiohttp.TCPConnector(ssl=client or True, limit=0)
    ruleset = Ruleset.load([rules]) if rules else Ruleset(())
    running = Intake(chosen, connect(fake, IMPATIENT), known, certificates, access, routes or Routes(), ruleset, clock)
    async with running, aiohttp.ClientSession(connector=connector) as session:
        yield Sender(running, session, "https" if tls else "http")


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.2)


def opened(fake: FakeApi, namespace: str | None = None) -> list[Obj]:
    return fake.list("Incident", namespace)


def falco(pod: str = "web-1", namespace: str = "shop", rule: str = "Shell", **more: Any) -> dict[str, Any]:
    """An alert of Falco's about a pod."""
    fields = {"k8s.ns.name": namespace, "k8s.pod.name": pod, **more.pop("fields", {})}
    time = "2026-11-21T11:59:59.123456789Z"
    return {"rule": rule, "priority": "Critical", "time": time, "output": "x", "output_fields": fields, **more}


def execs(pod: str = "web-1", number: int = 1, **more: Any) -> dict[str, Any]:
    """An exec as the API server records it."""
    return {
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": "eve"},
        "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop", "name": pod},
        "responseStatus": {"code": 101},
        "stageTimestamp": "2026-11-21T11:59:59.000000Z",
        **more,
    }


def events(*items: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": list(items)}


def alertmanager(*pods: str, starts: str = "2026-11-21T11:00:00Z") -> dict[str, Any]:
    """A group of Alertmanager's, one firing alert for each pod."""
    labels = {"alertname": "Miner", "namespace": "shop", "severity": "critical"}
    alerts = [
        {"status": "firing", "labels": {**labels, "pod": pod}, "startsAt": starts, "fingerprint": f"{number:016x}"}
        for number, pod in enumerate(pods)
    ]
    return {"version": "4", "receiver": "firebreak", "alerts": alerts}


def authority(at: Path, name: str) -> Path:
    """A new authority: NAME.crt and NAME.key."""
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(at / f"{name}.key"))
    request = ["req", "-x509", "-new", "-sha256", "-days", "2", "-subj", f"/CN={name}"]
    extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _openssl(*request, *extensions, "-key", str(at / f"{name}.key"), "-out", str(at / f"{name}.crt"))
    return at / f"{name}.crt"


def certificate(to: Path, by: Path, *, common_name: str = "x", names: str = "IP:127.0.0.1") -> Path:
    """A directory with tls.crt and tls.key, signed by an authority; `names` as openssl writes subjectAltName."""
    to.mkdir(exist_ok=True)
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(to / "tls.key"))
    request, extensions = str(to / "csr"), to / "ext"
    alternative = f"subjectAltName={names}\n" if names else ""
    extensions.write_text(f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n{alternative}")
    _openssl("req", "-new", "-key", str(to / "tls.key"), "-subj", f"/CN={common_name}", "-out", request)
    signer = ["-CA", str(by), "-CAkey", str(by.with_suffix(".key")), "-CAcreateserial", "-days", "2"]
    made = ["-extfile", str(extensions), "-out", str(to / "tls.crt")]
    _openssl("x509", "-req", "-in", request, "-sha256", *signer, *made)
    return to


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
