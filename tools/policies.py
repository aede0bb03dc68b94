"""Writes operator/firebreak/model/shipped.py: the digests of the admission policies in the manifests."""

import sys
from pathlib import Path

import yaml

from firebreak.model.policies import MANIFESTS, digest

ROOT = Path(__file__).parents[1]
HEAD = '''"""The digests of the admission policies that this version ships, each with its binding: see `model.policies`.

Written by `make policies` from the manifests; a test compares.
"""

from collections.abc import Mapping

SHIPPED: Mapping[str, Mapping[str, str]] = {
'''


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each policy in the manifests of a folder. Raises KeyError for one without binding."""
    found = [d for path in sorted(folder.glob("*.yaml")) for d in yaml.safe_load_all(path.read_text()) if d]
    by_name = {(d["kind"], d["metadata"]["name"]): d for d in found if "metadata" in d}
    kind = "ValidatingAdmissionPolicy"
    names = sorted(name for each, name in by_name if each == kind)
    return {name: digest(by_name[kind, name], by_name[f"{kind}Binding", name]) for name in names}


def main() -> None:
    """Write the module to standard output."""
    lines = [HEAD]
    for group, folder in MANIFESTS.items():
        lines.append(f'    "{group}": {{\n')
        lines.extend(f'        "{name}": "{value}",\n' for name, value in digests(ROOT / folder).items())
        lines.append("    },\n")
    sys.stdout.write("".join([*lines, "}\n"]))


if __name__ == "__main__":
    main()
