"""What a thief tries with the rights of the tiers `contain` and `preserve`, and where no tier gives a right at all."""

from typing import Any

from firebreak.kube.tarcommand import tar_command
from firebreak.kube.volatile import volatile_command
from thief import CORE, KEY, RECORD, ROLES, UID, Attempt, Object, abuses, beyond, labels, on, owner

NET, GROUP = "/apis/networking.k8s.io/v1", "/apis/firebreak.dev/v1alpha1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICY_DENIES = {"podSelector": {"matchLabels": {KEY: "true"}}, "policyTypes": ["Ingress", "Egress"]}


def network_policy(name: str, spec: Object) -> Object:
    """A NetworkPolicy."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def on_pods(ns: str) -> list[Attempt]:
    """The pod `till` is under quarantine, `desk` is not."""
    desk, till = on(CORE, "pods", ns, "desk"), on(CORE, "pods", ns, "till")
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "intruder:1"}]
    return abuses(
        "firebreak-contain-pods",
        "patch",
        "pods",
        ("run another image in a pod", desk, image),
        ("shorten a pod's life", desk, {"spec": {"activeDeadlineSeconds": 1}}),
        ("give a pod to a Service", desk, labels(labels={"app": "till"})),
        ("take a pod out of its Service without a cut", desk, labels(labels={"app": None})),
        ("free a quarantined pod", till, labels(labels={KEY: None})),
        ("take the guide's label off", till, labels(labels={"quarantine": None})),
        ("write an annotation", desk, labels(annotations={"firebreak.dev/note": "x"})),
        ("have a pod collected", desk, labels(ownerReferences=[owner()])),
        ("hold a pod by a finalizer", desk, labels(finalizers=["intruder.example/stay"])),
        ("cut kube-system", on(CORE, "pods", "kube-system", "desk"), labels(labels={KEY: "true"})),
        ("cut Firebreak itself", on(CORE, "pods", "firebreak", "desk"), labels(labels={KEY: "true"})),
    )


def on_records_of_labels(ns: str) -> list[Attempt]:
    """What a release would give back: `desk` is not under quarantine, `till` is, `kept` has a record already."""
    desk, till, kept = (on(CORE, "pods", ns, name) for name in ("desk", "till", "kept"))
    cut, stripped = {KEY: "true", "quarantine": "true"}, {"app": None}
    bank, nothing, late = ({RECORD: text} for text in ('{"app": "bank"}', "{}", '{"late": "yes"}'))
    more = {RECORD: '{"app": "till", "role": "admin"}'}
    applied = {"apiVersion": "v1", "kind": "Pod", **labels(name="till", annotations=bank)}
    rewritten = [{"op": "replace", "path": f"/metadata/annotations/{RECORD.replace('/', '~1')}", "value": "{}"}]
    return abuses(
        "firebreak: the record of a pod's own labels is written when they are stripped",
        "patch",
        "pods",
        ("plant a record on a pod that is not cut", desk, labels(annotations=bank)),
        ("plant an empty record on a pod that is not cut", desk, labels(annotations=nothing)),
        ("record labels of a pod that was not stripped", till, labels(annotations=bank)),
        ("record them by an apply", till, applied),
        ("rewrite a record", kept, labels(annotations=bank)),
        ("rewrite a record by a JSON patch", kept, rewritten),
        ("drop a record", kept, labels(annotations={RECORD: None})),
        ("strip a pod and record another's labels", till, labels(labels=stripped, annotations=bank)),
        ("strip a pod and record nothing", till, labels(labels=stripped, annotations=nothing)),
        ("strip a pod and record more", till, labels(labels=stripped, annotations=more)),
        ("strip a pod and forget what went before", kept, labels(labels={"late": None}, annotations=late)),
        ("cut, strip and lie at once", desk, labels(labels={**stripped, **cut}, annotations=bank)),
    )


def on_policies(ns: str) -> list[Attempt]:
    """`shut` is somebody's policy, `firebreak-UID` one of an incident."""
    policy, kind = "firebreak-contain-policies", "networkpolicies"
    everywhere = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    other, our_name = f"firebreak-{UID.replace('0bad', '1bad')}", f"firebreak-{UID}"
    there, theirs, ours = (on(NET, kind, ns, name) for name in ("", "shut", our_name))
    return [
        *abuses(
            policy,
            "create",
            kind,
            ("write a policy of their own", there, network_policy("open", {"podSelector": {}})),
            ("cut everything under an incident's name", there, network_policy(other, everywhere)),
            ("open under an incident's name", there, network_policy(other, {**POLICY_DENIES, "egress": [{}]})),
            ("cut kube-system by a policy", on(NET, kind, "kube-system"), network_policy(our_name, POLICY_DENIES)),
        ),
        *abuses(
            policy,
            "patch",
            kind,
            ("open somebody's policy", theirs, {"spec": {"egress": [{}]}}),
            ("close somebody's policy", theirs, {"spec": POLICY_DENIES}),
            ("widen an incident's policy", ours, {"spec": {"ingress": [{}]}}),
            ("have an incident's policy select everything", ours, {"spec": {"podSelector": None}}),
            ("have an incident's policy collected", ours, labels(ownerReferences=[owner()])),
        ),
        *abuses(policy, "delete", kind, ("open Firebreak's port", on(NET, kind, "firebreak", "firebreak"), None)),
        *beyond(("delete an incident's policy", "DELETE", ours, None)),
    ]


def on_incidents(ns: str) -> list[Attempt]:
    """The incident `open` is being worked on."""
    path, done = on(GROUP, "incidents", ns, "open"), {"status": {"phase": "Closed"}}
    report = ("report an open incident as closed", f"{path}/status", done)
    return [
        *abuses("firebreak-contain-incidents", "patch", "incidents/status", report),
        *beyond(
            ("close an incident", "PATCH", path, {"spec": {"state": "Closed", "verdict": "FalsePositive"}}),
            ("open an incident", "POST", on(GROUP, "incidents", ns), {}),
            ("delete an incident", "DELETE", path, None),
            ("write a playbook", "POST", f"{GROUP}/playbooks", {}),
        ),
    ]


def on_records(ns: str, version: str) -> list[Attempt]:
    """What Firebreak writes in its own namespace, and events everywhere. `version`: of somebody's Lease there."""
    policy, metadata = "firebreak-contain-records", {"name": "theirs", "resourceVersion": version}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    leases, maps = on("/apis/coordination.k8s.io/v1", "leases", "firebreak"), on(CORE, "configmaps", "firebreak")
    pod = {"kind": "Pod", "namespace": ns, "name": "desk"}
    event = {"metadata": {"name": "e"}, "reason": "Killing", "involvedObject": pod}
    proof = f"{maps}/firebreak-enforcement"
    return [
        *abuses(policy, "create", "configmaps", ("write a ConfigMap", maps, {"metadata": {"name": "x"}})),
        *abuses(policy, "patch", "configmaps", ("keep things in the record", proof, {"data": {"x": "y"}})),
        *abuses(policy, "create", "leases", ("write a Lease", leases, {**lease, "metadata": {"name": "new"}})),
        *abuses(policy, "update", "leases", ("take a Lease", f"{leases}/theirs", {**lease, "metadata": metadata})),
        *abuses(policy, "create", "events", ("tell lies about a pod", on(CORE, "events", ns), event)),
    ]


def on_probe(body: Object) -> list[Attempt]:
    """`body` is what the probe really sends."""
    policy, pods = "firebreak-contain-probe", on(CORE, "pods", "firebreak")
    spec, (container,) = body["spec"], body["spec"]["containers"]
    token = {"automountServiceAccountToken": True, "serviceAccountName": "firebreak"}
    keys = {"envFrom": [{"secretRef": {"name": "firebreak-store"}}]}
    volumes = [{"name": "v", "secret": {"secretName": "firebreak-store"}}]

    def run(**fields: Any) -> Object:
        return {**body, "spec": {**spec, **fields}}

    def holding(**fields: Any) -> Object:
        return run(containers=[{**container, **fields}])

    return [
        *abuses(
            policy,
            "create",
            "pods",
            ("run a pod", pods, {**body, "metadata": {"name": "mine"}}),
            ("run a probe as Firebreak", pods, run(**token)),
            ("run a probe with another command", pods, holding(command=["sh"])),
            ("run a probe with the store's keys", pods, holding(**keys)),
            ("run a probe with a volume of the store's keys", pods, run(volumes=volumes)),
            ("run a probe on a node of their choice", pods, run(nodeName="node1")),
            ("drive others out by a probe", pods, run(priorityClassName="system-node-critical")),
            ("run a program before the probe", pods, holding(lifecycle={"postStart": {"exec": {"command": ["id"]}}})),
            ("make a probe another's", pods, {**body, "metadata": {**body["metadata"], "ownerReferences": [owner()]}}),
        ),
        *abuses(policy, "delete", "pods", ("delete Firebreak's pod", f"{pods}/desk", None)),
    ]


def on_exec(ns: str) -> list[Attempt]:
    """Commands that no capture runs, and places that are not Firebreak's."""
    volatile = list(volatile_command("@0"))
    here, system, own = (on(CORE, "pods", each, "desk/exec") for each in (ns, "kube-system", "firebreak"))
    sh, c, script, name, main, _count, *rest = tar_command(["/etc"])
    acting = ["tar", "-cf", "-", "-C", "/", "--checkpoint-action=exec=id", "./etc"]
    tries: list[tuple[str, str, Object]] = [
        ("open a terminal", here, {"command": ["sh"], "stdin": "true", "tty": "true"}),
        ("type into a capture", here, {"command": volatile, "stdin": "true"}),
        ("run a program", here, {"command": ["cat", "/etc/passwd"]}),
        ("run a script of their own", here, {"command": ["sh", "-c", "id", "firebreak", "@0"]}),
        ("run a longer script", here, {"command": ["sh", "-c", volatile[2] + "id", "firebreak", "@0"]}),
        ("run a program through tar", here, {"command": acting}),
        ("run a program through a number", here, {"command": [sh, c, script, name, main, "a[$(id)]", *rest]}),
        ("look into kube-system", system, {"command": volatile}),
        ("look into Firebreak", own, {"command": volatile}),
    ]
    return [
        Attempt(
            f"{name} ({method})",
            "firebreak-preserve-exec",
            method,
            path,
            query={"stdout": "true", **query},
            right=(verb, "pods/exec"),
        )
        for name, path, query in tries
        for method, verb in (("GET", "get"), ("POST", "create"))
    ]


def elsewhere(ns: str) -> list[Attempt]:
    """What Firebreak has no business with."""
    debugger = {"spec": {"ephemeralContainers": [{"name": "d", "image": "intruder:1", "targetContainerName": "app"}]}}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    bare: Object = {"metadata": {"name": "x"}}
    return beyond(
        ("put in an ephemeral container", "PATCH", on(CORE, "pods", ns, "desk/ephemeralcontainers"), debugger),
        ("resize a pod", "PATCH", on(CORE, "pods", ns, "desk/resize"), {}),
        ("write a pod's status", "PATCH", on(CORE, "pods", ns, "desk/status"), {}),
        ("delete a pod", "DELETE", on(CORE, "pods", ns, "desk"), None),
        ("evict a pod", "POST", on(CORE, "pods", ns, "desk/eviction"), bare),
        ("attach to a pod", "POST", on(CORE, "pods", ns, "desk/attach"), None),
        ("forward a port", "POST", on(CORE, "pods", ns, "desk/portforward"), None),
        ("start a pod elsewhere", "POST", on(CORE, "pods", ns), bare),
        ("switch a policy off", "DELETE", f"{ADMISSION}/validatingadmissionpolicies/firebreak-contain-pods", None),
        ("unbind a policy", "DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/firebreak-contain-pods", None),
        ("change a policy", "PATCH", f"{ADMISSION}/validatingadmissionpolicies/firebreak-contain-pods", {}),
        ("place a webhook", "POST", f"{ADMISSION}/mutatingwebhookconfigurations", bare),
        ("change a CRD", "PATCH", f"{crds}/incidents.firebreak.dev", {}),
        ("delete a CRD", "DELETE", f"{crds}/playbooks.firebreak.dev", None),
        ("create a role", "POST", f"{ROLES}/clusterroles", bare),
        ("widen its own role", "PATCH", f"{ROLES}/clusterroles/firebreak-contain", {"rules": []}),
        ("create a role in kube-system", "POST", on(ROLES, "roles", "kube-system"), bare),
        ("write a ConfigMap of kube-system", "POST", on(CORE, "configmaps", "kube-system"), bare),
        ("name a known-good image", "PATCH", f"{CORE}/namespaces/{ns}", {}),
        ("change an account", "PATCH", on(CORE, "serviceaccounts", ns, "default"), {}),
        ("request a token", "POST", on(CORE, "serviceaccounts", "kube-system", "default/token"), {"spec": {}}),
        ("reach a node", "GET", f"{CORE}/nodes/node1/proxy/pods", None),
        ("approve a certificate", "POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", bare),
    )
