"""Reading JSON that nobody vouches for: what is not of the wanted type counts as not there."""

from typing import Any

from firebreak.api.base import Json


def mapping(value: Any) -> Json:
    """Return the value when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Json]:
    """Return the JSON objects in the value when it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def controller(metadata: Json) -> Json | None:
    """Return the ownerReference of the controller that owns an object, by its metadata; None when none does."""
    return next((owner for owner in mappings(metadata.get("ownerReferences")) if owner.get("controller")), None)


def text(value: Any) -> str:
    """Return the value when it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
