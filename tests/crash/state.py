"""The end state, without what differs from run to run: times, versions, random names, and numbers of tries."""

import json
import re
from collections import Counter
from typing import Any

from fake_api import FakeApi, Obj
from memory_store import MemoryBackend
from world import OLD_PASSWORD

KINDS = ("Pod", "NetworkPolicy", "RoleBinding", "Deployment", "Node")
MOVES = frozenset(
    {
        *("resourceVersion", "generation", "creationTimestamp", "managedFields", "observedGeneration", "uid"),
        *(
            "attempts",
            "counts",
            "shown",
            "startedAt",
            "finishedAt",
            "lastTransitionTime",
            "digest",
            "seal",
            "bytes",
            "notified",
        ),
    }
)
TIME, SIZE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), re.compile(r"\d+ bytes")


def state(fake: FakeApi, store: MemoryBackend) -> Obj:
    """Objects, status and evidence as they are now."""
    objects = {f"{kind} {obj['metadata']['name']}": _still(_object(obj)) for kind in KINDS for obj in fake.list(kind)}
    status = (fake.find("Incident", "shop", "shell") or {}).get("status") or {}
    return {"objects": objects, "secret": _secret(fake), "status": _status(status), "evidence": _evidence(store)}


def changes(fake: FakeApi) -> Counter[str]:
    """How often each object was changed, the incident and its Events left out."""
    kinds = (*KINDS, "Secret")
    return Counter(f"{kind} {change.key[2]}" for kind in kinds for change in fake.history(kind))


def _object(obj: Obj) -> Obj:
    """An object without the values of marks that are made of versions."""
    text = json.dumps(obj)
    still: Obj = json.loads(re.sub(r'("restarted[^"]*": )"[0-9a-f]+"', r'\1"MARK"', text))
    return still


def _secret(fake: FakeApi) -> Obj:
    secret = fake.get("Secret", "shop", "db")
    new = secret["data"]["password"] != OLD_PASSWORD
    return {"keys": sorted(secret["data"]), "new": new, "annotations": sorted(secret["metadata"]["annotations"])}


def _status(status: Obj) -> Obj:
    found: Obj = _still(status)
    found.setdefault("steps", {})
    if "timings" in status:
        found["timings"] = sorted(status["timings"])
    changes = [found["steps"].get(name, {}).get("changes", {}) for name in ("quarantine", "replace")]
    for key in [key for key in changes[-1] if key.endswith("(detach)")]:  # either may come first, and records it
        changes[0][key] = changes[-1].pop(key)
    found["conditions"] = {c["type"]: c for c in found.get("conditions", [])}
    return found


def _evidence(store: MemoryBackend) -> Obj:
    receipts = [json.loads(data) for key, data in store.objects.items() if "/receipts/" in key]
    return {r["name"]: f"{r['completeness']} {r['reason']}" for r in receipts}


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _still(each) for key, each in value.items() if key not in MOVES}
    if isinstance(value, list):
        return [_still(each) for each in value]
    return SIZE.sub("N bytes", TIME.sub("T", value)) if isinstance(value, str) else value
