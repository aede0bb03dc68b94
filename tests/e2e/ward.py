"""A namespace with everything that a thief could want, and what Firebreak sends there, built by its own steps."""

import json
from dataclasses import replace

from firebreak.api.playbook import Detach
from firebreak.engine.execute import materialize
from firebreak.model.change import Change, Verb
from firebreak.model.facts import Account, Grant, Network, Rights, Secrets, SecretUse, Workload
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps import quarantine, revoke, rotate
from firebreak.steps import replace as replacing
from incidents import IDLE, Object, Place, account, binding, container, pod, secret, workload
from shop_objects import incident
from thefts import POLICY_DENIES, network_policy
from thefts_eradicate import TOKEN_TYPE, crowd_of
from thief import KEY, RECORD, UID, Attempt

OPTED_IN = {"firebreak.dev/rotate": json.dumps({"password": {"length": 12, "alphabet": "hex"}})}
KNOWN_GOOD = "busybox:known-good"
ROLLING = ("Deployment", "StatefulSet", "DaemonSet")
SENT = [
    "create NetworkPolicy",
    "delete Secret",
    "patch DaemonSet",
    "patch DaemonSet",
    "patch Deployment",
    "patch Deployment",
    "patch NetworkPolicy",
    "patch Pod",
    "patch Pod",
    "patch Pod",
    "patch Pod",
    "patch RoleBinding",
    "patch Secret",
    "patch StatefulSet",
    "patch StatefulSet",
]
"""The Changes of `what_firebreak_sends`, in order of the alphabet."""


def furnish(ward: Place) -> None:
    """Put it all there. No pod needs to run: admission is asked before anything else."""
    till, kept = pod("till", container(IDLE)), pod("kept", container(IDLE))
    till["metadata"]["labels"] |= {KEY: "true", "quarantine": "true"}
    kept["metadata"] |= {"labels": {"late": "yes", KEY: "true", "quarantine": "true"}}
    kept["metadata"] |= {"annotations": {RECORD: '{"app": "kept"}'}}
    ward.apply(
        account("clerk"),
        pod("desk", container(IDLE)),
        till,
        kept,
        secret("opted", OPTED_IN, password="old", host="db", hex="old", length="old"),
        secret("plain", password="old"),
        secret("lasting", {"kubernetes.io/service-account.name": "clerk"}, TOKEN_TYPE),
        network_policy("shut", {"podSelector": {}}),
        network_policy(f"firebreak-{UID}", POLICY_DENIES),
        clerks(ward.namespace),
        *(workload(kind, "web", container(IDLE), replicas=0) for kind in ("Deployment", "StatefulSet")),
        daemons(),
        incident("open", {"pod": "nobody"}, mode="Preserve"),
    )


def clerks(namespace: str) -> Object:
    """A binding of all kinds of subjects."""
    found = binding("RoleBinding", "crowd", "view", *crowd_of(namespace))
    return {**found, "roleRef": {**found["roleRef"], "kind": "ClusterRole"}}


def daemons() -> Object:
    """A DaemonSet for nodes that are not there."""
    found = workload("DaemonSet", "web", container(IDLE), nodeSelector={"firebreak.test/node": "none"})
    del found["spec"]["replicas"]
    return found


def asked(change: Change) -> Attempt:
    """The request of a Change, as a dry run."""
    method = {Verb.CREATE: "POST", Verb.PATCH: "PATCH", Verb.DELETE: "DELETE"}[change.verb]
    path = change.target.path.rpartition("/")[0] if change.verb is Verb.CREATE else change.target.path
    return Attempt(change.id, "", method, path, materialize(change.body))


def quarantining(ward: Place) -> list[Change]:
    """The first cut, a policy mended, pods detached, one of them again; `open` is what the held pods are held by."""
    ref = IncidentRef(ward.namespace, "open", UID)
    desk, till, kept = (Pod(ward.get("pod", name)) for name in ("desk", "till", "kept"))
    widened = {**ward.get("networkpolicy", f"firebreak-{UID}"), "spec": {"podSelector": {}, "ingress": [{}]}}
    other = replace(ref, uid=UID.replace("0bad", "1bad"))
    mended = quarantine.plan(Network(ref, (till,), (widened,)), detach=Detach.ALWAYS)
    return [quarantine.label(ref, desk.ref), quarantine.deny_all(other), *mended, quarantine.strip(kept, ref)]


def eradicating(ward: Place) -> list[Change]:
    """A subject taken out, a Secret rotated, its user restarted, a token deleted, a known-good image put in."""
    ref, clerk = IncidentRef(ward.namespace, "open", UID), Account(ward.namespace, "clerk")
    crowd = {"kind": "RoleBinding", **ward.get("rolebinding", "crowd")}
    rights = Rights(ref, clerk, (Grant(crowd, ()),))
    web, *others = ({"kind": kind, **ward.get(kind.lower(), "web")} for kind in ROLLING)
    uses = tuple(
        SecretUse(
            ward.namespace,
            name,
            ("in reach",),
            ward.get("secret", name, "--show-managed-fields")["metadata"],
            name == "lasting",
        )
        for name in ("opted", "lasting")
    )
    using = tuple(
        {**each, "spec": {**each["spec"], "template": reading(each["spec"]["template"], "opted")}}
        for each in (web, *others)
    )
    secrets = Secrets(ref, uses, using, (), (), (), frozenset())
    cures = [change for each in (web, *others) for change in replacing.plan(Workload(ref, each), {"app": KNOWN_GOOD})]
    return [*revoke.plan(rights), *rotate.plan(secrets), *cures]


def reading(template: Object, name: str) -> Object:
    """A pod template that takes its environment from a Secret."""
    (only,) = template["spec"]["containers"]
    used = {**only, "envFrom": [{"secretRef": {"name": name}}]}
    return {**template, "spec": {**template["spec"], "containers": [used]}}


def what_firebreak_sends(ward: Place) -> list[Attempt]:
    """Each Change that it may make there, as a dry run."""
    return [asked(change) for change in (*quarantining(ward), *eradicating(ward))]
