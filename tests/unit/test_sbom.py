"""The bill of materials of the image: what tools/sbom.py adds to what cyclonedx-py found."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

TOOL = Path(__file__).parents[2] / "tools" / "sbom.py"
PACKAGES = "bash\t5.2.15-2+b13\tamd64\tii \nlogin\t1:4.13+dfsg1-1\tamd64\tii \ngone\t1.0\tall\trc \n"
MODULES = """.build/bin/kubectl: go1.26.8
\tpath\tk8s.io/kubernetes/cmd/kubectl
\tmod\tk8s.io/kubernetes\tv1.35.4\th1:o/8d=
\tdep\tgithub.com/beorn7/perks\tv1.0.1\th1:VlbK=
\tdep\tk8s.io/api\tv0.0.0
\t=>\tk8s.io/api\tv0.35.4\th1:P7nF=
\tbuild\t-compiler=gc
"""
PYTHON: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [
        {"bom-ref": "yarl==1.20", "name": "yarl", "type": "library", "version": "1.20"},
        {"bom-ref": "firebreak-operator==0.1.0", "name": "firebreak-operator", "type": "library", "version": "0.1.0"},
    ],
    "dependencies": [{"ref": "firebreak-operator==0.1.0", "dependsOn": ["yarl==1.20"]}],
}


@pytest.fixture(scope="module")
def sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def others(sbom: Any) -> list[dict[str, Any]]:
    kubectl = sbom.program("kubectl", "v1.35.4", "pkg:golang/k8s.io/kubernetes@v1.35.4#cmd/kubectl", b"an executable")
    python = sbom.program("python3", "3.11.2", "pkg:generic/python@3.11.2", b"another")
    return [*sbom.debian_packages(PACKAGES, "debian-12"), *sbom.go_modules(MODULES), kubectl, python]


def test_what_is_installed_of_the_base_is_listed_and_what_was_removed_is_not(sbom: Any) -> None:
    assert [package["purl"] for package in sbom.debian_packages(PACKAGES, "debian-12")] == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb13?arch=amd64&distro=debian-12",
        "pkg:deb/debian/login@1%3A4.13%2Bdfsg1-1?arch=amd64&distro=debian-12",
    ]


def test_a_replaced_module_is_named_by_what_was_built_in(sbom: Any) -> None:
    assert [module["purl"] for module in sbom.go_modules(MODULES)] == [
        "pkg:golang/github.com/beorn7/perks@v1.0.1",
        "pkg:golang/k8s.io/api@v0.35.4",
    ]


def test_a_program_is_pinned_by_its_digest(others: list[dict[str, Any]]) -> None:
    kubectl = next(component for component in others if component["name"] == "kubectl")
    assert kubectl["hashes"] == [
        {"alg": "SHA-256", "content": "166e52f5c1e9c396d56e03ed5f78524b6eb5286e43a17ac9c8191de294f0b83d"}
    ]


def test_the_bill_is_valid_names_the_base_and_is_the_same_every_time(sbom: Any, others: list[dict[str, Any]]) -> None:
    bill = sbom.complete(PYTHON, others, "base@sha256:1")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert bill["metadata"]["component"]["version"] == "0.1.0"
    assert bill["metadata"]["component"]["properties"] == [{"name": "firebreak:base", "value": "base@sha256:1"}]
    assert {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]} == {
        "firebreak-operator==0.1.0": ["yarl==1.20"],
        "image": ["firebreak-operator==0.1.0", "kubectl", "python3", "deb:bash:amd64", "deb:login:amd64"],
        "kubectl": ["go:github.com/beorn7/perks", "go:k8s.io/api"],
    }
    assert sbom.complete(PYTHON, list(reversed(others)), "base@sha256:1") == bill
    assert sbom.complete(PYTHON, others, "base@sha256:2")["serialNumber"] != bill["serialNumber"]
