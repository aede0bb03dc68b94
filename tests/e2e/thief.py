"""Somebody who has stolen the operator's token, and the form of what they try."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from firebreak.model.tiers import Right, Tier

Object = dict[str, Any]
MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
READING = {"get", "list", "watch"}


def write_rights(tier: Tier) -> set[tuple[str, str]]:
    """The (verb, resource) of a tier that change something; an exec is one, whatever its verb."""
    rights: list[Right] = [*tier.everywhere, *tier.own]
    return {(v, r.resource) for r in rights for v in r.verbs if v not in READING or r.resource == "pods/exec"}


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    code: int
    message: str


@dataclass(frozen=True)
class Thief:
    """Somebody with a token and the API server's address."""

    server: str
    trust: ssl.SSLContext
    token: str = field(repr=False)

    def tries(self, attempt: "Attempt") -> Answer:
        """Send the request, a write as a dry run, and return the answer: what is not refused is not done either."""
        kind = patch_kind(attempt.body) if attempt.method == "PATCH" else "application/json"
        by = {"fieldManager": "thief", "force": "true"} if kind == APPLY_PATCH else {}
        query = urllib.parse.urlencode(attempt.query or {"dryRun": "All", **by}, doseq=True)
        request = urllib.request.Request(  # noqa: S310 - the test cluster's own address
            f"{self.server}{attempt.path}?{query}",
            method=attempt.method,
            data=json.dumps(attempt.body).encode() if attempt.body is not None else None,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": kind,
                **({"Impersonate-User": attempt.acting_as} if attempt.acting_as else {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.trust) as answer:  # noqa: S310 - the same
                return Answer(answer.status, "")
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, str(json.loads(refused.read()).get("message")))


@dataclass(frozen=True)
class Attempt:
    """One request, and words of the refusal. `right`: the (verb, resource) of a tier that it abuses, if it is one."""

    name: str
    refused: str
    method: str
    path: str
    body: Object | list[Object] | None = None
    query: dict[str, Any] = field(default_factory=dict)
    right: tuple[str, str] | None = None
    acting_as: str = ""


def patch_kind(body: Object | list[Object] | None) -> str:
    """A list is a JSON patch; an object that says its version is applied; another one is merged."""
    if isinstance(body, list):
        return JSON_PATCH
    return APPLY_PATCH if body and "apiVersion" in body else MERGE_PATCH


RBAC_SAYS = " cannot "
UID = "0badc0de-0bad-4bad-8bad-0badc0de0bad"
KEY = f"quarantine.firebreak.dev/{UID}"
RECORD = "firebreak.dev/original-labels"
CORE, APPS = "/api/v1", "/apis/apps/v1"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
TRIES = tuple[str, str, Object | list[Object] | None]
"""A name in words, a path, a body."""


def on(path: str, kind: str, namespace: str, name: str = "") -> str:
    """The path of an object, or of its collection."""
    return f"{path}/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")


def labels(**metadata: Any) -> Object:
    """A patch of metadata."""
    return {"metadata": metadata}


def owner() -> Object:
    """An owner that is not there: what it owns is collected as garbage."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": UID}


def abuses(refused: str, verb: str, resource: str, *tries: TRIES) -> list[Attempt]:
    """Attempts that abuse one right of a tier."""
    method = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "bind": "PATCH"}[verb]
    return [Attempt(name, refused, method, path, body, right=(verb, resource)) for name, path, body in tries]


def beyond(*tries: tuple[str, str, str, Object | None]) -> list[Attempt]:
    """Attempts that no tier gives a right to: RBAC refuses them."""
    return [Attempt(name, RBAC_SAYS, method, path, body) for name, method, path, body in tries]
