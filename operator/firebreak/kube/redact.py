"""Leave literal environment values out of Kubernetes objects before they become evidence.

People put passwords there. References to Secrets and ConfigMaps stay: they are names. What is left out is marked with
its length, so that two captures can be told apart and nobody takes the marker for the value.
"""

from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Repeats the object as it was applied, environment included."""
CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def redact_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a pod, or of any object that holds pod templates, without literal environment values.

    Nothing else is changed. Values and annotations that are not text are left out like text.
    """
    copy: dict[str, Any] = _copy(pod)
    return copy


def marker(value: object) -> str:
    """Say that something was left out, and how long it was in UTF-8 bytes."""
    size = len(str(value).encode("utf-8", "surrogatepass"))
    return f"<left out by Firebreak: {size} bytes>"


def _copy(node: Any) -> Any:
    if isinstance(node, list):
        return [_copy(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _copied(key, value) for key, value in node.items()}


def _copied(key: str, value: Any) -> Any:
    if key in CONTAINER_LISTS and isinstance(value, list):
        return [_container(item) for item in value]
    if key == "annotations" and isinstance(value, dict) and LAST_APPLIED in value:
        return {**value, LAST_APPLIED: marker(value[LAST_APPLIED])}
    return _copy(value)


def _container(container: Any) -> Any:
    if not isinstance(container, dict):
        return container
    copy = _copy(container)
    if isinstance(container.get("env"), list):
        copy["env"] = [_variable(item) for item in container["env"]]
    return copy


def _variable(variable: Any) -> Any:
    if not isinstance(variable, dict) or not variable.get("value"):
        return variable
    return {**variable, "value": marker(variable["value"])}
