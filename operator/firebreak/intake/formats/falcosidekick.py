"""Falcosidekick's outputs webhook and cloudevents.

Sources: falcosecurity/falcosidekick handlers.go (a new `uuid` for each receipt; beyond 4,096 bytes, values of more
than 512 are cut and end in `[...]`), outputs/cloudevents.go (type `falco.rule.output.v1`), and CloudEvents 1.0, HTTP
protocol binding: in binary mode the body is the data and the attributes are `ce-` headers, in structured mode both
are in the body.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from firebreak.intake.alert import Alert
from firebreak.intake.formats import falco
from firebreak.intake.formats.parsed import Parsed, UnreadableError, decoded, each_of

SOURCE = "falcosidekick"
TYPE = "falco.rule.output.v1"
NEXT = "send Falcosidekick's output webhook, or cloudevents, here"


def parse(body: bytes, headers: Mapping[str, str], now: datetime) -> Parsed:  # noqa: ARG001 - every adapter's shape
    """Return the alerts of Falcosidekick: one, or a batch of CloudEvents."""
    kind = next((value for name, value in headers.items() if name.lower() == "ce-type"), None)
    try:
        document = decoded(body)
    except UnreadableError as error:
        return Parsed(refusals=(error.refusal,))
    return each_of(document if isinstance(document, list) else [document], "alerts", lambda each: _alert(each, kind))


def _alert(document: Any, kind: str | None) -> Alert:
    if kind is None and isinstance(document, dict) and "specversion" in document:
        kind = document.get("type")
        document = _data(document)
    if kind not in (None, TYPE):
        raise UnreadableError("a CloudEvent", f"its type is not {TYPE}", NEXT)
    return falco.alert(SOURCE, document)


def _data(event: dict[str, Any]) -> Any:
    if "data_base64" not in event:
        return event.get("data")
    try:
        return decoded(base64.b64decode(str(event["data_base64"]), validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError("a CloudEvent", "its data_base64 is no base64", NEXT) from None
