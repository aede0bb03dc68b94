"""What the fake API server keeps: objects, their versions, and the rules of writing.

Stored dictionaries are never changed in place: every write makes a new one, so that the history
(watches, stale reads) may hold on to them without copies.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from . import errors, rules
from .resources import NAMESPACE, Obj, Resource
from .rules import Update
from .selectors import Matches

Key = tuple[tuple[str, str], str, str]
LARGEST_OBJECT = 1536 * 1024  # bytes; etcd's default limit of a request
HELD = {"pods", "namespaces"}  # what `hold_deletions` keeps in the state of leaving


@dataclass(frozen=True)
class Change:
    """One entry of the history: what an object became (`obj`) and what it was before."""

    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    key: Key
    obj: Obj
    previous: Obj | None


def utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Objects by key, one counter of versions, and the history of changes."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._objects: dict[Key, Obj] = {}
        self.version = 1
        self.long_ago = 0  # no stale read goes back before this version
        self.oldest = 1  # a watch from before this version is answered with 410
        self.history: list[Change] = []
        self.on_change: Callable[[], None] = lambda: None
        self.hold_deletions = False
        for name in ("default", "kube-system"):
            self.create(NAMESPACE, "", {"metadata": {"name": name}})

    def create(self, resource: Resource, namespace: str, obj: Obj, *, dry_run: bool = False, seed: bool = False) -> Obj:
        """Add an object; with `seed` it keeps a uid and times of its own.

        Raises ApiError: AlreadyExists, NotFound (namespace), Invalid, BadRequest.
        """
        metadata = dict(obj.get("metadata") or {})
        name = metadata.get("name") or rules.generated(metadata.get("generateName", ""))
        if not name:
            problem = "Required value: name or generateName is required"
            raise errors.invalid(resource, "", "metadata.name", problem, reason="FieldValueRequired")
        if metadata.get("resourceVersion"):
            raise errors.internal("resourceVersion should not be set on objects to be created")
        key = (resource.stored, namespace, name)
        self._check_namespace(resource, namespace, name)
        if key in self._objects:
            raise errors.already_exists(resource, name)
        own = {key: metadata.pop(key) for key in rules.GIVEN_METADATA if key in metadata}
        metadata |= {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": self._timestamp()}
        if resource.namespaced:
            metadata["namespace"] = namespace
        if resource.generation:
            metadata["generation"] = 1
        if seed:
            metadata |= own
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        new = rules.normal(resource, {**head, **obj, "metadata": metadata})
        return new if dry_run else self._commit("ADDED", key, new, None)

    def read(self, resource: Resource, namespace: str, name: str) -> Obj:
        """Raises ApiError NotFound."""
        try:
            return self._objects[resource.stored, namespace, name]
        except KeyError:
            raise errors.not_found(resource, name) from None

    def has(self, resource: Resource, namespace: str, name: str) -> bool:
        return (resource.stored, namespace, name) in self._objects

    def list(self, resource: Resource, namespace: str | None, matches: Matches) -> list[Obj]:
        """Objects in the order of the real server (namespace, name); namespace None means all."""
        keys = sorted(key for key in self._objects if in_scope(key, resource, namespace))
        return [self._objects[key] for key in keys if matches(self._objects[key])]

    def update(self, update: Update) -> Obj:
        """Raises ApiError: NotFound, Conflict (version), Conflict or Invalid (uid), Invalid (no version)."""
        resource, name = update.resource, update.name
        current = self.read(resource, update.namespace, name)
        wanted = update.change(current)
        rules.check_preconditions(update, current, wanted)
        new = rules.normal(resource, rules.merged(update, current, wanted))
        if new == current:
            return current
        if resource.generation and not update.status and rules.intent(resource, new) != rules.intent(resource, current):
            generation = current["metadata"].get("generation", 0) + 1
            new = {**new, "metadata": {**new["metadata"], "generation": generation}}
        if update.dry_run:
            return new
        key = (resource.stored, update.namespace, name)
        leaving = current["metadata"].get("deletionTimestamp") and current["metadata"].get("finalizers")
        if leaving and not new["metadata"].get("finalizers"):
            self._commit("DELETED", key, new, current)
            return new
        return self._commit("MODIFIED", key, new, current)

    def delete(self, resource: Resource, namespace: str, name: str, options: Obj) -> tuple[Obj, bool]:
        """Delete with DeleteOptions; returns the object and whether it is gone.

        It stays, with a deletionTimestamp, while it has finalizers or (pods, namespaces) deletions are held.
        Raises ApiError: NotFound, Conflict (preconditions).
        """
        current = self.read(resource, namespace, name)
        rules.check_delete(resource, current, options.get("preconditions") or {})
        key = (resource.stored, namespace, name)
        held = self.hold_deletions and resource.plural in HELD and options.get("gracePeriodSeconds") != 0
        dry_run = bool(options.get("dryRun"))
        grace = options.get("gracePeriodSeconds", 30) if held else 0
        new = rules.marked_for_deletion(resource, current, self._timestamp(), grace)
        if not held and not current["metadata"].get("finalizers"):
            if not dry_run:
                self._empty_namespace(resource, name)
                self._commit("DELETED", key, current, current)
            return (new if resource.plural == "pods" else current), True
        if current["metadata"].get("deletionTimestamp"):
            return current, False
        return (new if dry_run else self._commit("MODIFIED", key, new, current)), False

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Gone at once, whatever holds it. Raises ApiError NotFound."""
        current = self.read(resource, namespace, name)
        self._commit("DELETED", (resource.stored, namespace, name), current, current)

    def stale(self, resource: Resource, namespace: str | None, name: str | None) -> tuple[dict[Key, Obj], int]:
        """The objects in scope as they were before the latest change to any of them, and the version of then."""
        version, objects = (
            self.version,
            {key: obj for key, obj in self._objects.items() if in_scope(key, resource, namespace)},
        )
        for change in reversed(self.history):
            if change.version <= self.long_ago:
                break
            if not in_scope(change.key, resource, namespace) or name not in {None, change.key[2]}:
                continue
            version = change.version - 1
            if change.previous is None:
                objects.pop(change.key, None)
            else:
                objects[change.key] = change.previous
            break
        return objects, version

    def compact(self) -> None:
        """Forget the history: a watch that starts before now is answered with 410."""
        self.oldest = self.version

    def ensure_namespace(self, namespace: str) -> None:
        if (NAMESPACE.stored, "", namespace) not in self._objects:
            self.create(NAMESPACE, "", {"metadata": {"name": namespace}})

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        if self.read(NAMESPACE, "", namespace)["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(resource, name, why)

    def _empty_namespace(self, resource: Resource, name: str) -> None:
        if resource is not NAMESPACE:
            return
        for key in sorted(key for key in self._objects if key[1] == name):
            self._commit("DELETED", key, self._objects[key], self._objects[key])

    def _commit(self, kind: Literal["ADDED", "MODIFIED", "DELETED"], key: Key, obj: Obj, previous: Obj | None) -> Obj:
        if kind != "DELETED" and len(json.dumps(obj)) > LARGEST_OBJECT:
            raise errors.internal("etcdserver: request is too large")
        self.version += 1
        new = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        if kind == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = new
        self.history.append(Change(self.version, kind, key, new, previous))
        self.on_change()
        return new

    def _timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def in_scope(key: Key, resource: Resource, namespace: str | None) -> bool:
    return key[0] == resource.stored and namespace in {None, key[1]}
