"""Quarantine: cut pods off from the network, leaving them running for capture."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import TypeAdapter

from firebreak.api.base import Json
from firebreak.api.incident import LabelKey, LabelValue, Target
from firebreak.api.playbook import Detach
from firebreak.model.change import Change, Ref, Risk, Verb, includes
from firebreak.model.enforcement import Enforcement, State
from firebreak.model.facts import Network
from firebreak.model.loose import text
from firebreak.model.names import (
    INCIDENT,
    MANAGED_BY,
    ORIGINAL_LABELS,
    QUARANTINE_LABEL,
    QUARANTINE_PREFIX,
    STAY,
    IncidentRef,
)
from firebreak.model.pod import Pod
from firebreak.model.rails import Held
from firebreak.model.verdict import CONTAINED, Verdict
from firebreak.model.words import listed
from firebreak.model.writers import SOMEBODY, last_writer
from firebreak.steps.rails import shield

RECORD = TypeAdapter(dict[LabelKey, LabelValue])  # what is no label cannot be given back: the API server refuses it
MENDED = "mended"  # the part of a Change that is needed only when somebody changed what was done


def first_cut(incident: IncidentRef, pod: Ref) -> tuple[Change, Change]:
    """Return the two Changes that contain a pod; they need no facts and are sent at the same time."""
    return label(incident, pod), deny_all(incident)


def label(incident: IncidentRef, pod: Ref) -> Change:
    """Put the incident's own key on a pod. The answer to this patch is the pod itself."""
    body: Json = {"metadata": {"labels": {incident.label: "true", QUARANTINE_LABEL: "true"}, "annotations": dict(STAY)}}
    return Change(
        Verb.PATCH,
        pod,
        body=body,
        part="quarantine",
        why="puts the pod under this incident's deny-all policy and keeps autoscalers from evicting it",
        undo=f"firebreak release {incident.name} -n {incident.namespace}",
    )


def deny_all(incident: IncidentRef) -> Change:
    """Create the policy that allows the labelled pods nothing, in or out."""
    target = Ref("NetworkPolicy", incident.policy, incident.namespace)
    body: Json = {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "labels": dict(MANAGED_BY),
            "annotations": {INCIDENT: incident.name},
        },
        "spec": deny_all_spec(incident),
    }
    return Change(
        Verb.CREATE,
        target,
        body=body,
        why="nothing in, nothing out",
        undo=f"firebreak release {incident.name} -n {incident.namespace}",
    )


def whole_cut(incident: IncidentRef, held: Held) -> Change:
    """Return the cut as the plan that a person approves. It names Services and no pods: these come and go."""
    touched = tuple(f"Service {name}" for name in held.services)
    return replace(
        deny_all(incident), why=f"cuts off all that the target means: {held.why}", risk=Risk(touches=touched)
    )


def deny_all_spec(incident: IncidentRef) -> Json:
    """Return the spec: both directions named, no rule in either."""
    return {"podSelector": {"matchLabels": {incident.label: "true"}}, "policyTypes": ["Ingress", "Egress"]}


def plan(facts: Network, *, detach: Detach) -> Iterator[Change]:
    """Return what is still missing for the pods to be cut, then detached. Nothing when all of it holds."""
    live = next((p for p in facts.policies if p["metadata"]["name"] == facts.incident.policy), None)
    if live is None:
        yield deny_all(facts.incident)
    elif not denies_all(live, facts.incident):
        yield _mend(live, facts.incident)
    for pod in facts.pods:
        wanted = label(facts.incident, pod.ref)
        if not includes(pod.raw, wanted.body):
            yield wanted
        if detachable(pod, detach):
            yield strip(pod, facts.incident)


def detaching(target: Target | None, wanted: Detach) -> Detach:
    """Return what to detach of a target: nothing of one that grows, for what replaces a detached pod would join it."""
    return wanted if target and target.pod else Detach.NEVER


def detachable(pod: Pod, wanted: Detach) -> bool:
    """Return whether a pod is to be detached, and this has not happened yet."""
    if pod.detached or wanted is Detach.NEVER:
        return False
    return wanted is Detach.ALWAYS or (pod.controller or {}).get("kind") == "ReplicaSet"


def as_detached(pod: Pod) -> Pod:
    """Return the pod as it will be after detaching, for plans of what comes then."""
    annotations = {**pod.annotations, ORIGINAL_LABELS: json.dumps(_originals(pod), sort_keys=True)}
    metadata = {**pod.metadata, "labels": {}, "annotations": annotations, "ownerReferences": []}
    return Pod({**pod.raw, "metadata": metadata})


def denies_all(policy: Json, incident: IncidentRef) -> bool:
    """Return whether a policy is still ours: the right selector, both directions, no rule."""
    spec = policy.get("spec") or {}
    selector = spec.get("podSelector") or {}
    return (
        selector.get("matchLabels") == {incident.label: "true"}
        and not selector.get("matchExpressions")
        and set(spec.get("policyTypes") or []) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def quarantined_by(policy: Json) -> str | None:
    """Return the label key that an incident's policy cuts off, None when it is not one or was opened."""
    prefix, _, uid = text(policy["metadata"].get("name")).partition("-")
    incident = IncidentRef("", "", uid)
    return incident.label if prefix == "firebreak" and denies_all(policy, incident) else None


def _mend(live: Json, incident: IncidentRef) -> Change:
    """Put our policy back as it must be, whatever somebody made of it."""
    labels = ((live.get("spec") or {}).get("podSelector") or {}).get("matchLabels") or {}
    selector = {"matchLabels": {**dict.fromkeys(labels), incident.label: "true"}, "matchExpressions": None}
    spec = {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": None, "egress": None}
    return Change(
        Verb.PATCH,
        Ref("NetworkPolicy", incident.policy, incident.namespace),
        body={"spec": spec},
        before={"spec": live.get("spec")},
        part=MENDED,
        why="somebody changed the deny-all policy; it must allow nothing",
        undo=f"firebreak release {incident.name} -n {incident.namespace}",
    )


def strip(pod: Pod, incident: IncidentRef) -> Change:
    """Detach: strip the pod's own labels, so that Services drop it and its controller lets it go."""
    of_replicaset = (pod.controller or {}).get("kind") == "ReplicaSet"
    fresh = "its ReplicaSet makes a fresh one, and no rollout can delete it"
    originals = _originals(pod)
    body: Json = {
        "metadata": {
            "labels": dict.fromkeys(pod.own_labels),
            "annotations": {ORIGINAL_LABELS: json.dumps(originals, sort_keys=True)},
        }
    }
    return Change(
        Verb.PATCH,
        pod.ref,
        body=body,
        before={"labels": originals},
        part="detach",
        why=f"Services drop the pod, {fresh if of_replicaset else 'and a controller, if it has one, lets it go'}",
        undo=f"firebreak release {incident.name} -n {incident.namespace} gives the labels back",
    )


def original_labels(pod: Pod) -> dict[str, str] | None:
    """Return the labels that detaching stripped, None when none are recorded or the record was tampered with."""
    try:
        recorded = RECORD.validate_json(pod.annotations[ORIGINAL_LABELS])
    except (KeyError, ValueError):
        return None
    return {k: v for k, v in recorded.items() if k != QUARANTINE_LABEL and not k.startswith(QUARANTINE_PREFIX)}


def _originals(pod: Pod) -> dict[str, str]:
    """What to record: the labels of now, and those of an earlier detaching that somebody has half undone since."""
    return {**(original_labels(pod) or {}), **pod.own_labels}


def judge(facts: Network, enforcement: Enforcement) -> Verdict:
    """Say whether the pods are cut off. A policy that was accepted is not yet a packet that was dropped."""
    if flaw := next(_flaws(facts), None):
        return flaw
    names = listed([pod.name for pod in facts.pods], 10)
    if facts.foreign and enforcement.state is not State.NOT_ENFORCED:
        words = f"{names}: other policy engines may still allow traffic: {listed(facts.foreign)}"
        return Verdict(CONTAINED, "Unknown", "OtherPolicyEngines", words)
    match enforcement.state:
        case State.PROVEN if facts.gone:
            words = (
                f"{listed(facts.gone, 10)} left the API: a forced deletion leaves processes running, look at the "
                f"node; {names} cut off, enforcement proven {enforcement.at}"
            )
            return Verdict(CONTAINED, "Unknown", "TargetGone", words)
        case State.PROVEN:
            return Verdict(CONTAINED, "True", "Enforced", f"{names}; enforcement proven {enforcement.at}")
        case State.NOT_ENFORCED:
            words = f"{names}: labelled, but this cluster does not enforce it ({enforcement.at}): {enforcement.detail}"
            return Verdict(CONTAINED, "False", "NotEnforced", words)
        case _:
            words = f"{names}: the policy is accepted; run `firebreak preflight` to prove that the cluster enforces it"
            return Verdict(CONTAINED, "Unknown", "EnforcementUnproven", words)


def _flaws(facts: Network) -> Iterator[Verdict]:
    """Yield what contradicts containment, the plainest first."""
    if facts.spared:
        held = shield(facts.incident, facts.spared)
        cut = f" Cut off: {listed([pod.name for pod in facts.pods], 10)}" if facts.pods else ""
        yield Verdict(CONTAINED, "False", held.rail, f"{held.why}.{cut}")
    if facts.gone and not facts.pods:
        words = f"{listed(facts.gone, 10)} left the API; a forced deletion leaves processes running: look at the node"
        yield Verdict(CONTAINED, "Unknown", "TargetGone", words)
    if not facts.pods:
        yield Verdict(CONTAINED, "False", "TargetNotFound", "no pod of the target is there")
    if missing := [change.target.name for change in plan(facts, detach=Detach.NEVER)]:
        words = f"label or policy is not in place for {listed(missing)}"
        yield Verdict(CONTAINED, "False", "NotCut", words)
    if host := [pod.name for pod in facts.pods if pod.spec.get("hostNetwork")]:
        words = f"{listed(host, 10)} uses the node's network: no NetworkPolicy applies; cordon the node"
        yield Verdict(CONTAINED, "False", "HostNetwork", words)
    allowing = {name: policy for pod in facts.pods for name, policy in allowed_by(pod, facts.policies).items()}
    if allowed := [_with_writer(name, policy) for name, policy in sorted(allowing.items())]:
        words = f"policies are additive and these still allow traffic: {listed(allowed, 10)}"
        yield Verdict(CONTAINED, "False", "AllowedByOtherPolicies", words)


def _with_writer(name: str, policy: Json) -> str:
    by = last_writer(policy, "f:spec")
    return name if by == SOMEBODY else f"{name} (written by {by})"


def allowed_by(pod: Pod, policies: tuple[Json, ...]) -> dict[str, Json]:
    """Return the policies, by name, that still allow this pod something: policies are additive."""
    return {
        str(policy["metadata"]["name"]): policy
        for policy in policies
        if selects((policy.get("spec") or {}).get("podSelector") or {}, pod) and allows(policy.get("spec") or {})
    }


def allows(spec: Json) -> bool:
    """Return whether a policy has a rule in a direction it speaks of (default: ingress, and egress if it has rules)."""
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    return any(spec.get(kind.lower()) for kind in types)


def selects(selector: Json, pod: Pod) -> bool:
    """Return whether a label selector selects the pod. An empty one selects every pod."""
    labels = pod.labels
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(labels, r) for r in selector.get("matchExpressions") or [])


def _meets(labels: Mapping[str, str], requirement: Json) -> bool:
    key, values = str(requirement.get("key")), requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True  # an operator we do not know: assume that it selects, so that the policy is named
