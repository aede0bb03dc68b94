"""The cluster as a command sees it: a connection with the person's own credentials, and incidents read or followed."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from firebreak import __version__
from firebreak.api.base import Json
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.session import Options
from firebreak.kube import survey
from firebreak.kube.client import Api
from firebreak.kube.configuration import IN_CLUSTER_TOKEN, namespace_named
from firebreak.kube.errors import ApiError, Gone, Unavailable
from firebreak.kube.retries import CallLimits
from firebreak.model.change import Ref, collection
from firebreak.model.incident import Incident, read

PATIENT_ENOUGH = CallLimits(timeout=10.0, budget=5.0)  # a person waits
RECONNECT = 0.5  # seconds
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Cluster:
    """A connection, and the namespace that the command is about."""

    api: Api
    namespace: str

    async def raw(self, name: str) -> Json:
        """Return an incident's object. Raises Failure when there is none."""
        found = await survey.find(self.api, Ref("Incident", name, self.namespace))
        if found is None:
            hint = (
                f"see which there are: firebreak status -n {self.namespace}, or in all namespaces: firebreak status -A"
            )
            raise Failure(f"there is no incident {name} in namespace {self.namespace}", hint)
        return found

    async def incident(self, name: str) -> Incident:
        """Return an incident. Raises Failure when there is none, BadSpecError when its spec cannot be understood."""
        return read(await self.raw(name))

    async def user(self) -> str | None:
        """Return the name by which the API server knows us, None when it does not say."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            review = await self.api.create("SelfSubjectReview", None, body)
        except ApiError:
            return None
        name = (review.get("status") or {}).get("userInfo", {}).get("username")
        return name if isinstance(name, str) else None

    async def follow(self, name: str | None = None) -> AsyncGenerator[tuple[Json, bool], None]:
        """Yield (object, whether it was deleted) for every state of an incident, or of all; the present ones first."""
        path = collection("Incident", self.namespace)
        fields = f"metadata.name={name}" if name else None
        while True:
            try:
                items, version = await self.api.list_from(path, fields=fields)
                for item in items:
                    yield item, False
                async for event in self.api.watch(path, version, fields=fields):
                    if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                        yield event["object"], event["type"] == "DELETED"
            except Gone:
                continue
            except Unavailable as error:
                if not error.what.startswith("WATCH"):
                    raise  # listing has had its tries
                await asyncio.sleep(RECONNECT)


@asynccontextmanager
async def connect(options: Options) -> AsyncIterator[Cluster]:
    """Connect as the person who runs the command. Raises Failure, and ConfigurationError for a bad file."""
    async with await open_api(options) as api:
        yield Cluster(api, namespace_of(options))


async def open_api(options: Options) -> Api:
    """Return a connection by the options. Raises Failure when there is no kubeconfig."""
    if not _in_cluster(options) and not _present(options):
        hint = "name a file with --kubeconfig or KUBECONFIG, or run inside the cluster"
        raise Failure(f"no cluster to talk to: there is no file {', '.join(_files(options))}", hint, Exit.UNREACHABLE)
    api = await Api.connect(options.kubeconfig, options.context, PATIENT_ENOUGH)
    api.session.headers["User-Agent"] = f"firebreak-cli/{__version__}"  # what a person writes is not the operator's
    return api


def _in_cluster(options: Options) -> bool:
    return not options.kubeconfig and "KUBECONFIG" not in os.environ and IN_CLUSTER_TOKEN.exists()


def _files(options: Options) -> list[str]:
    named = options.kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return [name for name in named.split(os.pathsep) if name]


def _present(options: Options) -> list[str]:
    return [name for name in _files(options) if Path(name).is_file()]


def namespace_of(options: Options) -> str:
    """Return the namespace that was asked for, else the context's, else the pod's own inside a cluster."""
    if options.namespace:
        return options.namespace
    if _in_cluster(options):
        own = IN_CLUSTER_TOKEN.with_name("namespace")
        return own.read_text().strip() if own.exists() else DEFAULT_NAMESPACE
    there = _present(options)
    if not there:
        return DEFAULT_NAMESPACE
    return namespace_named(os.pathsep.join(there), options.context) or DEFAULT_NAMESPACE
