"""Picks the provider that fits this machine."""

import os

from cluster import kind
from cluster.existing import KUBECONFIG_VARIABLE, ExistingCluster
from cluster.local import LocalCluster
from cluster.provider import Provider
from cluster.settings import Paths


def choose() -> Provider:
    """An existing cluster if FIREBREAK_KUBECONFIG names one, kind if a container engine answers, else `local`."""
    paths = Paths.from_environment()
    if os.environ.get(KUBECONFIG_VARIABLE):
        return ExistingCluster.from_environment(paths)
    engine = kind.answering_engine()
    if engine is not None:
        return kind.KindCluster(paths, engine)
    return LocalCluster(paths)
