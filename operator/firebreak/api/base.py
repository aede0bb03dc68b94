"""Shared shape of the API models: camelCase outside, frozen inside."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from firebreak.api import bounds

Json = dict[str, Any]

# Kubernetes' own limits for names: RFC 1123 subdomain.
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

ObjectName = Annotated[str, Field(min_length=1, max_length=bounds.OBJECT_NAME, pattern=SUBDOMAIN)]


class Written(BaseModel):
    """What people write. An unknown field is an error here, though the API server prunes it first."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


EXACTLY_ONE: dict[str, JsonValue] = {"minProperties": 1, "maxProperties": 1}  # in the schema; says it without CEL


class Reported(BaseModel):
    """What Firebreak reports. A field that a newer version wrote is kept out of the way, not an error."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


def absolute_path(value: str) -> str:
    """Return the path, or raise ValueError when it is not absolute or climbs upwards."""
    if not value.startswith("/") or ".." in value.split("/") or "\x00" in value:
        message = f"{value!r} is not an absolute path without '..'"
        raise ValueError(message)
    return value


AbsolutePath = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^/[^\x00]*$"), AfterValidator(absolute_path)
]

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Reported):
    """One observation of the world, shaped as Kubernetes conditions are."""

    type: str = Field(description="What is observed, e.g. `Contained`.", max_length=64)
    status: ConditionStatus = Field(description="`True` only when verified, `Unknown` when it cannot be known.")
    reason: str = Field(description="One CamelCase word for machines.", max_length=64)
    message: str = Field(default="", description="One sentence for people.", max_length=bounds.MESSAGE)
    last_transition_time: str = Field(description="When the status last changed, RFC 3339, UTC.")
    observed_generation: int = Field(default=0, description="The generation of the spec that this speaks of.")
