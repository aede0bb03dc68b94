"""What puts an object back after it was changed: Argo CD, Flux or Helm, read from the object itself.

Anybody who may write the object may write these marks, so they warn and never decide what is done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.model.loose import mapping, mappings, text

# Sources: Argo CD, "Resource Tracking" (the annotation is APP:GROUP/KIND:NAMESPACE/NAME, and one that was copied
# from another object does not count; labels are the older method) and its common.go (ArgoCDSSAManager).
ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
ARGO_LABEL = "argocd.argoproj.io/instance"
ARGO_PREFIX = "argocd.argoproj.io/"
INSTANCE = (
    "app.kubernetes.io/instance"  # many charts set it too: it means Argo CD beside one of Argo CD's annotations only
)
# Source: Flux, "Kustomization" and "HelmRelease", the owner labels that its controllers set on what they apply.
FLUX_KUSTOMIZE, FLUX_HELM = "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"
FLUX_DISABLED = f"{FLUX_KUSTOMIZE}/reconcile"  # the annotation whose value `disabled` takes an object out of its hands
# Source: Helm, "helm upgrade --take-ownership" and pkg/action/validate.go: both the label and the annotations.
HELM_LABEL, HELM_RELEASE = "app.kubernetes.io/managed-by", "meta.helm.sh/release-"

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class ManagedBy:
    """Who manages an object: the tool, the kind of its own object, and that one's NAMESPACE/NAME or NAME.

    The name is empty where only a field manager tells.
    """

    tool: str
    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.tool} {self.kind} {self.name}".rstrip()

    @property
    def warning(self) -> str:
        """What becomes of a change that is made to the cluster alone, in words."""
        return f"{self} {_PUTS_BACK[self.tool]}"


ARGO, FLUX, HELM = "Argo CD", "Flux", "Helm"
_PUTS_BACK = {
    ARGO: "will put it back at its next sync: change Git too",
    FLUX: "will put it back: change Git too",
    HELM: "may put it back at its next upgrade: change its values or chart too",
}

# Field managers that say so where no mark does: an object whose marks were taken off is still put back.
_MANAGERS: Mapping[str, ManagedBy] = {
    "argocd-controller": ManagedBy(ARGO, "Application"),
    "argocd-application-controller": ManagedBy(ARGO, "Application"),
    "kustomize-controller": ManagedBy(FLUX, "Kustomization"),
    "helm-controller": ManagedBy(FLUX, "HelmRelease"),
    "helm": ManagedBy(HELM, "release"),
}


def managed_by(obj: Json) -> ManagedBy | None:
    """Return who puts an object back when it is changed, None when nothing on it says so. Its metadata is enough."""
    metadata = mapping(obj.get("metadata"))
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    if annotations.get(FLUX_DISABLED) == "disabled":
        return None
    # Flux first: a HelmRelease of it leaves Helm's marks as well; Argo CD renders charts that name Helm.
    return (
        _flux(labels)
        or _argo(metadata, labels, annotations)
        or _helm(labels, annotations)
        or _manager(mappings(metadata.get("managedFields")))
    )


def put_back(obj: Json) -> str:
    """Return in words who puts an object back, and what to do about it; empty when nobody is known to."""
    managed = managed_by(obj)
    return managed.warning if managed else ""


def _flux(labels: Json) -> ManagedBy | None:
    for prefix, kind in ((FLUX_KUSTOMIZE, "Kustomization"), (FLUX_HELM, "HelmRelease")):
        if name := _name(labels.get(f"{prefix}/name")):
            return ManagedBy(FLUX, kind, _joined(_name(labels.get(f"{prefix}/namespace")), name))
    return None


def _argo(metadata: Json, labels: Json, annotations: Json) -> ManagedBy | None:
    application, _, rest = text(annotations.get(ARGO_TRACKING)).partition(":")
    if rest.rpartition("/")[2] == metadata.get("name") and (name := _name(application)):
        return ManagedBy(ARGO, "Application", name)
    if name := _name(labels.get(ARGO_LABEL)):
        return ManagedBy(ARGO, "Application", name)
    others = any(str(key).startswith(ARGO_PREFIX) and key != ARGO_TRACKING for key in annotations)
    if others and (name := _name(labels.get(INSTANCE))):
        return ManagedBy(ARGO, "Application", name)
    return None


def _helm(labels: Json, annotations: Json) -> ManagedBy | None:
    name = _name(annotations.get(f"{HELM_RELEASE}name"))
    if labels.get(HELM_LABEL) != HELM or not name:
        return None
    return ManagedBy(HELM, "release", _joined(_name(annotations.get(f"{HELM_RELEASE}namespace")), name))


def _manager(entries: list[Json]) -> ManagedBy | None:
    """Who wrote its fields; what wrote a subresource, a status say, manages nothing."""
    writers = {text(entry.get("manager")) for entry in entries if not entry.get("subresource")}
    return next((managed for name, managed in _MANAGERS.items() if name in writers), None)


def _name(value: object) -> str:
    """Return a name as these tools have them; anything else, which somebody made up, is none."""
    found = text(value)
    return found if NAME.fullmatch(found) else ""


def _joined(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
