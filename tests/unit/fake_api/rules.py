"""What the API server checks, keeps and fills in when an object is written. Pure functions."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import errors
from .resources import NAMESPACE, Obj, Resource

# Given by the server; what a client sends in their place is ignored.
GIVEN_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
FIXED_METADATA = ("name", "namespace", "resourceVersion", *GIVEN_METADATA)


@dataclass(frozen=True)
class Update:
    """One write to an existing object."""

    resource: Resource
    namespace: str
    name: str
    change: Callable[[Obj], Obj]
    status: bool = False  # through the status subresource: nothing else is touched
    put: bool = False  # a PUT; a wrong uid is a conflict there and an invalid field in a PATCH
    everything: bool = False  # by the test itself: main part and status at once
    dry_run: bool = False


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def generated(prefix: str) -> str:
    alphabet = "bcdfghjklmnpqrstvwxz2456789"  # the server's, without vowels and look-alikes
    return prefix and prefix + "".join(secrets.choice(alphabet) for _ in range(5))


def check_preconditions(update: Update, current: Obj, wanted: Obj) -> None:
    resource, name, held = update.resource, update.name, current["metadata"]
    asked: Obj = wanted.get("metadata") or {}
    if asked.get("name", name) != name:
        raise errors.bad_request(
            f"the name of the object ({asked['name']}) does not match the name on the URL ({name})"
        )
    uid = asked.get("uid") or held["uid"]
    if uid != held["uid"] and update.put:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held['uid']}"
        raise errors.conflict(resource, name, why)
    version = asked.get("resourceVersion")
    if not version and resource.put_needs_version:
        problem = "Invalid value: 0: must be specified for an update"
        raise errors.invalid(resource, name, "metadata.resourceVersion", problem)
    if version and version != held["resourceVersion"]:
        raise errors.modified(resource, name)
    if uid != held["uid"]:
        raise errors.invalid(resource, name, "metadata.uid", f'Invalid value: "{uid}": field is immutable')


def check_delete(resource: Resource, current: Obj, preconditions: Obj) -> None:
    metadata = current["metadata"]
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(resource, metadata["name"], why)
    if version and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict(resource, metadata["name"], why)


def merged(update: Update, current: Obj, wanted: Obj) -> Obj:
    """What the write may touch of what it wants: status or the rest, never the fixed metadata."""
    if update.status:
        return _with(current, "status", wanted.get("status"))
    sent = dict(wanted.get("metadata") or {})
    own = {name: sent.pop(name) for name in FIXED_METADATA if name in sent}
    fixed = {name: current["metadata"][name] for name in FIXED_METADATA if name in current["metadata"]}
    if update.everything:
        fixed = {**fixed, **own}
    head = {"apiVersion": current["apiVersion"], "kind": current["kind"]}
    new = {**wanted, **head, "metadata": {**sent, **fixed}}
    if update.resource.has_status and not update.everything:
        new = _with(new, "status", current.get("status"))
    return new


def _with(obj: Obj, key: str, value: Any) -> Obj:
    rest = {k: v for k, v in obj.items() if k != key}
    return rest if value is None else {**rest, key: value}


def intent(resource: Resource, obj: Obj) -> Obj:
    """The part whose change bumps the generation."""
    annotations = obj["metadata"].get("annotations") if resource.plural == "deployments" else None
    ignored = {"metadata", "status"} if resource.has_status else {"metadata"}
    return {**{k: v for k, v in obj.items() if k not in ignored}, "": annotations}


def normal(resource: Resource, obj: Obj) -> Obj:
    """The few defaults and conversions of the real server that callers see."""
    metadata = {k: v for k, v in obj["metadata"].items() if v not in ({}, [], None)}
    obj = {**obj, "metadata": metadata}
    if resource.plural == "secrets":
        given = {k: base64.b64encode(v.encode()).decode() for k, v in obj.get("stringData", {}).items()}
        obj = _with({"type": "Opaque", **obj}, "stringData", None)
        return {**obj, "data": {**(obj.get("data") or {}), **given}} if given else obj
    if resource.plural == "pods":
        return {**obj, "spec": {"serviceAccountName": "default", **(obj.get("spec") or {})}}
    if resource is NAMESPACE:
        labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
        return {"status": {"phase": "Active"}, **obj, "metadata": {**metadata, "labels": labels}}
    return obj
