"""Who wrote a part of an object last, by the field managers that the API server has on record.

It records who has a field, never who removed one (seen on 1.35): of what is gone, only the audit log knows.
"""

from firebreak.api.base import Json
from firebreak.model.loose import mapping, mappings, text

SOMEBODY = "somebody"
UNRECORDED = "by whom only the audit log knows"


def last_writer(obj: Json, *path: str) -> str:
    """Return the manager that wrote a field last, e.g. `("f:metadata", "f:labels")`; `somebody` where none did."""
    entries = mappings(mapping(obj.get("metadata")).get("managedFields"))
    writers = [entry for entry in entries if _has(entry, path)]
    latest = max(enumerate(writers), key=lambda each: (text(each[1].get("time")), each[0]), default=(0, {}))[1]
    return text(latest.get("manager")) or SOMEBODY


def _has(entry: Json, path: tuple[str, ...]) -> bool:
    fields = mapping(entry.get("fieldsV1"))
    for part in path:
        if part not in fields:
            return False
        fields = mapping(fields[part])
    return True
