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
# Fields of built-in resources that the server leaves out when they are empty.
OMITTED_WHEN_EMPTY = {"data", "stringData", "binaryData", "subjects", "secrets", "imagePullSecrets", "endpoints"}
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
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
    if asked.get("namespace", update.namespace) != update.namespace:
        raise errors.bad_request(OTHER_NAMESPACE)
    uid = asked.get("uid") or held["uid"]
    if uid != held["uid"] and update.put:
        key = "/".join(part for part in ("/registry", resource.plural, update.namespace, name) if part)
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held['uid']}"
        )
        raise errors.conflict(resource, name, why)
    version = asked.get("resourceVersion")
    if not version and resource.put_needs_version:
        raise errors.version_required(resource, name)
    if version and version != held["resourceVersion"]:
        raise errors.modified(resource, name)
    if uid != held["uid"]:
        raise errors.invalid(resource, name, "metadata.uid", f'Invalid value: "{uid}": field is immutable')
    _check_finalizers(update, held, asked)


def _check_finalizers(update: Update, held: Obj, asked: Obj) -> None:
    new = [name for name in asked.get("finalizers") or [] if name not in (held.get("finalizers") or [])]
    if not held.get("deletionTimestamp") or not new:
        return
    names = ", ".join(f'"{name}"' for name in new)
    problem = (
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{names}}}"
    )
    field = "metadata.finalizers"
    raise errors.invalid(update.resource, update.name, field, problem, reason="FieldValueForbidden")


def check_delete(resource: Resource, current: Obj, preconditions: Obj) -> None:
    metadata = current["metadata"]
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.precondition_failed(resource, metadata["name"], why)
    if version and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.precondition_failed(resource, metadata["name"], why)


def merged(update: Update, current: Obj, wanted: Obj) -> Obj:
    """What the write may touch of what it wants: status or the rest, never the fixed metadata."""
    if update.status:
        return _with(_relabelled(update, current, wanted), "status", wanted.get("status"))
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


def _relabelled(update: Update, current: Obj, wanted: Obj) -> Obj:
    """Seen on the real server: labels and annotations of a pod may be written through its status."""
    if update.resource.plural != "pods":
        return current
    sent: Obj = wanted.get("metadata") or {}
    metadata = _with(current["metadata"], "labels", sent.get("labels"))
    return {**current, "metadata": _with(metadata, "annotations", sent.get("annotations"))}


def _with(obj: Obj, key: str, value: Any) -> Obj:
    rest = {k: v for k, v in obj.items() if k != key}
    return rest if value is None else {**rest, key: value}


def intent(resource: Resource, obj: Obj) -> Obj:
    """The part whose change bumps the generation."""
    annotations = obj["metadata"].get("annotations") if resource.plural == "deployments" else None
    ignored = {"metadata", "status"} if resource.has_status else {"metadata"}
    return {**{k: v for k, v in obj.items() if k not in ignored}, "": annotations}


def marked_for_deletion(resource: Resource, obj: Obj, when: str, grace: int) -> Obj:
    """The object as it waits to go; that bumps the generation too."""
    metadata = {**obj["metadata"], "deletionTimestamp": when, "deletionGracePeriodSeconds": grace}
    if "generation" in metadata:
        metadata["generation"] += 1
    marked = {**obj, "metadata": metadata}
    return {**marked, "status": {"phase": "Terminating"}} if resource is NAMESPACE else marked


def normal(resource: Resource, obj: Obj) -> Obj:
    """The few defaults and conversions of the real server that callers see."""
    metadata = {key: value for key, value in obj["metadata"].items() if value not in ({}, [], None)}
    obj = {**obj, "metadata": metadata}
    if resource.typed:
        obj = {key: value for key, value in obj.items() if key not in OMITTED_WHEN_EMPTY or value}
    if resource.plural == "secrets":
        return _normal_secret(obj)
    if resource.plural == "events":
        return {"eventTime": None, "reportingComponent": "", "reportingInstance": "", **obj}
    if resource.plural == "pods":
        return {**obj, "spec": {"serviceAccountName": "default", **(obj.get("spec") or {})}}
    if resource is NAMESPACE:
        labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
        filled = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}, **obj}
        return {**filled, "metadata": {**metadata, "labels": labels}}
    return obj


def _normal_secret(obj: Obj) -> Obj:
    """stringData is written, never read: it goes into data, whose keys stand in managedFields."""
    given = {key: base64.b64encode(text.encode()).decode() for key, text in obj.get("stringData", {}).items()}
    secret = _with({"type": "Opaque", **obj}, "stringData", None)
    data = {**(secret.get("data") or {}), **given}
    if not data:
        return secret
    fields: Obj = {"f:data": {f"f:{key}": {} for key in data}}
    written = {"manager": "fake", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}
    return {**secret, "metadata": {**secret["metadata"], "managedFields": [written]}, "data": data}
