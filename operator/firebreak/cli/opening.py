"""Opening an incident from the command line: its manifest, and waiting for what it is to come to."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime

from firebreak.api import API_VERSION, bounds
from firebreak.api.base import Json
from firebreak.api.incident import Mode
from firebreak.cli.cluster import Cluster
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.kinds import BY_LABEL, IN_WORDS, KINDS
from firebreak.kube import survey
from firebreak.kube.errors import Forbidden
from firebreak.model.change import Ref
from firebreak.model.incident import Incident, read


def parse_target(text: str, namespace: Callable[[], str]) -> Ref:
    """Return the object that KIND/NAME means, in a namespace that is looked up when the text is right.

    Raises Failure.
    """
    kind, slash, name = text.partition("/")
    if not slash or not name or "/" in name or kind.lower() not in KINDS:
        hint = f"write KIND/NAME, as pod/web-x2x9k; the kind is {IN_WORDS}. {BY_LABEL}"
        raise Failure(f"{text!r} names no target", hint, Exit.USAGE)
    return Ref(KINDS[kind.lower()], name, namespace())


def target_spec(target: Ref) -> Json:
    """Return `spec.target` for an object."""
    if target.kind == "Pod":
        return {"pod": target.name}
    if target.kind == "ServiceAccount":
        return {"serviceAccount": target.name}
    return {"workload": {"kind": target.kind, "name": target.name}}


def default_name(target: Ref, now: datetime, prefix: str = "") -> str:
    """Return a name that says what it is about and when, e.g. `web-x2x9k-141502`."""
    time = f"{now:%H%M%S}"
    return f"{prefix}{target.name}"[: bounds.OBJECT_NAME - len(time) - 1].rstrip("-.") + f"-{time}"


def manifest(name: str, target: Ref, **fields: str | None) -> Json:
    """Return an Incident. Fields that are None are left to their defaults."""
    spec: Json = {"target": target_spec(target)} | {key: str(value) for key, value in fields.items() if value}
    if target.kind == "Pod" and target.uid:
        spec["podUID"] = target.uid
    metadata = {"name": name, "namespace": target.namespace}
    return {"apiVersion": API_VERSION, "kind": "Incident", "metadata": metadata, "spec": spec}


async def pinned(cluster: Cluster, target: Ref) -> Ref:
    """Return the target with its uid, so that a namesake that comes later is left alone.

    Raises Failure when it is not there. A person who may not read it may still open an incident about it.
    """
    try:
        found = await survey.find(cluster.api, target)
    except Forbidden:
        return target
    if found is None:
        hint = f"look for it: kubectl get {target.kind.lower()}s -n {target.namespace}; another namespace: -n NS"
        raise Failure(f"{target} is not there; no incident was opened", hint)
    return Ref(target.kind, target.name, target.namespace, found["metadata"]["uid"])


async def wait_for(
    cluster: Cluster, name: str, come_to: Callable[[Incident], bool], *, seconds: float, waited_for: str
) -> Incident:
    """Follow an incident until `come_to` holds; return it then. Raises Failure when time is up or it was deleted."""
    last = "nothing yet: is the operator running? kubectl get pods -n firebreak, or firebreak run"
    try:
        async with asyncio.timeout(seconds), aclosing(cluster.follow(name)) as states:
            async for raw, deleted in states:
                if deleted:
                    words = f"incident {cluster.namespace}/{name} was deleted; its quarantine, if any, stays"
                    raise Failure(words, f"see what is left: firebreak status -n {cluster.namespace}")
                incident = read(raw)
                if come_to(incident):
                    return incident
                last = incident.status.message or last
    except TimeoutError:
        hint = f"it goes on without you: firebreak watch {name} -n {cluster.namespace}"
        words = f"incident {name} did not come to {waited_for} within {seconds:g} s; its status says: {last}"
        raise Failure(words, hint, Exit.TIMEOUT) from None
    raise AssertionError  # unreachable: following ends only by returning or raising


def wanted_condition(mode: Mode) -> str | None:
    """Return the condition that opening an incident in a mode is about; None when it is the plan."""
    return {Mode.RESPOND: "Contained", Mode.PRESERVE: "EvidencePreserved", Mode.PLAN: None}[mode]
