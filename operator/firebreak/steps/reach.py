"""What a pod could reach: the secrets its spec names, and those its account may read. Names only, never values."""

from collections.abc import Iterator

from firebreak.api.base import Json
from firebreak.model.facts import Grant
from firebreak.model.pod import Pod

READING = frozenset({"get", "list", "watch", "*"})


def secrets_of(pod: Pod, account: Json | None) -> Iterator[tuple[str, str]]:
    """Yield (secret name, way) for every secret that a pod's spec or its account's object names."""
    spec = pod.spec
    for volume in spec.get("volumes") or []:
        yield from _of_volume(volume)
    for _, container in pod.containers():
        yield from _of_container(container)
    for reference in spec.get("imagePullSecrets") or []:
        if reference.get("name"):
            yield reference["name"], "image pull secret of the pod"
    for key, way in (
        ("imagePullSecrets", "image pull secret of the account"),
        ("secrets", "token of the account"),
    ):
        for reference in (account or {}).get(key) or []:
            if reference.get("name"):
                yield reference["name"], way


def _of_volume(volume: Json) -> Iterator[tuple[str, str]]:
    way = f"volume {volume.get('name', '')}"
    if name := (volume.get("secret") or {}).get("secretName"):
        yield name, way
    for source in (volume.get("projected") or {}).get("sources") or []:
        if name := (source.get("secret") or {}).get("name"):
            yield name, way
    if name := ((volume.get("csi") or {}).get("nodePublishSecretRef") or {}).get("name"):
        yield name, f"{way} (CSI)"
    for kind in ("azureFile", "cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        source = volume.get(kind) or {}
        name = source.get("secretName") or (source.get("secretRef") or {}).get("name")
        if name:
            yield name, f"{way} ({kind})"


def _of_container(container: Json) -> Iterator[tuple[str, str]]:
    who = container.get("name", "")
    for env in container.get("env") or []:
        if name := ((env.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"):
            yield name, f"env {env.get('name', '')} of container {who}"
    for source in container.get("envFrom") or []:
        if name := (source.get("secretRef") or {}).get("name"):
            yield name, f"envFrom of container {who}"


def readable(grants: tuple[Grant, ...]) -> Iterator[tuple[str | None, str | None, str]]:
    """Yield (namespace, secret name, way) of secrets that bindings let an account read; None stands for all."""
    for grant in grants:
        way = f"RBAC by {grant.ref}"
        for rule in grant.rules:
            groups, resources, verbs = (set(rule.get(k) or []) for k in ("apiGroups", "resources", "verbs"))
            if groups & {"", "*"} and resources & {"secrets", "*"} and verbs & READING:
                for name in rule.get("resourceNames") or [None]:
                    yield grant.ref.namespace, name, way


def secret_mounts(pod: Pod) -> list[str]:
    """Return the paths at which secrets (and account tokens) are mounted in any container: left out of evidence."""
    volumes = {v.get("name") for v in pod.spec.get("volumes") or [] if _holds_secrets(v)}
    paths = {
        str(mount.get("mountPath"))
        for _, container in pod.containers()
        for mount in container.get("volumeMounts") or []
        if mount.get("name") in volumes and mount.get("mountPath")
    }
    return sorted({*paths, "/var/run/secrets"})


def _holds_secrets(volume: Json) -> bool:
    """Whether a volume may hold secret values. CSI drivers and token projections count."""
    sources = (volume.get("projected") or {}).get("sources") or []
    return bool(
        volume.get("secret")
        or volume.get("csi")
        or any(s.get("secret") or s.get("serviceAccountToken") for s in sources)
    )
