"""Picks the provider that fits this machine."""

from cluster.local import LocalCluster
from cluster.provider import Provider
from cluster.settings import Paths


def choose() -> Provider:
    return LocalCluster(Paths.from_environment())
