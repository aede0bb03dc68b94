"""The plainest client there is: the contract is about HTTP, not about anybody's client library."""

import base64
import contextlib
import io
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Code, reason and message of a Status."""
        return self.body["code"], self.body["reason"], self.body["message"]


@dataclass(frozen=True)
class Api:
    """One API server, fake or real, and a namespace in it that belongs to the test."""

    session: aiohttp.ClientSession
    namespace: str
    is_real: bool

    def path(self, plural: str, name: str = "", group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: str = "application/json",
        content_type: str | None = None,
        **query: str,
    ) -> Reply:
        default = MERGE_PATCH if method == "PATCH" else "application/json"
        headers = {"Accept": accept, "Content-Type": content_type or default}
        data = None if body is None else io.BytesIO(json.dumps(body).encode())
        async with self.session.request(method, path, data=data, headers=headers, params=query) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Reply(response.status, json.loads(text) if is_json else text)

    async def create(self, path: str, body: Any, **query: str) -> Any:
        """The object created; fails the test when it is refused."""
        reply = await self.call("POST", path, body, **query)
        assert reply.status == 201, reply.body
        return reply.body

    async def get(self, path: str, **query: str) -> Any:
        """The body of a read that must succeed."""
        reply = await self.call("GET", path, **query)
        assert reply.status == 200, reply.body
        return reply.body

    async def patch(self, path: str, body: Any, **query: str) -> Any:
        """The object after a merge patch that must succeed."""
        reply = await self.call("PATCH", path, body, **query)
        assert reply.status == 200, reply.body
        return reply.body

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, accept: str = "application/json", *, bookmarks: bool = False, **query: str
    ) -> AsyncIterator[AsyncGenerator[tuple[str, Any], None]]:
        """The events of a watch: type and object; bookmarks only if asked for."""
        params = {"watch": "1", **query}
        async with self.session.get(path, params=params, headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            yield _events(response, bookmarks=bookmarks)


async def _events(response: aiohttp.ClientResponse, *, bookmarks: bool) -> AsyncGenerator[tuple[str, Any], None]:
    async for line in response.content:
        event = json.loads(line)
        if bookmarks or event["type"] != "BOOKMARK":
            yield event["type"], event["object"]


def real_session(kubeconfig: Path) -> aiohttp.ClientSession:
    """A session with the client certificate of the kubeconfig's current context."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=_material(cluster, "certificate-authority", kubeconfig).decode())
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "client.crt"), Path(folder, "client.key")
        certificate.write_bytes(_material(user, "client-certificate", kubeconfig))
        key.touch(mode=0o600)
        key.write_bytes(_material(user, "client-key", kubeconfig))
        tls.load_cert_chain(certificate, key)
    connector = aiohttp.TCPConnector(ssl=tls)
    return aiohttp.ClientSession(cluster["server"], connector=connector, timeout=aiohttp.ClientTimeout(20))


def _named(entries: list[Any], name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _material(entry: dict[str, str], key: str, kubeconfig: Path) -> bytes:
    """Inline base64 data, or a file named relative to the kubeconfig."""
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    return (kubeconfig.parent / entry[key]).read_bytes()
