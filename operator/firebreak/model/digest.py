"""The digest of a plan: what an Approval names, and what tells whether a plan is still the one that was shown.

It holds what a Change does and to whom: verb, object with its uid, part, body, what is overwritten, risk. It leaves out
what changes by itself: versions, the order of Changes and subjects, the words that explain. Values of secrets are not
in it: generated ones do not exist yet, and literal ones in containers are left out as in the evidence.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from firebreak.model.change import PRECONDITIONS, Change, Generated
from firebreak.model.names import MARKS
from firebreak.model.redact import redact_pod
from firebreak.model.words import listed


def digest_of(change: Change) -> str:
    """Return the digest of one Change, `sha256:` and hexadecimal."""
    return sha256(
        {
            "verb": change.verb,
            "object": [change.target.kind, change.target.namespace, change.target.name, change.target.uid],
            "part": change.part,
            "body": _canonical(_asked(redact_pod(change.body))) if change.body is not None else None,
            "before": _canonical(redact_pod(change.before)) if change.before is not None else None,
            "risk": [change.risk.reversible, change.risk.beyond, sorted(change.risk.touches), change.risk.put_back],
            "after": sorted(change.after),
            "refusal": change.refusal,
        }
    )


def plan_digest(incident: str, step: str, changes: Iterable[Change]) -> str:
    """Return the digest of these Changes as a plan of one step of the incident of that uid, in whatever order.

    With the uid an approval of an earlier incident of the same name is one of another plan.
    """
    return sha256({"incident": incident, "step": step, "changes": digests(changes)})


def digests(changes: Iterable[Change]) -> dict[str, str]:
    """Return the digest of each Change by its id."""
    return {change.id: digest_of(change) for change in changes}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in words how two plans, given as `digests` does, differ; empty when they do not."""
    new, gone = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
    altered = sorted(key for key in now.keys() & before.keys() if now[key] != before[key])
    parts = (("new", new), ("gone", gone), ("altered", altered))
    return "; ".join(f"{word}: {listed(ids, 3)}" for word, ids in parts if ids)


def _asked(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a body asks for, without what only guards it."""
    if "metadata" not in body:
        return body
    return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k not in PRECONDITIONS}}


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, Generated):
        return {"generated": [value.length, value.alphabet]}
    if isinstance(value, Mapping):
        return {str(k): None if str(k).startswith(MARKS) else _canonical(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = [_canonical(item) for item in value]
        return sorted(items, key=_text) if key == "subjects" else items
    return value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sha256(value: Any) -> str:
    """Return the digest of a JSON value, `sha256:` and hexadecimal; the order of keys does not count."""
    return "sha256:" + hashlib.sha256(_text(value).encode()).hexdigest()
