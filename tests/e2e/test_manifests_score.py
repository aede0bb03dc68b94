"""The manifests under kube-score, every check switched on; it needs no cluster, only Go to build two programs.

What is found must be what stands here with its reason, no more and no less.
"""

import json
import subprocess
from pathlib import Path

import pytest

from cluster import binaries
from cluster.commands import run
from cluster.settings import Paths

MANIFESTS = Path(__file__).parents[2] / "manifests"
OLDEST = "v1.31"  # the oldest Kubernetes that Firebreak wants
ALL_WELL = 10  # kube-score's best grade

EXCEPTIONS = {
    # Throttling would delay a containment; what is requested is guaranteed.
    "container-resources": {"CPU limit is not set"},
    # The same, and memory: the limit bounds an operator with many incidents, the request is what an idle one uses.
    "container-cpu-requests-equal-limits": {"CPU requests does not match limits"},
    "container-memory-requests-equal-limits": {"Memory requests does not match limits"},
    "container-resource-requests-equal-limits": {
        "CPU requests does not match limits",
        "Memory requests does not match limits",
    },
    # The operator must come up while its registry is away, which an attacker may see to; name the image by digest.
    "container-image-pull-policy": {"ImagePullPolicy is not set to Always"},
    # The addresses of API server and store differ everywhere: manifests/base/networkpolicy.yaml says so.
    "pod-networkpolicy": {"The pod does not have a matching egress NetworkPolicy"},
}


@pytest.fixture(scope="module")
def programs() -> Path:
    return binaries.build((binaries.KUBECTL, binaries.KUBE_SCORE), Paths.from_environment().cache)


@pytest.mark.parametrize("folder", ["overlays/standard", "overlays/contain-only", "components/intake"])
def test_the_manifests_pass_every_check_but_those_excepted_with_a_reason(folder: str, programs: Path) -> None:
    manifests = run([str(programs / "kubectl"), "kustomize", str(MANIFESTS / folder)])
    strict = ["--all-default-optional", "--kubernetes-version", OLDEST, "--output-format", "json"]
    scored = subprocess.run(
        [str(programs / "kube-score"), "score", *strict, "-"],
        input=manifests,
        text=True,
        capture_output=True,
        check=False,
    )
    objects = json.loads(scored.stdout)
    assert {found["object_name"].split("/")[0] for found in objects} >= {"Deployment", "NetworkPolicy"}
    findings: dict[str, set[str]] = {}
    for found in objects:
        for check in found["checks"]:
            if not check["skipped"] and check["grade"] < ALL_WELL:
                findings.setdefault(check["check"]["id"], set()).update(c["summary"] for c in check["comments"])
    assert findings == EXCEPTIONS
