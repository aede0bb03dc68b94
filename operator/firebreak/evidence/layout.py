"""Where things are in a bundle, the part of the store that holds one incident's evidence.

[<cluster>/]incidents/<namespace>/<incident>-<uid>/
    objects/<artifact>.<attempt>       the bytes, under a key of each attempt's own
    receipts/<artifact>.json           what was kept or missed; created once, it decides which attempt counts
    custody/<time>-<random>.json       who did what, each entry naming one before it
    manifest.json, manifest-0002.json  the seal, and further ones for what came later
"""

import re
from dataclasses import dataclass

from firebreak.evidence.canonical import Record
from firebreak.evidence.keys import Key, join, segment

_NAME_LENGTH = 110
_UID_LENGTH = 48
_MANIFEST = re.compile(r"manifest(?:-(\d{4}))?\.json")


class IncidentIdentity(Record):
    """Which incident, in which cluster; the uid tells it from an earlier one of the same name."""

    namespace: str
    name: str
    uid: str
    cluster: str = ""
    """Needed only where several clusters share a store."""

    @property
    def prefix(self) -> Key:
        """The bundle's place in the store."""
        incident = f"{segment(self.name, limit=_NAME_LENGTH)}-{segment(self.uid, limit=_UID_LENGTH)}"
        cluster = segment(self.cluster) if self.cluster else ""
        return join(cluster, "incidents", segment(self.namespace), incident)


@dataclass(frozen=True, slots=True)
class Layout:
    """Keys inside one bundle. Those in documents are relative to it, so that a copied bundle still verifies."""

    prefix: Key

    def full(self, relative: Key | str) -> Key:
        """The key in the store for one inside the bundle."""
        return join(self.prefix, relative)

    def relative(self, full: Key) -> Key:
        """The key inside the bundle for one in the store."""
        return Key(full.removeprefix(f"{self.prefix}/"))


OBJECTS, RECEIPTS, CUSTODY = Key("objects"), Key("receipts"), Key("custody")


def object_key(name: str, attempt: str) -> Key:
    """Where one attempt's bytes go."""
    return join(OBJECTS, f"{name}.{attempt}")


def receipt_key(name: str) -> Key:
    """Where an artifact's receipt goes.

    A folder's name never ends in `.json`: on a file system it could not be beside a receipt of the same name.
    """
    *folders, last = name.split("/")
    folders = [f"{folder[:-5]}%2Ejson" if folder.endswith(".json") else folder for folder in folders]
    return join(RECEIPTS, *folders, f"{last}.json")


def manifest_key(sequence: int) -> Key:
    """Where the manifest with this number goes, counted from 1."""
    return Key("manifest.json" if sequence == 1 else f"manifest-{sequence:04}.json")


def manifest_sequence(relative: Key) -> int | None:
    """The number of the manifest under this key, or None when it is no manifest's."""
    found = _MANIFEST.fullmatch(relative)
    return int(found[1] or 1) if found else None
