"""A cluster's audit log as the end-to-end tests' cluster wrote it in November 2026, made anew from a seed.

`mix.tsv` says what kinds of calls there were and how many of each, by whom, and how long their bodies were: 81,383
events of an hour in which Firebreak worked through hundreds of incidents under the shipped audit policy. Names, tokens
and bodies are made up. Among them come the events in which the shipped rules' own cases say that something is found.
"""

import itertools
import random
import string
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from firebreak.detect.rules import Ruleset

ROWS = Path(__file__).parent / "mix.tsv"
ATTACKS = 0.02  # of all events
NAMESPACES, CALLERS, VARIANTS = 150, 30, 6
STEP = timedelta(milliseconds=5)
Json = dict[str, Any]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One kind of call."""

    share: int
    caller: str
    verb: str
    group: str
    resource: str
    subresource: str
    stage: str
    level: str
    code: int
    asked: int
    answered: int


def recorded(seed: int, start: datetime) -> Iterator[bytes]:
    """Yield the log's lines, for ever."""
    chance = random.Random(seed)  # noqa: S311 - the same events in every run
    rows = [msgspec.convert(line.split("\t"), Row, strict=False) for line in ROWS.read_text().splitlines()[1:]]
    forms = [[_form(_event(row, chance)) for _ in range(VARIANTS)] for row in rows]
    attacks = itertools.cycle(_attacks(chance))
    weights = list(itertools.accumulate(row.share for row in rows))
    for number in itertools.count():
        stamp = (start + number * STEP).isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
        if chance.random() < ATTACKS:
            form = next(attacks)
        else:
            form = chance.choice(chance.choices(forms, cum_weights=weights)[0])
        yield form % {b"id": b"%032x" % chance.getrandbits(128), b"at": stamp, b"name": b"%x" % chance.getrandbits(20)}


def _form(event: Json) -> bytes:
    """Return a line with places for what differs from event to event."""
    line = msgspec.json.encode(event).replace(b"%", b"%%")
    for place in ("id", "at", "name"):
        line = line.replace(f"<{place}>".encode(), f"%({place})b".encode())
    return line


def _attacks(chance: random.Random) -> list[bytes]:
    """What the shipped rules' cases find, one case after the other."""
    frame = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "<id>"}
    stamps = {"requestReceivedTimestamp": "<at>", "stageTimestamp": "<at>"}
    cases = [case for rule in Ruleset.load().named.values() for case in rule.cases.match]
    chance.shuffle(cases)
    common = {"stage": "ResponseComplete", "responseStatus": {"metadata": {}, "code": 200}, **_caller("admin", chance)}
    return [_form({**frame, **common, **event, **stamps}) for case in cases for event in case.events]


def _event(row: Row, chance: random.Random) -> Json:
    namespace, name = f"shop-{chance.randrange(NAMESPACES):08x}", f"{row.resource[:4] or 'x'}-<name>"
    about = {"resource": row.resource, "apiGroup": row.group, "subresource": row.subresource, "apiVersion": "v1"}
    named = {} if row.verb in {"list", "watch", "create"} else {"name": name}
    ref = {key: value for key, value in {**about, "namespace": namespace, **named}.items() if value}
    root = f"/apis/{row.group}/v1" if row.group else "/api/v1"
    path = f"{root}/namespaces/{'/'.join(filter(None, (namespace, row.resource, named.get('name'), row.subresource)))}"
    bodies = {"requestObject": row.asked, "responseObject": row.answered}
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": row.level,
        "auditID": "<id>",
        "stage": row.stage,
        "requestURI": f"{path if row.resource else '/readyz'}?timeout=10s",
        "verb": row.verb,
        **_caller(row.caller, chance),
        **({"objectRef": ref} if row.resource else {}),
        "responseStatus": {"metadata": {}, "code": row.code},
        **{key: _body(row.resource, size, chance) for key, size in bodies.items() if size},
        "requestReceivedTimestamp": "<at>",
        "stageTimestamp": "<at>",
        "annotations": {
            "authorization.k8s.io/decision": "forbid" if row.code == 403 else "allow",  # noqa: PLR2004 - HTTP
            "authorization.k8s.io/reason": f'RBAC: allowed by ClusterRoleBinding "{row.caller}" of ClusterRole "x"',
        },
    }


OTHERS = {
    "node": ("system:node:node1", "system:nodes"),
    "admin": ("kubernetes-admin", "kubeadm:cluster-admins"),
}
ACCOUNTS = {
    "firebreak": ("firebreak", "firebreak", "firebreak-676b988467-{0:05}"),
    "firebreak-unbound": ("firebreak", "firebreak", ""),
    "pod": ("shop-{0:08x}", "web", "web-7d9f8b6c5-{0:05}"),
    "account": ("shop-{0:08x}", "web", ""),
    "controller": ("kube-system", "controller-{0}", None),
}
"""Namespace, name, and the pod that has a token; "" where a token was asked for, None where it is of no kind known."""


def _caller(kind: str, chance: random.Random) -> Json:
    number = chance.randrange(CALLERS)
    if kind in ACCOUNTS:
        user = _account(number, *ACCOUNTS[kind])
    else:
        name, *groups = OTHERS.get(kind, (kind,))
        user = {"username": name, "groups": [*groups, "system:authenticated"]}
    agent = f"{kind}/v1.35.4 (linux/amd64) kubernetes/3a2b1c0"
    return {"user": user, "sourceIPs": [f"10.244.0.{number}"], "userAgent": agent}


def _account(number: int, namespace: str, name: str, pod: str | None) -> Json:
    namespace, name = namespace.format(number), name.format(number)
    extra = {} if pod is None else {"credential-id": [f"JTI={number:032x}"]}
    if pod:
        named = pod.format(number)
        extra |= {"node-name": ["node1"], "node-uid": ["6" * 36], "pod-name": [named], "pod-uid": [f"{number:036x}"]}
    user: Json = {
        "username": f"system:serviceaccount:{namespace}:{name}",
        "uid": f"{number:036x}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
    }
    if extra:
        user["extra"] = {f"authentication.kubernetes.io/{key}": value for key, value in extra.items()}
    return user


CONTAINER: Json = {
    "name": "app",
    "image": "registry.example/shop/app:1.4.2",
    "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
}
POD: Json = {
    "containers": [CONTAINER],
    "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
}
SPECS: dict[str, Json] = {
    "pods": {"spec": POD},
    **{kind: {"spec": {"template": {"spec": POD}}} for kind in ("deployments", "replicasets", "daemonsets")},
    **{kind: {"rules": [{"verbs": ["get"], "resources": ["pods"]}]} for kind in ("roles", "clusterroles")},
    **{kind: {"roleRef": {"name": "view"}} for kind in ("rolebindings", "clusterrolebindings")},
}


def _body(resource: str, size: int, chance: random.Random) -> Json:
    """An object of about so many bytes; what is missing is filled as most objects are: with who manages its fields."""
    body: Json = {"metadata": {"name": "x-<name>"}, **SPECS.get(resource, {"spec": {"replicas": 1}})}
    missing = size - len(msgspec.json.encode(body))
    fields: Sequence[str] = [
        "".join(chance.choices(string.ascii_lowercase, k=12)) for _ in range(max(0, missing // 20))
    ]
    return {**body, "metadata": {**body["metadata"], "managedFields": {f"f:{field}": {} for field in fields}}}
