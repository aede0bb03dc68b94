"""Fixtures of the end-to-end tests: a real cluster, its kubectl, a namespace and a bucket of one's own."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest

import installed
from audited import AuditLog
from cluster import s3
from cluster.choose import choose
from cluster.commands import run
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from killing import Leadership
from shop import Shop, address
from shop_objects import CUT, CUT_PLAYBOOK, listener

KUBECTL_SECONDS = 120


class Kubectl(Protocol):
    """Runs the cluster's own kubectl; returns stdout, raises ClusterError with stderr."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str: ...


@pytest.fixture(scope="session")
def cluster() -> ClusterInfo:
    """The cluster, brought up if it is not; it is left running, for the next session is then quick."""
    return choose().up()


@pytest.fixture
def log(cluster: ClusterInfo) -> AuditLog:
    """What the API server is asked from now on."""
    return log_of(cluster)


def log_of(cluster: ClusterInfo) -> AuditLog:
    """The cluster's audit log from now on; without one the test is skipped."""
    if cluster.audit_log is None:
        pytest.skip("this cluster names no audit log: set FIREBREAK_AUDIT_LOG")
    return AuditLog(cluster.audit_log)


@pytest.fixture
def breakable(cluster: ClusterInfo) -> None:
    """A cluster whose parts can be stopped, slowed down and cut off."""
    if cluster.provider != "local":
        pytest.skip("only the local cluster's parts can be broken")


@pytest.fixture(scope="session")
def kubectl(cluster: ClusterInfo) -> Kubectl:
    """The cluster's kubectl, as its administrator."""
    return kubectl_of(cluster)


def kubectl_of(cluster: ClusterInfo) -> Kubectl:
    """A cluster's kubectl, as its administrator."""
    command = [str(cluster.bin / "kubectl"), "--kubeconfig", str(cluster.kubeconfig)]

    def call(*arguments: str, stdin: str | None = None) -> str:
        return run([*command, *arguments], stdin=stdin, timeout=KUBECTL_SECONDS)

    return call


@contextmanager
def own_namespace(kubectl: Kubectl, prefix: str) -> Iterator[str]:
    """A new namespace, ready for pods; it is deleted afterwards, without waiting for the end."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    try:
        wait_until(
            lambda: kubectl("get", "serviceaccounts", "--namespace", name, "--output", "name"),
            timeout=60,  # after an API server was away its clients wait up to 30 s before they watch again
            otherwise=f"namespace {name} got no default ServiceAccount",
        )
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of this test's own."""
    with own_namespace(kubectl, "test") as name:
        yield name


@pytest.fixture(scope="session")
def firebreak(cluster: ClusterInfo, kubectl: Kubectl) -> str:
    """Firebreak, installed as its users install it; returns its namespace. It stays, for the next session.

    With FIREBREAK_E2E_INSTALLED=1 the one that is there is taken as it is.
    """
    if os.environ.get("FIREBREAK_E2E_INSTALLED") != "1":
        installed.install(cluster, kubectl)
    return installed.NAMESPACE


@pytest.fixture(scope="session")
def leadership(firebreak: str, kubectl: Kubectl) -> Iterator[Leadership]:
    """Who leads Firebreak, and how to kill it."""
    with own_namespace(kubectl, "killing") as name:
        found = Leadership(kubectl, firebreak, name)
        found.set_up()
        yield found


@pytest.fixture(scope="session")
def command_and_control(kubectl: Kubectl) -> Iterator[str]:
    """The address of the intruder's server, in a namespace of its own: it says every line back."""
    with own_namespace(kubectl, "intruder") as name:
        kubectl("apply", "--namespace", name, "--filename", "-", stdin=json.dumps(listener("c2")))
        yield address(kubectl, name, "c2")


@pytest.fixture(scope="session")
def cut_playbook(firebreak: str, kubectl: Kubectl) -> Iterator[str]:
    """The name of a playbook that cuts and keeps evidence small."""
    kubectl("apply", "--filename", "-", stdin=json.dumps(CUT_PLAYBOOK))
    yield CUT
    kubectl("delete", "playbook", CUT, "--ignore-not-found")


@pytest.fixture
def shop(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl, namespace: str, command_and_control: str) -> Shop:
    """A namespace of this test's own in a cluster with Firebreak; `shop.open()` fills it with the shop."""
    return Shop(kubectl, namespace, command_and_control, cluster.kubeconfig)


@dataclass(frozen=True)
class Bucket:
    """A bucket as the operator's settings name one: its URL, and the options that open it."""

    url: str
    options: dict[str, str] = field(repr=False)


@pytest.fixture
def s3_bucket(cluster: ClusterInfo) -> Bucket:
    """A bucket of this test's own; it goes with the cluster's state."""
    return make_bucket(cluster)


def make_bucket(cluster: ClusterInfo, *, object_lock: bool = False) -> Bucket:
    """A new bucket on the cluster's S3 server."""
    if cluster.s3 is None:
        pytest.skip("this cluster names no S3 server: set FIREBREAK_S3_ENDPOINT")
    name = f"test-{secrets.token_hex(8)}"
    s3.create_bucket(cluster.s3, name, object_lock=object_lock)
    options = {
        "AWS_ENDPOINT_URL": cluster.s3.endpoint,
        "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        "AWS_REGION": cluster.s3.region,
        "AWS_ALLOW_HTTP": "true",
    }
    return Bucket(f"s3://{name}", options)
