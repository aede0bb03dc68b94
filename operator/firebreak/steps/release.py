"""Release: lift one incident's quarantine and give back what it took, each with the person's own rights.

Pods first, the policy last and only when no pod carries the incident's key any more: whatever interrupts a release, a
pod that is still cut is never called released, and running it again does the rest. Only this incident's own key, policy
and revocations go; another incident's on the same pod or binding stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.model.change import Change, Ref, Risk, Verb
from firebreak.model.facts import Account
from firebreak.model.names import ORIGINAL_LABELS, QUARANTINE_LABEL, QUARANTINE_PREFIX, STAY, IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.words import listed
from firebreak.steps.quarantine import original_labels
from firebreak.steps.revoke import names

LABELS_BACK = ("Services and the ReplicaSet that select its labels",)


@dataclass(frozen=True)
class Quarantined:
    """What is there of an incident's quarantine."""

    incident: IncidentRef
    pods: tuple[Pod, ...]
    """The pods that carry the incident's key."""
    policy: Json | None
    """The incident's deny-all policy."""


@dataclass(frozen=True)
class Revoked:
    """What was taken from the incident's accounts, as recorded, and the bindings as they are now."""

    incident: IncidentRef
    accounts: tuple[Account, ...]
    recorded: Mapping[str, Json]
    """What each binding held before, by the binding's name as `str(Ref)` gives it."""
    live: Mapping[str, Json]
    """The bindings that are there now, by the same name."""


def network(facts: Quarantined, *, keep_detached: bool) -> Iterator[Change]:
    """Free the pods, then delete the policy. Nothing when the quarantine is lifted already.

    A pod that is being deleted stays cut until it is gone: its processes live on for their grace period.
    """
    ending = [pod for pod in facts.pods if pod.metadata.get("deletionTimestamp")]
    for pod in facts.pods:
        if pod not in ending:
            yield _free(facts.incident, pod, keep_detached=keep_detached)
    if facts.policy is not None and not ending:
        yield _lift(facts.incident, facts.policy)


def others(pod: Pod, incident: IncidentRef) -> list[str]:
    """Return the uids of the other incidents that hold a pod."""
    keys = (key for key in pod.labels if key.startswith(QUARANTINE_PREFIX) and key != incident.label)
    return sorted(key.removeprefix(QUARANTINE_PREFIX) for key in keys)


def labels_back(change: Change) -> dict[str, str]:
    """Return the labels that a Change gives back to its pod, by the pod's record, which others may have written."""
    labels = ((change.body or {}).get("metadata") or {}).get("labels") or {}
    return {key: value for key, value in sorted(labels.items()) if value is not None}


def _free(incident: IncidentRef, pod: Pod, *, keep_detached: bool) -> Change:
    labels: dict[str, str | None] = {incident.label: None}
    annotations: dict[str, str | None] = {}
    back: dict[str, str] | None = None
    if not others(pod, incident):
        labels[QUARANTINE_LABEL] = None
        annotations |= {key: None for key, value in STAY.items() if pod.annotations.get(key) == value}
        recorded = None if keep_detached else original_labels(pod)
        if recorded is not None:
            back = {key: value for key, value in recorded.items() if key not in pod.own_labels}
            labels |= back
            annotations[ORIGINAL_LABELS] = None
    # The resourceVersion guards the judgement that no other incident holds the pod.
    metadata = {"resourceVersion": pod.metadata["resourceVersion"], "labels": labels, "annotations": annotations}
    return Change(
        Verb.PATCH,
        pod.ref,
        body={"metadata": metadata},
        before={"labels": dict(pod.labels)},
        why=_freeing(pod, incident, back, keep_detached=keep_detached),
        undo=f"open a new incident: firebreak contain pod/{pod.name} -n {pod.namespace} --reason TEXT",
        risk=Risk(reversible=back is None, touches=LABELS_BACK if back else ()),
    )


def _freeing(pod: Pod, incident: IncidentRef, back: dict[str, str] | None, *, keep_detached: bool) -> str:
    if also := others(pod, incident):
        return f"takes this incident's key off; the pod stays cut by {len(also)} other incident(s): {', '.join(also)}"
    if back:
        given = listed([f"{key}={value}" for key, value in sorted(back.items())])
        return (
            f"lets traffic through again and gives its labels back ({given}): its Services may send it requests, "
            "and its ReplicaSet may adopt it and delete a surplus pod, this one or another"
        )
    if pod.detached and back is None and not keep_detached:
        return "lets traffic through again; its own labels cannot be given back, the record of them cannot be read"
    return "lets traffic through again" + (
        "; it stays detached, without its own labels" if pod.detached and keep_detached else ""
    )


def _lift(incident: IncidentRef, policy: Json) -> Change:
    metadata = policy["metadata"]
    return Change(
        Verb.DELETE,
        Ref("NetworkPolicy", metadata["name"], metadata["namespace"], metadata["uid"]),
        before={"spec": policy.get("spec")},
        why=f"the deny-all policy of incident {incident.name} selects no pod any more",
        undo="none needed: without the incident's key on a pod it selects nothing",
    )


def rights(facts: Revoked) -> Iterator[Change]:
    """Give the incident's accounts back their places in the bindings, beside whoever is there now.

    Only what this incident took: other subjects that went meanwhile were taken out by somebody else.
    """
    for name, before in facts.recorded.items():
        binding = facts.live.get(name)
        ours = [s for s in before.get("subjects") or [] if any(_names(s, a, name) for a in facts.accounts)]
        if binding is None:
            yield _gone(name, ours)
            continue
        now = binding.get("subjects") or []
        missing = [subject for subject in ours if subject not in now]
        if missing:
            yield _give_back(facts, name, binding, before, now, missing)


def ref(name: str) -> Ref:
    """Return the binding that a name of the record means. Raises ValueError for what is no binding's name."""
    found = Ref.parse(name)
    if found.kind not in {"RoleBinding", "ClusterRoleBinding"}:
        raise ValueError(f"{name!r} names no RoleBinding or ClusterRoleBinding")
    return found


def _names(subject: Json, account: Account, binding: str) -> bool:
    return names(subject, account, {"metadata": {"namespace": ref(binding).namespace}})


def _gone(name: str, ours: list[Json]) -> Change:
    who = ", ".join(str(subject.get("name")) for subject in ours)
    words = f"the binding is not there any more; create it anew by hand if {who} is to have the right again"
    return Change(Verb.PATCH, ref(name), why=f"gives back what was taken from {who}", undo="", refusal=words)


def _give_back(facts: Revoked, name: str, binding: Json, before: Json, now: list[Json], missing: list[Json]) -> Change:
    metadata, role = binding["metadata"], binding["roleRef"]
    target = Ref(ref(name).kind, metadata["name"], metadata.get("namespace"), metadata["uid"])
    refusal = None
    if before.get("roleRef", role) != role:
        was = before["roleRef"]
        refusal = (
            f"it was made anew since and now binds {role['kind']} {role['name']}, not {was.get('kind')} "
            f"{was.get('name')}: giving back would grant what was never taken"
        )
    who = ", ".join(str(subject.get("name")) for subject in missing)
    return Change(
        Verb.PATCH,
        target,
        body={"metadata": {"resourceVersion": metadata["resourceVersion"]}, "subjects": [*now, *missing]},
        before={"subjects": now},
        why=f"gives {who} the rights of {role['kind']} {role['name']} again",
        undo=f"take {who} out of the binding's subjects again: kubectl edit {target.kind.lower()} {target.name}",
        risk=Risk(beyond=target.namespace != facts.incident.namespace),
        refusal=refusal,
    )
