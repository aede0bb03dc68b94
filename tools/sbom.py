"""Completes the bill of materials (CycloneDX) of the image while the image is built; the Dockerfile calls it.

cyclonedx-py has listed the Python packages of the operator's environment. This adds what else is in the image: the
packages of the base, its Python, kubectl, and the Go modules that kubectl says it was built from. Sorted and without
times or random numbers: the same image has the same bill.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Component = dict[str, Any]

DPKG_FORMAT = "${Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n"
OWN = "firebreak-operator"


def debian_packages(listing: str, distribution: str) -> Iterator[Component]:
    """Read what dpkg-query prints with DPKG_FORMAT; packages that are not installed any more are left out."""
    for line in listing.splitlines():
        name, version, architecture, status = line.split("\t")
        if status.strip() == "ii":
            place = f"pkg:deb/debian/{name}@{version}"
            yield {
                "type": "library",
                "bom-ref": f"deb:{name}:{architecture}",
                "name": name,
                "version": version,
                "purl": f"{_quoted(place)}?arch={architecture}&distro={distribution}",
            }


def go_modules(listing: str) -> Iterator[Component]:
    """Read what `go version -m` prints; a module that was replaced is named by what replaced it."""
    found: list[list[str]] = []
    for fields in (line.split() for line in listing.splitlines()):
        if fields and fields[0] == "dep":
            found.append(fields[1:3])
        elif fields and fields[0] == "=>":
            found[-1] = fields[1:3]
    for path, version in found:
        purl = _quoted(f"pkg:golang/{path}@{version}")
        yield {"type": "library", "bom-ref": f"go:{path}", "name": path, "version": version, "purl": purl}


def program(name: str, version: str, purl: str, content: bytes) -> Component:
    """Describe one executable, with its digest."""
    digest = {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
    return {"type": "application", "bom-ref": name, "name": name, "version": version, "purl": purl, "hashes": [digest]}


def complete(python: dict[str, Any], others: list[Component], base: str) -> dict[str, Any]:
    """Put the other components into the bill that cyclonedx-py made; the image is what it is about."""
    components = sorted(python["components"] + others, key=lambda component: str(component["bom-ref"]))
    (own,) = (component for component in components if component["name"] == OWN)
    image = {
        "type": "container",
        "bom-ref": "image",
        "name": "firebreak",
        "version": own["version"],
        "properties": [{"name": "firebreak:base", "value": base}],
    }
    known = {entry["ref"]: entry for entry in python.get("dependencies", [])}
    known["kubectl"] = {"ref": "kubectl", "dependsOn": _refs(others, "go:")}
    known["image"] = {"ref": "image", "dependsOn": [own["bom-ref"], "kubectl", "python3", *_refs(others, "deb:")]}
    bill = {
        **python,
        "metadata": {**python.get("metadata", {}), "component": image},
        "components": components,
        "dependencies": [known[ref] for ref in sorted(known)],
    }
    digest = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"}


def _refs(components: list[Component], prefix: str) -> list[str]:
    return sorted(c["bom-ref"] for c in components if c["bom-ref"].startswith(prefix))


def _quoted(purl: str) -> str:
    """Percent-encode what versions have and purls give a meaning to."""
    return purl.replace("+", "%2B").replace(":", "%3A").replace("pkg%3A", "pkg:", 1)


def main() -> None:
    """Print the complete bill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the base image, as the Dockerfile names it")
    parser.add_argument("--python", required=True, type=Path, help="what cyclonedx-py wrote")
    parser.add_argument("--kubectl", required=True, type=Path)
    parser.add_argument("--modules", required=True, type=Path, help="what `go version -m kubectl` printed")
    given = parser.parse_args()
    release = platform.freedesktop_os_release()
    said = json.loads(_output(str(given.kubectl), "version", "--client", "--output=json"))
    version = said["clientVersion"]["gitVersion"]
    interpreter = platform.python_version()
    others = [
        *debian_packages(
            _output("dpkg-query", "--show", f"--showformat={DPKG_FORMAT}"), f"debian-{release['VERSION_ID']}"
        ),
        *go_modules(given.modules.read_text()),
        program("kubectl", version, f"pkg:golang/k8s.io/kubernetes@{version}#cmd/kubectl", given.kubectl.read_bytes()),
        program("python3", interpreter, f"pkg:generic/python@{interpreter}", Path(sys.executable).read_bytes()),
    ]
    json.dump(complete(json.loads(given.python.read_text()), others, given.base), sys.stdout, indent=2)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
