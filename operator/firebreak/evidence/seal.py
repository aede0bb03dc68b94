"""Seal an incident's evidence: list it once and for all, read the list back, and see that everything listed is there.

Nothing that destroys state may run before this has succeeded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from firebreak.evidence import custody
from firebreak.evidence.artifact import Artifact
from firebreak.evidence.bundle import Bundle
from firebreak.evidence.concurrency import for_each
from firebreak.evidence.custody import Collector
from firebreak.evidence.errors import AlreadyExists, NotFound, SealError
from firebreak.evidence.keys import Key
from firebreak.evidence.manifest import Gap, Sealed, next_manifest, read_chain

LEFT_OUT = (
    "Left out on purpose: known secret mounts, environment values, headers and queries of probes, data of Secrets.",
    "Secrets may still be in command lines, arguments, annotations, ConfigMaps, logs and files.",
)
"""The notes that every seal carries unless its caller knows better."""

_ROUNDS = 5
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Seal:
    """Evidence that was listed, read back and found. Numbers are those of the whole chain of manifests."""

    digest: str
    """SHA-256 of the newest manifest, which names those before it."""
    manifest: Key
    """Where that manifest is, inside the bundle."""
    manifests: int
    artifacts: int
    bytes: int
    gaps: tuple[Gap, ...]
    sealed_at: datetime
    """When the newest manifest was made."""


async def seal(bundle: Bundle, collector: Collector, *, notes: Sequence[str] = LEFT_OUT) -> Seal:
    """Seal what has receipts; again after late artifacts, which makes a further manifest; harmless to repeat.

    Raises SealError when there is nothing to seal or when what was written does not read back as it was: evidence is
    then not preserved. Raises CorruptEvidence for unreadable receipts or manifests, StoreUnavailable and StoreRefused.
    """
    written: dict[Key, str] = {}
    for _ in range(_ROUNDS):
        # Each round reads everything anew: the second one of an ordinary seal is the reading back.
        chain = await read_chain(bundle.store, bundle.layout)
        _compare(written, chain)
        receipts = await bundle.receipts()
        late = _unsealed(receipts, chain)
        if chain and not late:
            return await _confirmed(bundle, chain)
        if not late:
            raise SealError(f"there is nothing to seal in {bundle.url}: no artifact has a receipt; capture first")
        manifest = next_manifest(
            chain,
            late,
            bundle.incident,
            collector,
            tuple(notes),
            await custody.entries(bundle.store, bundle.layout),
            bundle.clock(),
        )
        try:
            stored = await bundle.store.create(bundle.layout.full(manifest.key), manifest.canonical())
        except AlreadyExists:
            continue  # another process sealed first; its manifest is as good as ours
        written[manifest.key] = stored.sha256
    raise SealError(f"{bundle.url} did not stop changing while it was sealed; seal it again when capture has ended")


def _unsealed(receipts: dict[str, Artifact], chain: tuple[Sealed, ...]) -> tuple[Artifact, ...]:
    sealed = {artifact.name for link in chain for artifact in link.manifest.artifacts}
    return tuple(receipts[name] for name in sorted(receipts) if name not in sealed)


def _compare(written: dict[Key, str], chain: tuple[Sealed, ...]) -> None:
    read = {link.key: link.digest for link in chain}
    for key, expected in written.items():
        if read.get(key) != expected:
            raise SealError(
                f"the manifest {key!r} does not read back as it was written (SHA-256 {expected} expected, "
                f"{read.get(key, 'nothing')} found); the store or somebody with access to it changed it: "
                "take it as compromised and name another one in the operator's settings",
            )


async def _confirmed(bundle: Bundle, chain: tuple[Sealed, ...]) -> Seal:
    artifacts = [artifact for link in chain for artifact in link.manifest.artifacts]
    doubts = await for_each(artifacts, lambda artifact: _doubt(bundle, artifact))
    if problems := tuple(doubt for doubt in doubts if doubt):
        named = "; ".join(problems[:_NAMED]) + (
            f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        )
        raise SealError(
            f"sealed evidence in {bundle.url} is not there as it was recorded: {named}; "
            "preserve the store's own logs and versions, and verify the bundle",
        )
    return Seal(
        digest=chain[-1].digest,
        manifest=chain[-1].key,
        manifests=len(chain),
        artifacts=len(artifacts),
        bytes=sum(artifact.bytes for artifact in artifacts),
        gaps=tuple(gap for link in chain for gap in link.manifest.gaps),
        sealed_at=chain[-1].manifest.sealed_at,
    )


async def _doubt(bundle: Bundle, artifact: Artifact) -> str:
    """What a look at the object finds wrong; nothing when it is there in its size and version."""
    if artifact.object_key is None:
        return ""
    try:
        found = await bundle.store.head(bundle.layout.full(artifact.object_key))
    except NotFound:
        return f"{artifact.name}: its object is gone"
    if found.bytes != artifact.bytes:
        return f"{artifact.name}: its object has {found.bytes} bytes instead of {artifact.bytes}"
    if artifact.object_version and found.version and found.version != artifact.object_version:
        return f"{artifact.name}: its object has been written again"
    return ""
