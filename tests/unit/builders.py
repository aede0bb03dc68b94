"""Builders of what the pure core reads: small objects with the fields that a test speaks of, and nothing else."""

from collections.abc import Mapping
from typing import Any

from hypothesis import settings

from firebreak.api.incident import IncidentSpec
from firebreak.api.playbook import PlaybookSpec
from firebreak.api.status import IncidentStatus, StepReport, StepState
from firebreak.model.change import Change, Generated
from firebreak.model.facts import Account, Grant
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod

Json = dict[str, Any]

unhurried = settings(deadline=None)  # a busy machine is no failure

INCIDENT = IncidentRef("shop", "web-shell", "11111111-aaaa")
OTHER_INCIDENT = IncidentRef("shop", "miner", "22222222-bbbb")
NOW, LATER = "2026-11-21T02:00:00.000000Z", "2026-11-21T02:00:05.000000Z"
WEB = Account("shop", "web")


def pod(
    name: str = "web-1",
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: tuple[str, str] | None = None,
    status: Json | None = None,
    **spec: Any,
) -> Pod:
    """A pod of namespace shop; `owner` is kind and name of its controller, `spec` holds fields of its spec."""
    metadata: Json = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
    metadata["labels"] = {"app": "web"} if labels is None else dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owner:
        kind, controller = owner
        metadata["ownerReferences"] = [
            {"kind": kind, "name": controller, "uid": f"uid-{controller}", "controller": True}
        ]
    return Pod({"metadata": metadata, "spec": {"nodeName": "node-1", **spec}, "status": status or {}})


def running(*names: str, restarted: tuple[str, ...] = ()) -> Json:
    """A pod's status in which these containers run; `restarted` ones did so once."""
    return {
        "containerStatuses": [
            {
                "name": name,
                "containerID": f"containerd://{name}",
                "state": {"running": {"startedAt": NOW}},
                "restartCount": int(name in restarted),
            }
            for name in names
        ]
    }


def workload(name: str = "web", *, kind: str = "Deployment", **spec: Any) -> Json:
    """A controller of namespace shop whose pod template has this spec."""
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"kind": kind, "metadata": metadata, "spec": {"template": {"metadata": {}, "spec": spec}}}


def policy(name: str, spec: Json) -> Json:
    """A NetworkPolicy of namespace shop."""
    return {"kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def grant(
    name: str, *subjects: Json, namespace: str | None = "shop", rules: tuple[Json, ...] = (), role: str = "reader"
) -> Grant:
    """A binding of these subjects; without a namespace it is a ClusterRoleBinding."""
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    if namespace:
        metadata["namespace"] = namespace
    binding = {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"kind": "Role" if namespace else "ClusterRole", "name": role},
        "subjects": list(subjects),
    }
    return Grant(binding, rules)


def account_subject(account: Account = WEB) -> Json:
    """The subject that names a service account."""
    return {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}


def spec(**fields: Any) -> IncidentSpec:
    """The spec of an incident about the pod web-1, unless a target is given."""
    return IncidentSpec.model_validate({"target": {"pod": "web-1"}, **fields})


def playbook(*steps: str, **options: Json) -> PlaybookSpec:
    """A playbook of these steps in this order, with options by step name."""
    return PlaybookSpec.model_validate({"steps": [{name: options.get(name, {})} for name in steps]})


def status(**states: StepState) -> IncidentStatus:
    """A status with these steps in these states, each begun once unless it is pending."""
    return IncidentStatus(
        steps={
            name: StepReport(state=state, attempts=int(state is not StepState.PENDING))
            for name, state in states.items()
        }
    )


def merge_patched(live: Any, patch: Any) -> Any:
    """What a JSON merge patch makes of an object: the algorithm of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), value)
    return result


def applied(change: Change, live: Json | None) -> Json | None:
    """What the API server has after a Change: secret values stand as text, preconditions are not stored."""
    match change.verb:
        case "delete":
            return None
        case "create":
            return live or _with_values(change.body)
        case _:
            assert live is not None, f"{change.id} patches what is not there"
            body = _with_values(change.body)
            metadata = {k: v for k, v in body.get("metadata", {}).items() if k not in {"resourceVersion", "uid"}}
            patched: Json = merge_patched(live, {**body, "metadata": metadata})
            return patched


def _with_values(body: Any) -> Any:
    if isinstance(body, Generated):
        return body.alphabet[0] * body.length
    if isinstance(body, dict):
        return {key: _with_values(value) for key, value in body.items()}
    return body
