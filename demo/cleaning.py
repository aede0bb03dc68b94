"""Removing what the demo left, with one command."""

import installed
from cluster.choose import choose
from cluster.existing import ExistingCluster
from cluster.provider import ClusterError
from demo import ROOT
from demo.shop import NAMESPACES, objects
from demo.story import Story

SCRATCH = ROOT / ".build" / "demo"
OWN = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", installed.NAMESPACE, *NAMESPACES})


def clean(story: Story, *, everything: bool) -> None:
    """Remove the demo's namespaces and, where nothing else lives in a cluster that was started here, the cluster."""
    for file in SCRATCH.glob("*"):
        file.unlink()
    provider = choose()
    others = _others(story)
    if isinstance(provider, ExistingCluster) or (others and not everything):
        story.run(f"kubectl delete namespace {' '.join(NAMESPACES)} --ignore-not-found --timeout=120s")
        story.tell(_kept(provider, others))
        return
    provider.down(purge=True)
    story.tell("The cluster is gone, and all that was in it. The programs it is made of stay cached for the next time.")


def _others(story: Story) -> list[str]:
    names = [namespace["metadata"]["name"] for namespace in objects(story, "kubectl get namespaces")["items"]]
    return sorted(set(names) - OWN)


def _kept(provider: object, others: list[str]) -> str:
    if isinstance(provider, ExistingCluster):
        return "Firebreak stays in your cluster; `kubectl delete -k manifests/overlays/local` removes it."
    return (
        f"The cluster stays, for somebody else uses it (namespaces {', '.join(others[:5])}); `make cluster-down` "
        "removes it."
    )


def is_up() -> bool:
    """Whether there is a cluster to clean."""
    try:
        choose().info()
    except ClusterError:
        return False
    return True
