"""Firebreak installed on a test cluster as its users install it: a Secret with the store's keys, then kustomize."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import s3
from cluster.provider import S3, ClusterError, ClusterInfo
from cluster.waiting import wait_until
from firebreak.kube.errors import UNJUDGED

BUCKET = "firebreak-evidence"
NAMESPACE = "firebreak"
OVERLAY = Path(__file__).parents[2] / "manifests" / "overlays" / "local"
UNATTENDED = Path(__file__).parents[2] / "manifests" / "samples" / "playbook-unattended.yaml"

Kubectl = Callable[..., str]


def install(info: ClusterInfo, kubectl: Kubectl) -> None:
    """Install or upgrade, and return when both replicas are ready and the cluster's enforcement was probed."""
    if info.s3 is None:
        raise ClusterError("this cluster names no S3 server; set FIREBREAK_S3_ENDPOINT and its keys")
    try:
        s3.create_bucket(info.s3, BUCKET)
    except ClusterError as error:
        if "BucketAlready" not in str(error):
            raise
    kubectl("apply", "-f", "-", stdin=json.dumps(_namespace()))
    kubectl("apply", "-f", "-", stdin=json.dumps(_store(info.s3)))
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(OVERLAY))
    kubectl("apply", "-f", str(UNATTENDED))
    # The tag stays the same from build to build, so the pods have to be told that the image is new.
    restart(kubectl)
    until_proven(kubectl)
    until_execs_are_judged(kubectl)


def restart(kubectl: Kubectl) -> None:
    """Replace the replicas, and return when the new ones are ready."""
    kubectl("rollout", "restart", "deployment/firebreak", "-n", NAMESPACE)
    kubectl("rollout", "status", "deployment/firebreak", "-n", NAMESPACE, "--timeout=120s")


def until_proven(kubectl: Kubectl) -> None:
    """Wait until the probe's result is on record."""
    wait_until(
        lambda: "Proven" in kubectl("get", "configmap", "-n", NAMESPACE, "-o", "yaml"),
        timeout=120,
        otherwise="the enforcement probe did not come to a result; see the log of deployment/firebreak",
    )


@contextmanager
def standing_still(kubectl: Kubectl) -> Iterator[None]:
    """No replica of Firebreak runs until the block ends; nothing happens where none is installed."""
    at = ("--namespace", NAMESPACE)
    replicas = kubectl(
        "get", "deployment/firebreak", *at, "--ignore-not-found", "--output", "jsonpath={.spec.replicas}"
    )
    if not replicas:
        yield
        return
    kubectl("scale", "deployment/firebreak", *at, "--replicas=0")
    kubectl("wait", "pod", *at, "--selector=app.kubernetes.io/name=firebreak", "--for=delete", "--timeout=60s")
    try:
        yield
    finally:
        kubectl("scale", "deployment/firebreak", *at, f"--replicas={replicas}")
        kubectl("rollout", "status", "deployment/firebreak", *at, "--timeout=120s")


def until_execs_are_judged(kubectl: Kubectl) -> None:
    """Wait until the API server knows the kinds that policies go by: after a start, or their installation, it does not.

    Until then it refuses every exec, whoever asks.
    """

    def judged() -> bool:
        try:
            kubectl("get", "--raw", "/api/v1/namespaces/default/pods/nobody/proxy/")
        except ClusterError as refusal:
            return UNJUDGED not in str(refusal)
        return True

    wait_until(judged, timeout=60, otherwise="the API server does not come to know the kind Incident")


def _namespace() -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _store(server: S3) -> dict[str, object]:
    """The credentials of the store, as its client reads them from the environment."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "firebreak-store", "namespace": NAMESPACE},
        "stringData": {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": server.region,
        },
    }
