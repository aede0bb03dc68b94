"""The image as it runs in the cluster: confined by its manifests, and as its bill of materials says."""

import hashlib
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from cluster.provider import ClusterError, ClusterInfo
from conftest import Kubectl
from firebreak.detect.rules import SHIPPED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SBOM = "/usr/share/doc/firebreak/sbom.cdx.json"
INSTALLED = "import importlib.metadata as m; print(*sorted({d.name.lower() for d in m.distributions()}))"
RULES = """
import hashlib
from firebreak.detect.rules import SHIPPED
for file in SHIPPED.glob("*.yaml"):
    print(hashlib.sha256(file.read_bytes()).hexdigest(), file)
"""
PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "privileged"},
    "spec": {"containers": [{"name": "c", "image": "busybox:1.35", "securityContext": {"privileged": True}}]},
}


class Running:
    """A pod of the operator: what it answers from inside, and what the API server says of it."""

    def __init__(self, cluster: ClusterInfo, kubectl: Kubectl, namespace: str) -> None:
        pods = kubectl("get", "pods", "-n", namespace, "-l", "app.kubernetes.io/name=firebreak", "-o", "json")
        # Those of before the rollout are still ending.
        staying = (pod for pod in json.loads(pods)["items"] if "deletionTimestamp" not in pod["metadata"])
        self.pod: dict[str, Any] = next(staying)
        kubeconfig = ["--kubeconfig", str(cluster.kubeconfig), "-n", namespace]
        self._exec = [str(cluster.bin / "kubectl"), *kubeconfig, "exec", self.pod["metadata"]["name"], "--"]

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._exec, *command], capture_output=True, text=True, timeout=60, check=False)

    def out(self, *command: str) -> str:
        done = self(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def running(cluster: ClusterInfo, kubectl: Kubectl, firebreak: str) -> Running:
    return Running(cluster, kubectl, firebreak)


@pytest.fixture(scope="module")
def bill(running: Running) -> Any:
    return json.loads(running.out("cat", SBOM))


def listed(bill: Any, kind: str) -> dict[str, str]:
    """Names and versions of the components whose reference or package URL begins like this."""
    found = bill["components"]
    return {c["name"]: c["version"] for c in found if c.get("purl", "").startswith(kind)}


def test_the_operator_runs_as_nobody_without_a_capability_and_cannot_gain_one(running: Running) -> None:
    assert running.out("id", "-u") == "65532\n"
    assert running.out("id", "-g") == "65532\n"
    status = dict(line.split(":\t", 1) for line in running.out("cat", "/proc/1/status").splitlines() if ":\t" in line)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("path", ["/", "/opt/firebreak", "/usr/local/bin", "/etc", "/var"])
def test_nothing_of_the_root_file_system_can_be_written(running: Running, path: str) -> None:
    refused = running("touch", f"{path}/written")
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr


def test_only_its_tmp_can_be_written(running: Running) -> None:
    running.out("sh", "-c", "echo > /tmp/written && rm /tmp/written")
    (container,) = running.pod["spec"]["containers"]
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp"]  # noqa: S108 - the pod's, not ours


def test_the_pod_that_runs_is_confined_as_the_manifests_say(running: Running) -> None:
    (container,) = running.pod["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert running.pod["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_a_pod_with_more_rights_is_refused_where_the_operator_was_admitted(
    running: Running, kubectl: Kubectl, firebreak: str
) -> None:
    with pytest.raises(ClusterError, match=r'violates PodSecurity "restricted:latest": privileged'):
        kubectl("create", "-n", firebreak, "-f", "-", stdin=json.dumps(PRIVILEGED))


def test_the_bill_of_materials_is_valid(bill: Any) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_the_bill_lists_the_locked_dependencies_and_no_other_python_package(bill: Any, running: Running) -> None:
    locked = dict(for_linux((ROOT / ".build" / "requirements.txt").read_text()))
    assert {normal(name): version for name, version in listed(bill, "pkg:pypi/").items()} == locked
    installed = running.out("python3", "-c", INSTALLED).split()
    assert {normal(name) for name in installed} == {"firebreak-operator", *locked}


def for_linux(requirements: str) -> Iterator[tuple[str, str]]:
    """Names and versions of the locked requirements that this platform needs."""
    for line in requirements.splitlines():
        if line[:1].isalpha():
            wanted = Requirement(line.removesuffix("\\"))
            if wanted.marker is None or wanted.marker.evaluate():
                yield normal(wanted.name), str(wanted.specifier).removeprefix("==")


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_the_bill_lists_the_base_and_kubectl_with_its_modules(bill: Any, running: Running) -> None:
    packages = running.out("dpkg-query", "--show", "--showformat=${Package} ${Version}\n").splitlines()
    assert listed(bill, "pkg:deb/debian/") == dict(line.split() for line in packages)
    programs = {component["bom-ref"]: component for component in bill["components"] if "hashes" in component}
    assert set(programs) == {"kubectl", "python3"}
    digest = programs["kubectl"]["hashes"][0]["content"]
    assert running.out("sha256sum", "/usr/local/bin/kubectl") == f"{digest}  /usr/local/bin/kubectl\n"
    assert {"k8s.io/client-go", "github.com/spf13/cobra"} <= set(listed(bill, "pkg:golang/"))
    assert running.out("python3", "--version") == f"Python {programs['python3']['version']}\n"


def test_the_rules_of_detection_are_in_the_wheel_and_in_the_image(running: Running) -> None:
    shipped = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in SHIPPED.glob("*.yaml")}
    (wheel,) = (ROOT / ".build" / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        rules = [Path(name) for name in packed.namelist() if Path(name).parent.name == "shipped"]
        assert {rule.name: hashlib.sha256(packed.read(str(rule))).hexdigest() for rule in rules} == shipped
    hashed = running.out("python3", "-c", RULES)
    assert {Path(file).name: digest for digest, file in map(str.split, hashed.splitlines())} == shipped
    assert "cases of" in running.out("firebreak", "rules", "test")


def test_preflight_inside_the_pod_sees_rights_guards_and_store(running: Running) -> None:
    ran = running("firebreak", "preflight", "--no-probe", "-o", "json")
    checks = {check["name"]: check["outcome"] for check in json.loads(ran.stdout)["checks"]}
    assert checks == {
        "api server": "ok",
        "clock": "ok",
        "crd approvals.firebreak.dev": "unknown",  # its account may not read them
        "crd incidents.firebreak.dev": "unknown",
        "crd playbooks.firebreak.dev": "unknown",
        "rights contain": "ok",
        "rights preserve": "ok",
        "rights eradicate": "ok",
        "rights node": "left out",
        "guards contain": "ok",
        "guards preserve": "ok",
        "guards eradicate": "ok",
        "guards people": "unknown",  # nothing that its account could try
        "policies people": "unknown",  # its account may not read them either
        "policies contain": "unknown",
        "policies preserve": "unknown",
        "policies eradicate": "unknown",
        "store": "warning",  # the test cluster's keys may delete
        "enforcement": "ok",
    }
    assert ran.returncode == 5
