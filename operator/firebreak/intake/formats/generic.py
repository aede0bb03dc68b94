"""Our own shape, for senders that can choose one: strict, so that a typing error is no lost alert.

`docs/alert.schema.json` is generated from these models; a test compares.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from firebreak.api.base import Json, ObjectName, Written
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.intake.formats.parsed import (
    CONTAINER,
    MOST_ALERTS,
    MOST_FIELDS,
    MOST_NAME,
    MOST_WORDS,
    NAMESPACE,
    UID,
    Names,
    Parsed,
    UnreadableError,
    decoded,
    each_of,
    identity,
    line,
    refused,
)

SOURCE = "generic"
NEXT = "see docs/alert.schema.json"

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _time(value: Any) -> Any:
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        message = "want a time of RFC 3339 with its zone, e.g. 2026-01-05T10:00:00Z"
        raise ValueError(message)
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        message = "want a time of years 1 to 9999 in UTC"
        raise ValueError(message) from None


Time = Annotated[AwareDatetime, BeforeValidator(_time), AfterValidator(_in_utc)]
Words = Annotated[str, Field(min_length=1, max_length=MOST_WORDS)]
Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]


class About(Written):
    """What an alert is about, as far as the sender knows. What is not a valid name is refused."""

    namespace: Annotated[str, Field(pattern=f"^{NAMESPACE.pattern}$")] | None = Field(
        default=None, description="The namespace of pod or account."
    )
    pod: ObjectName | None = Field(default=None, description="The pod's name.")
    pod_uid: Annotated[str, Field(pattern=f"^{UID.pattern}$")] | None = Field(
        default=None, alias="podUID", description="The pod's uid, so that a namesake is left alone."
    )
    service_account: ObjectName | None = Field(
        default=None, description="A service account, where no pod is known: all pods that run as it."
    )
    container_id: Annotated[str, Field(pattern=f"^{CONTAINER.pattern}$")] | None = Field(
        default=None, alias="containerID", description="A container's id, where no pod is known; 12 digits are enough."
    )
    node: ObjectName | None = Field(default=None, description="The node, to find the container's pod on.")


class GenericAlert(Written):
    """One alert."""

    rule: Name = Field(description="What fired. Routes go by it.")
    severity: Severity = Field(description="How bad it is.")
    time: Time = Field(description="When it happened, RFC 3339 with a time zone.")
    summary: Words = Field(
        description="What happened, in words. Whoever may read incidents reads it: no secrets.",
    )
    id: Name | None = Field(
        default=None,
        description="Names this one occurrence: the same id again is a repeat. Without it, rule and target are what "
        "makes a repeat, within the route's window.",
    )
    target: About = Field(default_factory=About, description="What it is about.")
    fields: dict[Name, Annotated[str, Field(max_length=MOST_WORDS)]] = Field(
        default={}, max_length=MOST_FIELDS, description="Further fields, for routes to match. Not in the Incident."
    )


class Alerts(Written):
    """What is posted."""

    model_config = ConfigDict(title="Alerts for Firebreak")

    alerts: list[GenericAlert] = Field(min_length=1, max_length=MOST_ALERTS, description="The alerts.")


def schema() -> Json:
    """Return the JSON schema, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Alerts.model_json_schema()}


def parse(body: bytes, headers: Mapping[str, str], now: datetime) -> Parsed:  # noqa: ARG001 - every adapter's shape
    """Return the alerts of our own shape; one that is not as the schema says refuses only itself."""
    try:
        document = decoded(body)
    except UnreadableError as error:
        return Parsed(refusals=(error.refusal,))
    if not isinstance(document, dict) or not isinstance(document.get("alerts"), list):
        return refused("the body", "it has no list `alerts`", NEXT)
    if unknown := sorted(line(key, MOST_NAME) for key in document.keys() - {"alerts"}):
        return refused("the body", f"unknown key {unknown[0]!r}; there is `alerts` only", NEXT)
    return each_of(document["alerts"], "alerts", _alert)


def _alert(raw: JsonValue) -> Alert:
    try:
        given = GenericAlert.model_validate(raw, by_name=False)
    except ValidationError as error:
        raise UnreadableError("an alert", _in_words(error), NEXT) from None
    about, rule = given.target, line(given.rule, MOST_NAME) or "unnamed"
    subject = Subject(
        namespace=about.namespace or "",
        pod=about.pod or "",
        pod_uid=about.pod_uid or "",
        service_account=about.service_account or "",
        container_id=Names().container(about.container_id),
        node=about.node or "",
    )
    return Alert(
        source=SOURCE,
        rule=rule,
        severity=given.severity,
        time=given.time,
        identity=("id", given.id) if given.id else identity(rule, subject),
        repeats=given.id is None,
        summary=line(given.summary),
        subject=subject,
        fields={line(key, MOST_NAME): line(value) for key, value in given.fields.items()},
        origin={"id": line(given.id, MOST_NAME)} if given.id else {},
    )


def _in_words(error: ValidationError) -> str:
    """Return what is wrong and where; no value, but names of keys, for an unknown one has to be told."""
    problems: list[Any] = list(error.errors(include_url=False, include_input=False, include_context=False))
    told = []
    for problem in problems[:5]:
        where = ".".join(line(str(part), MOST_NAME) for part in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        told.append(
            f"unknown key {where!r}" if unknown else f"{where or 'it'}: {problem['msg'].removeprefix('Value error, ')}"
        )
    return "; ".join(told)
