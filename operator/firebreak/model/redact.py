"""Leave values that are likely secrets out of Kubernetes objects before they become evidence.

People put passwords into environments, and tokens into the headers and queries of probes and hooks. References to
Secrets and ConfigMaps stay: they are names. What is left out is marked with its length, so that two captures can be
told apart and nobody takes the marker for the value.
"""

from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Repeats the object as it was applied, environment included."""
SECRET_DATA = ("data", "stringData")
CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def redact_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a pod, or of any object that holds pod templates, without its literal values.

    Left out are values of environments, values of headers and queries of HTTP probes and hooks, the object as it was
    applied, and the values in a Secret. Nothing else is changed. Values that are not text are left out like text.
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
    copy = {key: _copied(key, value) for key, value in node.items()}
    if node.get("kind") == "Secret":
        copy |= {key: _values(node[key]) for key in SECRET_DATA if key in node}
    return copy


def _copied(key: str, value: Any) -> Any:
    if key in CONTAINER_LISTS and isinstance(value, list):
        return [_container(item) for item in value]
    if key == "annotations" and isinstance(value, dict) and LAST_APPLIED in value:
        return {**value, LAST_APPLIED: marker(value[LAST_APPLIED])}
    if key == "httpGet" and isinstance(value, dict):
        return _request(value)
    return _copy(value)


def _values(data: Any) -> Any:
    """Leave out the values of a Secret; the names of its keys say what leaked."""
    return {key: marker(value) for key, value in data.items()} if isinstance(data, dict) else marker(data)


def _request(request: dict[str, Any]) -> dict[str, Any]:
    """Leave the query and the values of headers out of the request that a probe or a hook makes."""
    copy: dict[str, Any] = _copy({key: value for key, value in request.items() if key != "httpHeaders"})
    path, mark, query = str(request.get("path", "")).partition("?")
    if query:
        copy["path"] = f"{path}{mark}{marker(query)}"
    if "httpHeaders" in request:
        copy["httpHeaders"] = _named_values(request["httpHeaders"])
    return copy


def _container(container: Any) -> Any:
    if not isinstance(container, dict):
        return container
    copy = _copy(container)
    if "env" in container:
        copy["env"] = _named_values(container["env"])
    return copy


def _named_values(entries: Any) -> Any:
    if not isinstance(entries, list):
        return entries
    return [_without_value(entry) for entry in entries]


def _without_value(entry: Any) -> Any:
    if not isinstance(entry, dict) or not entry.get("value"):
        return entry
    return {**entry, "value": marker(entry["value"])}
