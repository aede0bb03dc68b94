"""Verify sealed evidence from the store alone: every byte re-hashed, every list compared with what is there.

For an auditor, months later. What is wrong becomes a finding, never an exception; only a store that cannot be read
(StoreUnavailable, StoreRefused) ends a verification, for then nothing is known.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from firebreak.evidence.artifact import Artifact
from firebreak.evidence.backend import ObjectInfo
from firebreak.evidence.canonical import digest
from firebreak.evidence.custody import CustodyEntry
from firebreak.evidence.errors import CorruptEvidence, NotFound
from firebreak.evidence.keys import Key
from firebreak.evidence.layout import CUSTODY, OBJECTS, RECEIPTS, Layout, manifest_key, manifest_sequence, receipt_key
from firebreak.evidence.manifest import MANIFEST_LIMIT, Manifest, Sealed
from firebreak.evidence.store import EvidenceStore


class Problem(StrEnum):
    """Evidence that cannot be relied on as sealed."""

    NOT_SEALED = "NotSealed"
    DIGEST_DIFFERS = "DigestDiffers"
    MANIFEST_MISSING = "ManifestMissing"
    MANIFEST_UNREADABLE = "ManifestUnreadable"
    CHAIN_BROKEN = "ChainBroken"
    SEALED_TWICE = "SealedTwice"
    OBJECT_MISSING = "ObjectMissing"
    SIZE_DIFFERS = "SizeDiffers"
    HASH_DIFFERS = "HashDiffers"
    OVERWRITTEN = "Overwritten"
    RECEIPT_DIFFERS = "ReceiptDiffers"
    CUSTODY_CHANGED = "CustodyChanged"
    CUSTODY_BROKEN = "CustodyBroken"


class Remark(StrEnum):
    """Worth knowing, and no reason to doubt what is sealed."""

    LATE = "NotYetSealed"
    LEFTOVER = "Leftover"
    FOREIGN = "Foreign"
    CUSTODY_FORK = "CustodyFork"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: its kind, the key inside the bundle and a sentence."""

    kind: Problem | Remark
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result. `ok` means: everything sealed is there, byte for byte, and the lists agree with each other."""

    prefix: Key
    digest: str | None
    """Of the newest manifest; compare it with the incident's status or another place out of the store's reach."""
    manifests: int
    artifacts: int
    bytes: int
    """Read and hashed."""
    problems: tuple[Finding, ...]
    remarks: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True without problems."""
        return not self.problems


async def verify(store: EvidenceStore, prefix: Key, *, expected_digest: str | None = None) -> Verification:
    """Verify the bundle at `prefix` (`IncidentIdentity.prefix`), reading all of it.

    Whoever can write to the store can forge all of a bundle consistently: only `expected_digest`, from the incident's
    status or a report, shows that. Raises StoreUnavailable and StoreRefused.
    """
    return await _Verifier(store, Layout(prefix)).run(expected_digest)


class _Verifier:
    """One verification under way."""

    def __init__(self, store: EvidenceStore, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._present: dict[Key, ObjectInfo] = {}
        self._chain: list[Sealed] = []
        self._problems: list[Finding] = []
        self._remarks: list[Finding] = []
        self._bytes = 0

    async def run(self, expected_digest: str | None) -> Verification:
        found = await self._store.list(self._layout.prefix)
        self._present = {self._layout.relative(info.key): info for info in found}
        await self._read_chain()
        self._check_seal(expected_digest)
        sealed = self._sealed_artifacts()
        for artifact in sealed.values():
            await self._check_object(artifact)
        receipts = await self._check_receipts(sealed)
        await self._check_custody()
        self._look_for_strangers([*sealed.values(), *receipts])
        return Verification(
            prefix=self._layout.prefix,
            digest=self._chain[-1].digest if self._chain else None,
            manifests=len(self._chain),
            artifacts=len(sealed),
            bytes=self._bytes,
            problems=tuple(self._problems),
            remarks=tuple(self._remarks),
        )

    async def _read_chain(self) -> None:
        numbers = sorted(number for key in self._present if (number := manifest_sequence(key)) is not None)
        for absent in sorted(set(range(1, max(numbers, default=0))) - set(numbers)):
            self._problem(Problem.MANIFEST_MISSING, manifest_key(absent), "a later manifest is there, this one is not")
        previous: str | None = None
        for number in numbers:
            key = manifest_key(number)
            data = await self._read(key, limit=MANIFEST_LIMIT)
            if data is None:
                continue
            try:
                manifest = Manifest.parse(data, key)
            except CorruptEvidence as error:
                self._problem(Problem.MANIFEST_UNREADABLE, key, str(error))
                continue
            if manifest.previous != previous or manifest.sequence != number:
                self._problem(Problem.CHAIN_BROKEN, key, "it does not name the manifest before it by its digest")
            previous = digest(data)
            self._chain.append(Sealed(key=key, digest=previous, manifest=manifest))

    def _check_seal(self, expected_digest: str | None) -> None:
        if not self._chain:
            self._problem(Problem.NOT_SEALED, manifest_key(1), "there is no readable manifest: nothing here is sealed")
        elif expected_digest is not None and self._chain[-1].digest != expected_digest:
            last = self._chain[-1]
            self._problem(
                Problem.DIGEST_DIFFERS,
                last.key,
                f"its SHA-256 is {last.digest}, and {expected_digest[:64]} was expected",
            )

    def _sealed_artifacts(self) -> dict[str, Artifact]:
        sealed: dict[str, Artifact] = {}
        for link in self._chain:
            for artifact in link.manifest.artifacts:
                if artifact.name in sealed:
                    self._problem(Problem.SEALED_TWICE, link.key, f"{artifact.name} was sealed before")
                sealed[artifact.name] = artifact
        return sealed

    async def _check_object(self, artifact: Artifact) -> None:
        """Judge the sealed version by its bytes, and say so when a newer version hides it."""
        key = artifact.object_key
        if key is None:
            return
        try:
            size, sha256 = await self._rehash(Key(key), artifact.object_version)
            current = await self._store.head(self._layout.full(key))
        except NotFound:
            self._problem(Problem.OBJECT_MISSING, key, f"the object of {artifact.name} is gone")
            return
        if artifact.object_version and current.version and current.version != artifact.object_version:
            self._problem(Problem.OVERWRITTEN, key, "a newer version hides the sealed one, which is judged here")
        if size != artifact.bytes:
            self._problem(Problem.SIZE_DIFFERS, key, f"{size} bytes are there, {artifact.bytes} were sealed")
        elif sha256 != artifact.sha256:
            self._problem(Problem.HASH_DIFFERS, key, f"its SHA-256 is {sha256}, and {artifact.sha256} was sealed")

    async def _rehash(self, key: Key, version: str | None) -> tuple[int, str]:
        running, size = hashlib.sha256(), 0
        async for piece in self._store.stream(self._layout.full(key), version=version):
            running.update(piece)
            size += len(piece)
        self._bytes += size
        return size, running.hexdigest()

    async def _check_receipts(self, sealed: dict[str, Artifact]) -> list[Artifact]:
        """Compare receipts with manifests; the artifacts of those that wait for a further seal."""
        wanted = {receipt_key(name): artifact for name, artifact in sealed.items()}
        for key in wanted.keys() - self._present.keys():
            self._problem(Problem.RECEIPT_DIFFERS, key, "a sealed artifact's receipt is gone")
        late: list[Artifact] = []
        for key in self._below(RECEIPTS):
            data = await self._read(key)
            if data is None:
                continue
            if key in wanted:
                if data != wanted[key].canonical():
                    self._problem(Problem.RECEIPT_DIFFERS, key, "it is not the one that was sealed")
                continue
            self._remark(Remark.LATE, key, "it is in no manifest; seal the incident again to include it")
            late.extend(self._parsed(data, key))
        return late

    def _parsed(self, data: bytes, key: Key) -> Sequence[Artifact]:
        try:
            return (Artifact.parse(data, key),)
        except CorruptEvidence as error:
            self._remark(Remark.FOREIGN, key, str(error))
            return ()

    async def _check_custody(self) -> None:
        stored: dict[Key, bytes] = {}
        for key in self._below(CUSTODY):
            if (data := await self._read(key)) is not None:
                stored[key] = data
        for link in self._chain:
            for ref in link.manifest.custody:
                there = stored.get(Key(ref.key))
                if there is None or digest(there) != ref.sha256:
                    self._problem(Problem.CUSTODY_CHANGED, ref.key, f"it is not as {link.key} lists it")
        self._check_custody_links(stored)

    def _check_custody_links(self, stored: dict[Key, bytes]) -> None:
        digests = {digest(data) for data in stored.values()}
        followed: set[str | None] = set()
        for key, data in stored.items():
            try:
                previous = CustodyEntry.parse(data, key).previous
            except CorruptEvidence as error:
                self._problem(Problem.CUSTODY_BROKEN, key, str(error))
                continue
            if previous is not None and previous not in digests:
                self._problem(Problem.CUSTODY_BROKEN, key, "the entry before it is gone or has been changed")
            if previous in followed:
                self._remark(Remark.CUSTODY_FORK, key, "another entry follows the same one: two wrote at one moment")
            followed.add(previous)

    def _look_for_strangers(self, known: Sequence[Artifact]) -> None:
        named = {artifact.object_key for artifact in known}
        for key in self._present:
            if key in named or manifest_sequence(key) is not None or key.startswith((f"{RECEIPTS}/", f"{CUSTODY}/")):
                continue
            if key.startswith(f"{OBJECTS}/"):
                self._remark(Remark.LEFTOVER, key, "no record names it: an attempt was cut short or lost a race")
            else:
                self._remark(Remark.FOREIGN, key, "Firebreak writes no object of this name")

    def _below(self, folder: Key) -> list[Key]:
        return [key for key in self._present if key.startswith(f"{folder}/")]

    async def _read(self, key: Key, *, limit: int = 16 * 1024 * 1024) -> bytes | None:
        """A document listed a moment ago; what cannot be read whole is a finding."""
        try:
            return await self._store.read(self._layout.full(key), limit=limit)
        except (NotFound, CorruptEvidence) as error:
            self._problem(Problem.OBJECT_MISSING, key, str(error))
            return None

    def _problem(self, kind: Problem, key: str, message: str) -> None:
        self._problems.append(Finding(kind, key, message))

    def _remark(self, kind: Remark, key: str, message: str) -> None:
        self._remarks.append(Finding(kind, key, message))
