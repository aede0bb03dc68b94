"""The cluster itself: what the other tests take for granted."""

import json
import secrets
import socket
from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from cluster import control, s3
from cluster.building import build_image
from cluster.choose import choose
from cluster.provider import S3, ClusterError, ClusterInfo
from cluster.settings import Paths
from cluster.waiting import wait_until
from conftest import Bucket, Kubectl, make_bucket
from installed import until_execs_are_judged


def store(bucket: Bucket) -> S3Store:
    options = bucket.options
    return S3Store(
        bucket.url.removeprefix("s3://"),
        endpoint=options["AWS_ENDPOINT_URL"],
        access_key_id=options["AWS_ACCESS_KEY_ID"],
        secret_access_key=options["AWS_SECRET_ACCESS_KEY"],
        region=options["AWS_REGION"],
        client_options={"allow_http": True},
    )


@pytest.fixture
def local(cluster: ClusterInfo) -> None:
    if cluster.provider != "local":
        pytest.skip("only the local cluster's components can be stopped and started")


@pytest.fixture
def server(cluster: ClusterInfo) -> S3:
    if cluster.s3 is None:
        pytest.skip("this cluster names no S3 server: set FIREBREAK_S3_ENDPOINT")
    return cluster.s3


@pytest.fixture
def audit_log(cluster: ClusterInfo) -> Path:
    if cluster.audit_log is None:
        pytest.skip("this cluster names no audit log: set FIREBREAK_AUDIT_LOG")
    return cluster.audit_log


def address(server: S3) -> tuple[str, int]:
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    return host, int(port)


def test_bringing_up_what_is_up_changes_nothing(cluster: ClusterInfo, local: None) -> None:
    before = control.process_ids()
    assert choose().up() == cluster
    assert control.process_ids() == before


def test_every_part_of_the_cluster_is_ready(local: None) -> None:
    assert set(choose().status().values()) == {"ready"}


def test_a_pod_runs_and_its_exec_is_in_the_audit_log(audit_log: Path, kubectl: Kubectl, namespace: str) -> None:
    kubectl("run", "shell", "--namespace", namespace, "--image=busybox:1.35", "--restart=Never", "--", "sleep", "1d")
    kubectl("wait", "--namespace", namespace, "--for=condition=Ready", "pod/shell", "--timeout=30s")
    assert kubectl("exec", "--namespace", namespace, "shell", "--", "echo", "hello") == "hello\n"
    path = f"/namespaces/{namespace}/pods/shell/exec"
    wait_until(lambda: path in audit_log.read_text(), timeout=10, otherwise="the exec is not in the audit log")


def test_values_of_secrets_are_not_in_the_audit_log(audit_log: Path, kubectl: Kubectl, namespace: str) -> None:
    value = secrets.token_hex(16)
    kubectl("create", "secret", "generic", "bait", "--namespace", namespace, f"--from-literal=password={value}")
    path = f"/namespaces/{namespace}/secrets"
    wait_until(
        lambda: path in audit_log.read_text(), timeout=10, otherwise="the secret's creation is not in the audit log"
    )
    stored = json.loads(kubectl("get", "secret", "bait", "--namespace", namespace, "--output", "json"))
    text = audit_log.read_text()
    assert value not in text
    assert stored["data"]["password"] not in text


def test_pods_and_this_machine_reach_one_object_store(
    server: S3, kubectl: Kubectl, namespace: str, s3_bucket: Bucket
) -> None:
    obstore.put(store(s3_bucket), "greeting", b"hello")
    assert obstore.get(store(s3_bucket), "greeting").bytes() == b"hello"
    host, port = address(server)
    script = f"nc -w 3 {host} {port} </dev/null && echo reached"
    pod = (
        "run",
        "client",
        "--namespace",
        namespace,
        "--image=busybox:1.35",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        script,
    )
    kubectl(*pod)
    kubectl("wait", "--namespace", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/client", "--timeout=30s")
    assert kubectl("logs", "--namespace", namespace, "client") == "reached\n"


def test_the_object_store_refuses_a_wrong_signature(server: S3) -> None:
    forged = replace(server, secret_key="not the secret")
    with pytest.raises(ClusterError, match=r"403[\s\S]*SignatureDoesNotMatch"):
        s3.create_bucket(forged, "another-bucket")


def test_a_bucket_with_object_lock_keeps_versions(cluster: ClusterInfo) -> None:
    bucket = make_bucket(cluster, object_lock=True)
    first = obstore.put(store(bucket), "evidence", b"one")
    second = obstore.put(store(bucket), "evidence", b"two")
    assert first["version"]
    assert first["version"] != second["version"]


def test_a_stopped_object_store_comes_back_with_what_it_had(server: S3, local: None, s3_bucket: Bucket) -> None:
    obstore.put(store(s3_bucket), "kept", b"still here")
    with control.stopped("versitygw"), pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(server), timeout=2)
    assert obstore.get(store(s3_bucket), "kept").bytes() == b"still here"


def test_a_dockerfile_is_built_loaded_and_run_without_a_registry(
    cluster: ClusterInfo, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "greeting").write_text("hello from the image\n")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("ARG BASE\nFROM ${BASE}\nCOPY greeting /\nUSER 65532:65532\nCMD cat /greeting; id -u\n")
    tag = "firebreak-greeting:test"
    tar = build_image(
        Paths.from_environment(), context=tmp_path, dockerfile=dockerfile, tag=tag, build_args={"UNUSED": "1"}
    )
    choose().load_image(tar)
    run = ("run", "greeting", "--namespace", namespace, f"--image={tag}", "--image-pull-policy=Never")
    kubectl(*run, "--restart=Never")
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "--namespace", namespace, succeeded, "pod/greeting", "--timeout=30s")
    assert kubectl("logs", "--namespace", namespace, "greeting") == "hello from the image\n65532\n"


@pytest.mark.parametrize("name", ["etcd", "kube-apiserver", "kubelet", "containerd", "versitygw", "enforcer"])
def test_a_crashed_component_is_brought_back_by_up(local: None, kubectl: Kubectl, name: str) -> None:
    control.kill(name)
    assert not control.running(name)
    choose().up()
    assert control.running(name)
    assert kubectl("get", "--raw", "/readyz") == "ok"
    until_execs_are_judged(kubectl)
