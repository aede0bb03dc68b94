"""One byte sequence for one document, so that a digest names it: JSON with sorted keys, no spaces, no floats, ASCII."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from firebreak.evidence.errors import CorruptEvidence


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds, always 27 characters, so that texts sort as times do."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time in evidence needs a zone")
    return moment.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_aware), PlainSerializer(rfc3339, return_type=str)]
"""A moment, written as RFC 3339 in UTC with microseconds."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hex."""


class Record(BaseModel):
    """A part of a document: frozen, and strict about what it reads."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Document(Record):
    """A small JSON document of its own in the store."""

    def canonical(self) -> bytes:
        """The bytes that are stored and that the digest is made of."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, data: bytes, key: str) -> Self:
        """Read what `canonical` wrote; CorruptEvidence, without quoting content, when it is anything else."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])[:100]
            raise CorruptEvidence(
                f"the document {key!r} is not a {cls.__name__} as Firebreak writes it "
                f"(field {field!r}: {first['type']}); keep it as it is and run a verification of the bundle",
            ) from None


def canonical_json(value: Any) -> bytes:
    """Encode JSON in the one form; TypeError for floats, whose text differs between writers."""
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("evidence documents hold no floats: write a whole number of a smaller unit")
    children: Iterable[Any] = ()
    if isinstance(value, Mapping):
        children = value.values()
    elif isinstance(value, list | tuple):
        children = value
    for child in children:
        _refuse_floats(child)
