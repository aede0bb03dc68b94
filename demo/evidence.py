"""The evidence, read from the object store itself: what lies there, what it proves, and what it must not hold."""

import io
import tarfile
from dataclasses import dataclass

from cluster.provider import S3
from demo import ROOT
from demo.attack import IMPLANT, Loot
from demo.response import NAME, Response
from demo.shop import SHOP
from demo.story import Story
from firebreak.cli.verifying import split
from firebreak.evidence.artifact import Artifact
from firebreak.evidence.layout import Layout
from firebreak.evidence.manifest import read_chain
from firebreak.evidence.store import EvidenceStore
from installed import BUCKET

IMPLANT_SOURCE = ROOT / "demo" / "implant.sh"


@dataclass(frozen=True)
class Evidence:
    """Every sealed artifact, with its bytes."""

    url: str
    artifacts: tuple[tuple[Artifact, bytes], ...]


def credentials(s3: S3) -> dict[str, str]:
    """The store's address and keys as environment variables, which `firebreak` and other clients read."""
    return {
        "FIREBREAK_STORE": f"s3://{BUCKET}",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_REGION": s3.region,
        "AWS_ALLOW_HTTP": "true",
    }


async def fetch(s3: S3, response: Response) -> Evidence:
    """Download the bundle that the incident's status names."""
    url = response.status["evidence"]["url"]
    root, prefix = split(url)
    options = {name: value for name, value in credentials(s3).items() if name.startswith("AWS_")}
    store, layout = EvidenceStore.open(root, options), Layout(prefix)
    artifacts = [artifact for link in await read_chain(store, layout) for artifact in link.manifest.artifacts]
    return Evidence(url, tuple([(a, await _bytes(store, layout, a)) for a in artifacts]))


async def _bytes(store: EvidenceStore, layout: Layout, artifact: Artifact) -> bytes:
    return await store.read(layout.full(artifact.object_key)) if artifact.object_key else b""


def show(story: Story, evidence: Evidence) -> None:
    """The tree, with sizes and hashes."""
    story.show([evidence.url])
    folder = ""
    for artifact, data in evidence.artifacts:
        top, pod, rest = artifact.name.split("/", 2)
        if pod != folder:
            folder = pod
            story.show([f"  {top}/{pod}/"])
        story.show([f"    {rest:<26} {len(data):>8} bytes  sha256 {(artifact.sha256 or 'missing')[:16]}..."])


def check(story: Story, evidence: Evidence, loot: Loot) -> None:
    """Seals are verified by Firebreak's own command; what matters most is looked up in the bytes."""
    story.tell("Every byte is hashed again, and compared with the seal in the incident's status:")
    verified = story.run_in_terminal(f"firebreak verify {NAME} -n {SHOP}")
    story.claim("the evidence is as it was sealed", "as it was sealed" in verified and "NOT as" not in verified)
    complete = [a for a, _ in evidence.artifacts if a.completeness == "Complete"]
    story.claim(
        "it is complete", len(complete) == len(evidence.artifacts), f"{len(complete)} of {len(evidence.artifacts)}"
    )
    story.claim("it holds the implant, byte for byte", IMPLANT_SOURCE.read_bytes() in _implants(evidence))
    everything = b"".join(data for _, data in evidence.artifacts)
    secrets = (loot.token, loot.password)
    story.claim("it holds neither the token nor the password", not any(s.encode() in everything for s in secrets))


def _implants(evidence: Evidence) -> list[bytes]:
    """The files at the implant's path in every copied filesystem."""
    found = []
    for artifact, data in evidence.artifacts:
        if artifact.media_type == "application/x-tar":
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                files = [m for m in archive if m.isfile() and m.name.strip("./") == IMPLANT.strip("/.")]
                found += [opened.read() for m in files if (opened := archive.extractfile(m))]
    return found
