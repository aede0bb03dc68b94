"""What a pod could reach: the secrets its spec names, and those its account may read. Names only, never values."""

from collections.abc import Iterator

from firebreak.api.base import Json
from firebreak.model.facts import Grant
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.pod import Pod

# Seen on an API server 1.35: an empty patch and a deletion of the collection answer with the data, as dry runs too.
READING = frozenset({"get", "list", "watch", "patch", "deletecollection", "*"})
PROJECTED_SECRETS = ("secret", "serviceAccountToken", "podCertificate")
"""Sources of a projected volume that hold something to be kept secret; a podCertificate brings its private key."""


def secrets_of(pod: Pod, account: Json | None) -> Iterator[tuple[str, str]]:
    """Yield (secret name, way) for every secret that a pod's spec or its account's object names."""
    spec = pod.spec
    for volume in mappings(spec.get("volumes")):
        yield from _of_volume(volume)
    for _, container in pod.containers():
        yield from _of_container(container)
    for reference in mappings(spec.get("imagePullSecrets")):
        if name := text(reference.get("name")):
            yield name, "image pull secret of the pod"
    for key, way in (
        ("imagePullSecrets", "image pull secret of the account"),
        ("secrets", "token of the account"),
    ):
        for reference in mappings((account or {}).get(key)):
            if name := text(reference.get("name")):
                yield name, way


def _of_volume(volume: Json) -> Iterator[tuple[str, str]]:
    way = f"volume {volume.get('name', '')}"
    if name := text(mapping(volume.get("secret")).get("secretName")):
        yield name, way
    for source in mappings(mapping(volume.get("projected")).get("sources")):
        if name := text(mapping(source.get("secret")).get("name")):
            yield name, way
    if name := text(mapping(mapping(volume.get("csi")).get("nodePublishSecretRef")).get("name")):
        yield name, f"{way} (CSI)"
    for kind in ("azureFile", "cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        source = mapping(volume.get(kind))
        if name := text(source.get("secretName")) or text(mapping(source.get("secretRef")).get("name")):
            yield name, f"{way} ({kind})"


def _of_container(container: Json) -> Iterator[tuple[str, str]]:
    who = container.get("name", "")
    for env in mappings(container.get("env")):
        if name := text(mapping(mapping(env.get("valueFrom")).get("secretKeyRef")).get("name")):
            yield name, f"env {env.get('name', '')} of container {who}"
    for source in mappings(container.get("envFrom")):
        if name := text(mapping(source.get("secretRef")).get("name")):
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


def secret_mounts(pod: Pod, container_name: str) -> list[str]:
    """Return the paths at which secrets and account tokens are mounted in one container: left out of its evidence.

    Only what the pod's spec says: a path that nothing is mounted at would be a place to hide files from evidence.
    """
    volumes = {text(v.get("name")) for v in mappings(pod.spec.get("volumes")) if _holds_secrets(v)}
    paths = {
        text(mount.get("mountPath"))
        for _, container in pod.containers()
        if container.get("name") == container_name
        for mount in mappings(container.get("volumeMounts"))
        if text(mount.get("name")) in volumes and text(mount.get("mountPath"))
    }
    return sorted(paths)


def _holds_secrets(volume: Json) -> bool:
    """Whether a volume may hold secret values. CSI drivers count; projected trust bundles are public."""
    sources = mappings(mapping(volume.get("projected")).get("sources"))
    return bool(
        volume.get("secret")
        or volume.get("csi")
        or any(source.get(kind) for source in sources for kind in PROJECTED_SECRETS)
    )
