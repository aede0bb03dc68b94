"""Who puts an object back: read from the marks that Argo CD, Flux and Helm leave on what they apply."""

import pytest

from firebreak.api.base import Json
from firebreak.model.gitops import ManagedBy, managed_by


def deployment(labels: Json | None = None, annotations: Json | None = None, *managers: str) -> Json:
    fields = [{"manager": manager, "operation": "Apply"} for manager in managers]
    metadata = {"name": "web", "namespace": "shop", "labels": labels or {}, "annotations": annotations or {}}
    return {"kind": "Deployment", "metadata": {**metadata, "managedFields": fields}}


FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
FLUX_HELM = {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux-system"}
HELM = {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "shop"}
TRACKED = {"argocd.argoproj.io/tracking-id": "my-app:apps/Deployment:shop/web"}


def test_what_nobody_marked_is_managed_by_nobody() -> None:
    assert (
        managed_by(deployment({"app.kubernetes.io/instance": "shop"}, {}, "kubectl", "kube-controller-manager")) is None
    )
    assert managed_by({}) is None


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (deployment(FLUX), "Flux Kustomization flux-system/apps will put it back: change Git too"),
        (deployment(FLUX_HELM), "Flux HelmRelease flux-system/shop will put it back: change Git too"),
        (deployment({}, TRACKED), "Argo CD Application my-app will put it back at its next sync: change Git too"),
        (
            deployment({"argocd.argoproj.io/instance": "my-app"}),
            "Argo CD Application my-app will put it back at its next sync: change Git too",
        ),
        (
            deployment({"app.kubernetes.io/instance": "my-app"}, {"argocd.argoproj.io/sync-wave": "1"}),
            "Argo CD Application my-app will put it back at its next sync: change Git too",
        ),
        (
            deployment({"app.kubernetes.io/managed-by": "Helm"}, HELM),
            "Helm release shop/shop may put it back at its next upgrade: change its values or chart too",
        ),
    ],
)
def test_each_tool_is_known_by_its_own_marks(obj: Json, words: str) -> None:
    managed = managed_by(obj)
    assert managed is not None
    assert managed.warning == words


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        ("argocd-controller", ManagedBy("Argo CD", "Application")),
        ("kustomize-controller", ManagedBy("Flux", "Kustomization")),
        ("helm-controller", ManagedBy("Flux", "HelmRelease")),
        ("helm", ManagedBy("Helm", "release")),
    ],
)
def test_who_wrote_the_fields_tells_it_where_the_marks_were_taken_off(manager: str, expected: ManagedBy) -> None:
    assert managed_by(deployment({}, {}, "kubectl", manager)) == expected


def test_who_wrote_a_status_alone_manages_nothing() -> None:
    obj = deployment()
    obj["metadata"]["managedFields"] = [{"manager": "helm", "subresource": "status"}]
    assert managed_by(obj) is None


def test_a_chart_that_flux_installs_is_put_back_by_flux() -> None:
    obj = deployment({**FLUX_HELM, "app.kubernetes.io/managed-by": "Helm"}, HELM, "helm-controller")
    assert managed_by(obj) == ManagedBy("Flux", "HelmRelease", "flux-system/shop")


def test_what_was_taken_out_of_the_hands_of_flux_is_not_put_back() -> None:
    assert managed_by(deployment(FLUX, {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"})) is None


def test_a_tracking_id_that_was_copied_from_another_object_does_not_count() -> None:
    copied = {"argocd.argoproj.io/tracking-id": "my-app:apps/Deployment:shop/other"}
    assert managed_by(deployment({"app.kubernetes.io/instance": "shop"}, copied)) is None


@pytest.mark.parametrize("made_up", ["x" * 300, "a\nb", "<b>", "a b", 7, None, {"a": 1}])
def test_a_name_that_no_such_tool_could_have_is_not_repeated(made_up: object) -> None:
    assert managed_by(deployment({"kustomize.toolkit.fluxcd.io/name": made_up})) is None
