"""What leaves for a SIEM: documents of the Elastic Common Schema. Pure.

Names and types of fields: ECS 8.17 (elastic.co/guide/en/ecs/8.17, "ECS Field Reference"; which `event.type` goes with
which `event.category`: "ECS Categorization Fields"). Keywords longer than 1,024 characters are not indexed by the
mappings that come with it, so all are shorter. Names in it may be an attacker's: every text is one printable line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from firebreak.api.base import Json
from firebreak.model.words import bounded

VERSION: Final = "8.17.0"
KEYWORD: Final = 512  # characters; the user name of a service account has at most 339
MESSAGE: Final = 2000  # characters
SEVERITIES: Final[Mapping[str, int]] = {"informational": 0, "low": 21, "medium": 47, "high": 73, "critical": 99}
"""`event.severity`: Elastic Security's scale for its own rules ("Common rule settings", default risk score)."""
NOTHING: Final[tuple[Any, ...]] = ("", None, {}, [])


@dataclass(frozen=True)
class Record:
    """One thing that happened, as it is told to a SIEM."""

    type: str
    """What a receiver routes by, e.g. `dev.firebreak.finding`."""
    subject: str
    """What it is about: an incident, a rule."""
    document: Json
    """In ECS. `event.id` is the same whenever the same thing is told, so that repeats can be dropped."""


def record(kind: str, subject: str, document: Json) -> Record:
    """Return a record; of the document, texts are made harmless and what says nothing is left out."""
    return Record(kind, bounded(subject, KEYWORD) or "unknown", _tidy({"ecs": {"version": VERSION}, **document}, ""))


def orchestrator(cluster: str, namespace: str, resource: str, name: str) -> Json:
    """Return the fields that say where in Kubernetes; `resource` is plural, as in the API, e.g. `pods`."""
    return {
        "type": "kubernetes",
        "cluster": {"name": cluster},
        "namespace": namespace,
        "resource": {"type": resource, "name": name},
    }


def _tidy(value: Any, key: str) -> Any:
    if isinstance(value, str):
        return bounded(value, MESSAGE if key == "message" else KEYWORD)
    if isinstance(value, dict):
        tidied = {name: _tidy(inner, name) for name, inner in value.items()}
        return {name: inner for name, inner in tidied.items() if inner not in NOTHING}
    if isinstance(value, list):
        return [each for each in (_tidy(inner, key) for inner in value) if each not in NOTHING]
    return value
