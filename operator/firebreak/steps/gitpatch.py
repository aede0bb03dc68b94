"""What to commit to Git, so that it does not put back what an incident changed: small patches, without secret values.

Each is a strategic merge patch, as kustomize's `patches` and `kubectl patch --local` take it: lists of containers merge
by name, lists of subjects are replaced whole. Decided from the record and from who manages the live objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.api.playbook import CORDON, REPLACE, REVOKE, ROTATE, Replace
from firebreak.api.status import ChangeReport, ChangeState
from firebreak.model.change import Ref
from firebreak.model.facts import Account
from firebreak.model.gitops import ManagedBy, managed_by
from firebreak.model.incident import Incident
from firebreak.model.loose import mapping, mappings
from firebreak.steps.revoke import names

STEPS = (CORDON, REVOKE, ROTATE, REPLACE)
KINDS = frozenset(
    {"Node", "RoleBinding", "ClusterRoleBinding", "Secret", "Deployment", "StatefulSet", "DaemonSet"}
)  # what people keep in Git
RESTART = "nothing to commit: a restart annotates the pods' template; if Git removes that, they restart once more"
ELSEWHERE = (
    "no patch: values of secrets are not for Git, and Firebreak does not have them. Change it where it comes from "
    "(SealedSecret, SOPS, ExternalSecret, the chart's values), or take it out of Git"
)


@dataclass(frozen=True)
class Commit:
    """What Git needs to know of one object: the patch, or in words why there is none."""

    target: Ref
    managed: ManagedBy
    patch: Json | None = None
    note: str = ""


def touched(incident: Incident) -> dict[Ref, dict[str, ChangeReport]]:
    """Return the objects of an incident that Git may manage, each with its Changes by step; refused ones left out."""
    found: dict[Ref, dict[str, ChangeReport]] = {}
    for name in STEPS:
        report = incident.status.steps.get(name)
        for change in report.changes.values() if report else ():
            ref = _ref(change)
            if ref and ref.kind in KINDS and change.state is not ChangeState.MANUAL:
                found.setdefault(ref, {})[name] = change
    return found


def _ref(change: ChangeReport) -> Ref | None:
    try:
        return Ref.parse(change.object)
    except ValueError:  # a cloud identity, or what a person is told to do elsewhere
        return None


def commits(incident: Incident, live: Mapping[Ref, Json]) -> Iterator[Commit]:
    """Yield what to commit for each touched object that is there and that somebody manages."""
    for ref, changes in touched(incident).items():
        managed = managed_by(live.get(ref, {}))
        if managed is None:
            continue
        if ref.kind == "Secret":
            yield Commit(ref, managed, note=ELSEWHERE)
            continue
        fields: Json = {}
        for name, change in changes.items():
            fields |= _fields(incident, ref, name, change)
        if fields:
            metadata = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
            head = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
            yield Commit(ref, managed, head | fields)
        else:
            yield Commit(ref, managed, note=RESTART)


def _fields(incident: Incident, ref: Ref, name: str, change: ChangeReport) -> Json:
    if name == CORDON:
        return {"spec": {"unschedulable": True}}
    if name == REVOKE:
        return {"subjects": _left(incident, ref, change)}
    if name == REPLACE and (images := _images(incident, change)):
        containers = [{"name": container, "image": image} for container, image in images.items()]
        return {"spec": {"template": {"spec": {"containers": containers}}}}
    return {}


def _left(incident: Incident, ref: Ref, change: ChangeReport) -> list[Json]:
    """Who stays in a binding: those who were there, without the incident's accounts."""
    binding = {"metadata": {"namespace": ref.namespace}}
    gone = [Account(incident.id.namespace, name) for name in incident.accounts]
    before = mappings(mapping(change.before).get("subjects"))
    return [subject for subject in before if not any(names(subject, account, binding) for account in gone)]


def _images(incident: Incident, change: ChangeReport) -> dict[str, str]:
    """The known-good images of the containers that this workload has."""
    playbook = incident.status.playbook
    options = playbook.spec.options(REPLACE) if playbook else None
    images = options.images if isinstance(options, Replace) else {}
    had = mapping(mapping(change.before).get("images"))
    return {name: image for name, image in images.items() if name in had}
