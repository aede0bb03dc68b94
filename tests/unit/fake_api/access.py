"""Access reviews, answered from the stored roles and bindings as RBAC does (aggregation left out)."""

from collections.abc import Callable, Iterator

from .resources import Obj, by_kind
from .store import Store

Authorize = Callable[[Obj], tuple[bool, str]]


def allow_everything(_spec: Obj) -> tuple[bool, str]:
    return True, ""


def rbac(store: Store) -> Authorize:
    """Judge a SubjectAccessReview spec: allowed or not, and the reason in the real server's words."""

    def authorize(spec: Obj) -> tuple[bool, str]:
        asked = spec.get("resourceAttributes")
        namespace = (asked or {}).get("namespace", "")
        for binding in _bindings(store, namespace):
            subject = _matching_subject(binding, spec)
            if subject is None:
                continue
            if any(_allows(rule, spec) for rule in _rules(store, binding)):
                return True, f"RBAC: allowed by {_describe(binding, subject)}"
        return False, ""

    return authorize


def _bindings(store: Store, namespace: str) -> Iterator[Obj]:
    yield from store.list(by_kind("ClusterRoleBinding"), None, lambda _: True)
    if namespace:
        yield from store.list(by_kind("RoleBinding"), namespace, lambda _: True)


def _rules(store: Store, binding: Obj) -> list[Obj]:
    ref = binding["roleRef"]
    namespace = binding["metadata"]["namespace"] if ref["kind"] == "Role" else ""
    found = [
        role
        for role in store.list(by_kind(ref["kind"]), namespace, lambda _: True)
        if role["metadata"]["name"] == ref["name"]
    ]
    return (found[0].get("rules") or []) if found else []


def _matching_subject(binding: Obj, spec: Obj) -> Obj | None:
    subjects: list[Obj] = binding.get("subjects") or []
    user, groups = spec.get("user", ""), spec.get("groups") or []
    for subject in subjects:
        name, kind = subject["name"], subject["kind"]
        namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
        if kind == "ServiceAccount" and user == f"system:serviceaccount:{namespace}:{name}":
            return subject
        if (kind == "User" and user == name) or (kind == "Group" and name in groups):
            return subject
    return None


def _allows(rule: Obj, spec: Obj) -> bool:
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return _has(rule, "verbs", asked["verb"]) and any(
            url in {asked["path"], "*"} or (url.endswith("*") and asked["path"].startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or []
        )
    asked = spec.get("resourceAttributes") or {}
    names = rule.get("resourceNames") or []
    return (
        _has(rule, "verbs", asked.get("verb", ""))
        and _has(rule, "apiGroups", asked.get("group", ""))
        and _covers_resource(rule, asked)
        and (not names or asked.get("name", "") in names)
    )


def _covers_resource(rule: Obj, asked: Obj) -> bool:
    subresource = asked.get("subresource", "")
    full = f"{asked.get('resource', '')}/{subresource}" if subresource else asked.get("resource", "")
    wanted = {"*", full, f"*/{subresource}"} if subresource else {"*", full}
    return bool(wanted & set(rule.get("resources") or []))


def _has(rule: Obj, key: str, value: str) -> bool:
    return bool({"*", value} & set(rule.get(key) or []))


def _describe(binding: Obj, subject: Obj) -> str:
    metadata, ref = binding["metadata"], binding["roleRef"]
    name = f"{metadata['name']}/{metadata['namespace']}" if "namespace" in metadata else metadata["name"]
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or metadata.get('namespace', '')}"
    return f'{binding["kind"]} "{name}" of {ref["kind"]} "{ref["name"]}" to {subject["kind"]} "{who}"'
