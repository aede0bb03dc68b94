"""What a thief tries with the rights of the tiers `eradicate` and `node`."""

from thief import APPS, CORE, ROLES, UID, Attempt, Object, abuses, beyond, labels, on, owner

RBAC = "rbac.authorization.k8s.io"
OPERATOR = {"kind": "ServiceAccount", "name": "firebreak", "namespace": "firebreak"}
EVE = {"kind": "User", "apiGroup": RBAC, "name": "eve"}
TOKEN_TYPE = "kubernetes.io/service-account-token"


def crowd_of(ns: str) -> list[Object]:
    """The subjects of the binding `crowd`."""
    return [
        {"kind": "ServiceAccount", "name": "clerk", "namespace": ns},
        {"kind": "ServiceAccount", "name": "controller", "namespace": "kube-system"},
        {**EVE, "name": "alice"},
        {**EVE, "kind": "Group", "name": "staff"},
    ]


def without(ns: str, name: str) -> Object:
    """The patch that takes one of them out."""
    return {"subjects": [subject for subject in crowd_of(ns) if subject["name"] != name]}


def on_bindings(ns: str) -> list[Attempt]:
    """`crowd` binds an account of the namespace, one of kube-system, a person and a group."""
    policy, crowd = "firebreak-eradicate-bindings", on(ROLES, "rolebindings", ns, "crowd")
    every, own = f"{ROLES}/clusterrolebindings", f"{ROLES}/clusterrolebindings/firebreak-eradicate"
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    itself = {"subjects": [OPERATOR]}
    return [
        *abuses(
            policy,
            "patch",
            "rolebindings",
            ("add somebody", crowd, {"subjects": [*crowd_of(ns), EVE]}),
            ("lock a person out", crowd, without(ns, "alice")),
            ("lock a group out", crowd, without(ns, "staff")),
            ("lock kube-system out", crowd, without(ns, "controller")),
            ("annotate a binding", crowd, labels(annotations={"a": "b"})),
        ),
        *abuses(
            policy,
            "patch",
            "clusterrolebindings",
            ("add somebody to its own rights", own, {"subjects": [OPERATOR, EVE]}),
            ("give up its own rights", own, {"subjects": []}),
        ),
        *abuses("cannot change roleRef", "patch", "rolebindings", ("bind another role", crowd, {"roleRef": role})),
        *abuses(policy, "bind", "roles", ("bind itself", crowd, itself)),
        *abuses(
            policy, "bind", "clusterroles", ("bind itself to the strongest role", f"{every}/cluster-admin", itself)
        ),
        *beyond(
            ("create a binding", "POST", every, {"metadata": {"name": "mine"}, "roleRef": role, **itself}),
            ("delete a binding", "DELETE", crowd, None),
        ),
    ]


def on_secrets(ns: str) -> list[Attempt]:
    """`opted` names `password` for rotation, `plain` nothing; `lasting` is a token of the account clerk."""
    policy = "firebreak-eradicate-secrets"
    opted, plain, lasting = (on(CORE, "secrets", ns, name) for name in ("opted", "plain", "lasting"))
    ours = {"annotations": {"kubernetes.io/service-account.name": "firebreak"}}
    new = {"stringData": {"password": "known-to-me"}}
    consent = labels(annotations={"firebreak.dev/rotate": '{"password": {}}'})
    guard = on(CORE, "secrets", "firebreak", "firebreak-guard")
    minted = {"metadata": {"name": "mine", **ours}, "type": TOKEN_TYPE}
    return [
        *abuses(
            policy,
            "patch",
            "secrets",
            ("overwrite a Secret", plain, new),
            ("overwrite a key that nobody offered", opted, {"stringData": {"host": "evil"}}),
            ("overwrite a key that is a mere word of the consent", opted, {"stringData": {"hex": "known-to-me"}}),
            ("overwrite a key that is an option of the consent", opted, {"stringData": {"length": "known-to-me"}}),
            ("add a key", opted, {"stringData": {"new": "known-to-me"}}),
            ("drop a key", opted, {"data": {"password": None}}),
            ("opt in for the owner", plain, {**consent, **new}),
            ("label a Secret", opted, labels(labels={"a": "b"})),
            ("freeze a Secret", opted, {"immutable": True}),
            ("write in its own namespace", guard, new),
            ("make a token another account's", lasting, {"metadata": ours}),
        ),
        *abuses("field is immutable", "patch", "secrets", ("make a Secret a token", opted, {"type": TOKEN_TYPE})),
        *abuses(policy, "delete", "secrets", ("delete a Secret", plain, None), ("delete the guard", guard, None)),
        *beyond(("create a token as a Secret", "POST", on(CORE, "secrets", "firebreak"), minted)),
    ]


def on_workloads(ns: str) -> list[Attempt]:
    """A Deployment, a StatefulSet and a DaemonSet, each `web`."""
    policy = "firebreak-eradicate-workloads"
    container = {"name": "app", "image": "busybox:1.35"}
    restart = labels(annotations={f"restarted.firebreak.dev/{UID}": "x"})
    own = on(APPS, "deployments", "firebreak", "firebreak")

    def running(*each: Object, **spec: object) -> Object:
        return {"spec": {"template": {"spec": {**({"containers": list(each)} if each else {}), **spec}}}}

    bodies: list[tuple[str, Object]] = [
        ("run an image that nobody named", running({**container, "image": "intruder:1"})),
        ("run another command", running({**container, "command": ["sh"]})),
        ("run a second container", running(container, {**container, "name": "second"})),
        ("run as another account", running(serviceAccountName="admin")),
        ("run on the node", running(hostNetwork=True, hostPID=True)),
        ("annotate the pods", {"spec": {"template": labels(annotations={"a": "b"})}}),
        ("label the pods", {"spec": {"template": labels(labels={"a": "b"})}}),
        ("label it", labels(labels={"a": "b"})),
        ("have it collected", labels(ownerReferences=[owner()])),
    ]
    kinds = ("deployments", "statefulsets", "daemonsets")
    found = [
        attempt
        for kind in kinds
        for name, body in bodies
        for attempt in abuses(policy, "patch", kind, (f"{name} ({kind})", on(APPS, kind, ns, "web"), body))
    ]
    scaled = ("scale it", on(APPS, "deployments", ns, "web"), {"spec": {"replicas": 3}})
    restarted = ("restart Firebreak", own, {"spec": {"template": restart}})
    return [
        *found,
        *abuses(policy, "patch", "deployments", scaled, restarted),
        *beyond(("create a workload", "POST", on(APPS, "deployments", ns), {})),
    ]


def on_nodes(node: str) -> list[Attempt]:
    """A node may be closed to new pods, and nothing else."""
    path, taint = f"{CORE}/nodes/{node}", {"key": "intruder.example/out", "effect": "NoExecute"}
    return [
        *abuses(
            "firebreak-node-cordon",
            "patch",
            "nodes",
            ("end the pods of a node", path, {"spec": {"unschedulable": True, "taints": [taint]}}),
            ("call a node another", path, {"spec": {"unschedulable": True}, **labels(labels={"pool": "trusted"})}),
            ("open a node", path, {"spec": {"unschedulable": None}}),
        ),
        *beyond(
            ("write a node's status", "PATCH", f"{path}/status", {}),
            ("delete a node", "DELETE", path, None),
        ),
    ]
