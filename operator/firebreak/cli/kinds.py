"""The kinds of target that a person can name as KIND/NAME, written as kubectl abbreviates them."""

from typing import Final

KINDS: Final[dict[str, str]] = {
    "pod": "Pod", "pods": "Pod", "po": "Pod",
    "deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
    "statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
    "daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
    "replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
    "job": "Job", "jobs": "Job",
    "serviceaccount": "ServiceAccount", "serviceaccounts": "ServiceAccount", "sa": "ServiceAccount",
}  # fmt: skip
*_FIRST, _LAST = (kind.lower() for kind in dict.fromkeys(KINDS.values()))
IN_WORDS: Final = f"{', '.join(_FIRST)} or {_LAST}"
BY_LABEL: Final = "Pods by label need an Incident in YAML (spec.target.selector)."
