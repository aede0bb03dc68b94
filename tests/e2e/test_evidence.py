"""Evidence on a real cluster: what lies in the store is what was in the container, and no secret of it."""

import base64
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import obstore
import pytest

from audited import AuditLog
from cluster.commands import run
from cluster.provider import ClusterInfo
from conftest import Kubectl
from firebreak.evidence.artifact import Artifact
from firebreak.evidence.layout import Layout
from firebreak.evidence.location import connect
from firebreak.evidence.manifest import Manifest
from firebreak.model.redact import marker
from incidents import GATED, IDLE, Evidence, Place, account, container, from_secret, place, pod, secret

pytestmark = pytest.mark.usefixtures("firebreak")

MIB = 1024 * 1024
OPERATOR = "system:serviceaccount:firebreak:firebreak"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
ODD_NAMES = ("-rf", "two words", "line\nbreak", "$(reboot)", "ünïcödé", "..hidden", "*", "back\\slash", "x" * 200)
INTRUDER = """
dd if=/dev/urandom of=/tmp/big bs=1M count=20
for name do printf %s "held in $name" > "/tmp/$name"; done
ln -s /proc/self/environ /tmp/environ
nc -ll -p 8080 -e cat &
until grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done
sleep 1000000 | nc 127.0.0.1 8080 &
until grep -q ':1F90 01 ' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done
echo first line
printf 'a line without an end'
touch /ready
wait
"""
CRASHED_ONCE = """
if [ -e /state/crashed ]; then echo second life; touch /ready; exec sleep 1000000; fi
touch /state/crashed
echo first life
exit 3
"""
NO_TOOLS = "touch /ready; busybox rm /bin/sh /bin/tar; exec busybox sleep 1000000"
UNTIL_TOLD = "touch /ready; echo begun; until [ -e /end ]; do usleep 100000; done; echo ended; exit 7"


@dataclass(frozen=True)
class Preserved:
    """A pod, its evidence, and the secrets that it had."""

    at: Place
    evidence: Evidence
    folder: str
    artifacts: dict[str, Artifact]
    bait: dict[str, str] = field(repr=False)

    def read(self, name: str) -> bytes:
        return self.evidence.read(self.artifacts[name])


@pytest.fixture(scope="module")
def where(cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    with place(cluster, kubectl, "evidence") as found:
        yield found


@pytest.fixture(scope="module")
def preserved(where: Place) -> Preserved:
    """A pod with odd files, open sockets, a container that crashed, and secrets in every place; its evidence sealed."""
    bait = {name: f"bait-{name}-{secrets.token_hex(12)}" for name in ("file", "one-file", "variable", "literal")}
    mounts = [
        {"name": "state", "mountPath": "/state"},
        {"name": "credentials", "mountPath": "/etc/credentials"},
        {"name": "credentials", "mountPath": "/home/key", "subPath": "one-file"},
    ]
    environment = [from_secret("VARIABLE", "environment", "variable"), {"name": "LITERAL", "value": bait["literal"]}]
    where.apply(
        account("keeper"),
        secret("credentials", {}, **{"file": bait["file"], "one-file": bait["one-file"]}),
        secret("environment", variable=bait["variable"]),
        pod(
            "vault",
            container(INTRUDER, *ODD_NAMES, env=environment, volumeMounts=mounts),
            container(CRASHED_ONCE, name="crashed", volumeMounts=mounts[:1]),
            serviceAccountName="keeper",
            volumes=[
                {"name": "state", "emptyDir": {}},
                {"name": "credentials", "secret": {"secretName": "credentials"}},
            ],
        ),
    )
    where.ready("pod/vault", seconds=90)
    bait["token"] = where.exec("vault", "cat", TOKEN).strip()
    assert where.exec("vault", "cat", "/etc/credentials/file", "/home/key") == bait["file"] + bait["one-file"]
    where.open("stolen", "vault")
    where.condition("stolen", "EvidencePreserved", "True/Sealed", seconds=90)
    evidence = where.evidence("stolen")
    uid = where.get("pod", "vault")["metadata"]["uid"]
    return Preserved(where, evidence, f"pods/vault-{uid}", evidence.artifacts(), bait)


def test_files_are_byte_for_byte_what_the_container_holds(preserved: Preserved) -> None:
    names = ("big", *ODD_NAMES)
    sums = 'cd /tmp; for name do sha256sum < "./$name"; done'
    there = [line.split()[0] for line in preserved.at.exec("vault", "sh", "-c", sums, "sums", *names).splitlines()]
    data = preserved.read("files/app.tar")
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        kept = [files.extractfile(f"./tmp/{name}") for name in names]
        assert [hashlib.sha256(file.read()).hexdigest() for file in kept if file] == there
        assert files.getmember("./tmp/big").size == 20 * MIB
        assert files.getmember("./tmp/environ").linkname == "/proc/self/environ"
    assert preserved.artifacts["files/app.tar"].completeness == "Complete"


def test_logs_are_what_kubectl_prints(preserved: Preserved) -> None:
    log = ("logs", "--namespace", preserved.at.namespace, "vault", "--timestamps", "--container")
    for name, *arguments in (
        ("app.current", "app"),
        ("crashed.current", "crashed"),
        ("crashed.previous", "crashed", "--previous"),
    ):
        kept = preserved.read(f"logs/{name}.log").decode()
        assert kept == preserved.at.kubectl(*log, *arguments), name
    assert preserved.read("logs/crashed.previous.log").decode().endswith(" first life\n")


def test_the_description_is_kubectls_without_literal_values(preserved: Preserved, cluster: ClusterInfo) -> None:
    command = [str(cluster.bin / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "--namespace"]
    shown = run([*command, preserved.at.namespace, "describe", "pod", "vault"], env={**os.environ, "TZ": "UTC"})
    value = preserved.bait["literal"]
    wanted, _, happened = shown.replace(value, marker(value)).partition("\nEvents:\n")
    kept, _, told = preserved.read("describe.txt").decode().partition("\nEvents:\n")
    assert kept == wanted
    assert "VARIABLE:  <set to the key 'variable' in secret 'environment'>" in kept
    assert told
    assert events(told) <= events(happened)


def events(table: str) -> set[tuple[str, ...]]:
    """The events of a description without their age."""
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=4) for line in table.splitlines()[2:]]
    return {(row[0], row[1], *row[3:]) for row in rows if len(row) > 1}


def test_processes_and_sockets_are_seen(preserved: Preserved) -> None:
    seen = preserved.read("volatile/app.txt")
    assert preserved.artifacts["volatile/app.txt"].completeness == "Complete"
    assert b"nc\0-ll\0-p\x008080\0-e\0cat\0" in seen
    assert len(re.findall(rb":1F90 0+:0000 0A ", seen)) == 1, "one socket listens on port 8080"
    assert re.search(rb" [0-9A-F]{8,32}:[0-9A-F]{4} [0-9A-F]{8,32}:1F90 01 ", seen), "nobody is connected to port 8080"


def test_the_manifest_lists_everything_and_its_digest_is_the_seal(preserved: Preserved) -> None:
    assert set(preserved.artifacts) == {
        "pod.json",
        "describe.txt",
        "surroundings.json",
        "volatile/app.txt",
        "volatile/crashed.txt",
        "logs/app.current.log",
        "logs/crashed.current.log",
        "logs/crashed.previous.log",
        "files/app.tar",
        "files/crashed.tar",
    }
    objects = preserved.evidence.objects()
    sealed = objects[f"{preserved.evidence.prefix}/manifest.json"]
    assert hashlib.sha256(sealed).hexdigest() == preserved.evidence.seal
    manifest = Manifest.parse(sealed, "manifest.json")
    assert {a.name.rpartition("/")[0].split("/")[1] for a in manifest.artifacts} == {preserved.folder.split("/")[1]}
    layout = Layout(preserved.evidence.prefix)
    for artifact in manifest.artifacts:
        assert artifact.object_key is not None
        data = objects[layout.full(artifact.object_key)]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.sha256, artifact.bytes)
    shown = json.loads(preserved.read("pod.json"))["metadata"]
    assert (shown["name"], f"pods/vault-{shown['uid']}") == ("vault", preserved.folder)


def test_no_secret_value_is_in_evidence_status_events_or_logs(preserved: Preserved) -> None:
    at = preserved.at
    places = {
        **preserved.evidence.objects(),
        "incidents": at.kubectl("get", "incidents", "-n", at.namespace, "-o", "yaml").encode(),
        "events": at.kubectl("get", "events", "-n", at.namespace, "-o", "yaml").encode(),
        "logs": at.kubectl("logs", "-n", "firebreak", "-l", "app.kubernetes.io/name=firebreak", "--tail=-1").encode(),
    }
    assert b"stolen" in places["logs"]
    for name, value in preserved.bait.items():
        for form in (value.encode(), base64.b64encode(value.encode())):
            assert [where for where, data in places.items() if form in data] == [], name
    assert b"bait-" not in b"".join(places.values())


def test_tampering_with_one_object_is_found(preserved: Preserved) -> None:
    evidence = preserved.evidence
    ran = preserved.at.firebreak("verify", "stolen", "-o", "json")
    assert (ran.code, json.loads(ran.out)["ok"], json.loads(ran.out)["remarks"]) == (0, True, []), ran.err
    artifact = preserved.artifacts["logs/app.current.log"]
    original = evidence.read(artifact)
    bucket = connect(evidence.root, evidence.options).whole
    key = f"{evidence.prefix}/{artifact.object_key}"
    try:
        obstore.put(bucket, key, original.replace(b"first", b"other"))
        ran = preserved.at.firebreak("verify", "stolen", "-o", "json")
        found = json.loads(ran.out)["problems"]
        assert (ran.code, [(f["kind"], f["key"]) for f in found]) == (1, [("HashDiffers", artifact.object_key)])
        assert "1 problems: this evidence cannot be relied on as sealed" in ran.err
    finally:
        obstore.put(bucket, key, original)
    assert evidence.verified().ok


def test_a_container_without_a_shell_is_a_gap_with_its_name_and_reason(where: Place) -> None:
    where.apply(pod("bare", container(NO_TOOLS)))
    where.ready("pod/bare")
    where.open("bare", "bare")
    words = where.condition("bare", "EvidencePreserved", "False/Incomplete", seconds=90)
    artifacts = where.evidence("bare").artifacts()
    lost = {name: (a.completeness, a.reason) for name, a in artifacts.items() if a.is_gap}
    assert lost == {"volatile/app.txt": ("Missing", "NoShell"), "files/app.tar": ("Missing", "NoTar")}
    for name in lost:
        assert name in words
    assert where.evidence("bare").verified().ok
    assert artifacts["logs/app.current.log"].completeness == "Complete"


def test_a_container_that_restarts_under_way_is_partial_and_not_preserved(where: Place) -> None:
    where.apply(pod("restless", container(UNTIL_TOLD), container(GATED, name="gate")))
    where.ready("pod/restless")
    before = container_id(where, "restless")
    where.open("restless", "restless")
    where.wait("incident/restless", "jsonpath={.status.timings.cutAt}")
    where.exec("restless", "touch", "/end")
    where.wait("pod/restless", 'jsonpath={.status.containerStatuses[?(@.name=="app")].restartCount}=1')
    where.ready("pod/restless")
    assert container_id(where, "restless") != before
    where.exec("restless", "touch", "/gate", container="gate")
    words = where.condition("restless", "EvidencePreserved", "False/Incomplete", seconds=120)
    evidence = where.evidence("restless")
    artifacts = evidence.artifacts()
    files, log = artifacts["files/app.tar"], artifacts["logs/app.previous.log"]
    assert (files.completeness, files.reason) == ("Partial", "ContainerRestarted"), files.message
    assert files.origin.container_id == before
    assert "Partial/ContainerRestarted" in words
    assert [line.split()[1] for line in evidence.read(log).decode().splitlines()] == ["begun", "ended"]
    assert where.status("restless").steps["capture"].state == "Partial"


def container_id(where: Place, name: str) -> str:
    statuses = where.get("pod", name)["status"]["containerStatuses"]
    return str(next(s["containerID"] for s in statuses if s["name"] == "app"))


def test_preserving_changes_nothing_about_the_pod(where: Place) -> None:
    where.apply(pod("quiet", container(IDLE)))
    where.ready("pod/quiet")
    before = where.get("pod", "quiet")
    where.open("watched", "quiet", mode="Preserve")
    where.condition("watched", "EvidencePreserved", "True/Sealed", seconds=90)
    where.condition("watched", "Contained", "False/NotRequested")
    where.condition("watched", "Ready", "True")
    assert where.get("pod", "quiet") == before
    uid = where.get("incident", "watched")["metadata"]["uid"]
    assert uid not in where.kubectl("get", "networkpolicies", "-n", where.namespace, "-o", "name")
    assert where.evidence("watched").verified().ok


def test_a_plan_touches_nothing(cluster: ClusterInfo, kubectl: Kubectl, log: AuditLog) -> None:
    with place(cluster, kubectl, "plan") as where:
        where.apply(account("clerk"), pod("idle", container(IDLE), serviceAccountName="clerk"))
        where.ready("pod/idle")
        before = where.get("pod", "idle")
        where.open("drill", "idle", mode="Plan", playbook="unattended")
        where.wait("incident/drill", "jsonpath={.status.phase}=Planned")
        planned = where.status("drill").steps["quarantine"].changes
        assert sorted((c.verb, c.state) for c in planned.values()) == [("create", "Planned"), ("patch", "Planned")]
        assert where.get("pod", "idle") == before
        assert kubectl("get", "networkpolicies", "-n", where.namespace, "-o", "name") == ""
        ours = [call for call in log.seen(where.namespace) if call["user"]["username"] == OPERATOR]
        writes = {
            f"{call['verb']} {call['objectRef']['resource']}/{call['objectRef'].get('subresource')}"
            for call in ours
            if call["verb"] not in {"get", "list", "watch"}
        }
        assert ours
        assert writes - {"create events/None"} == {"patch incidents/status"}
