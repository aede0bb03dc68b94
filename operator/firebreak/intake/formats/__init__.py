"""The formats of alerts: one module each, pure: bytes in, alerts or a stated refusal out."""

from typing import Final

from firebreak.intake.formats import alertmanager, falco, falcosidekick, generic
from firebreak.intake.formats.parsed import Parse, UnreadableError, decoded
from firebreak.model.loose import mapping

FORMATS: Final[dict[str, Parse]] = {
    falco.SOURCE: falco.parse,
    falcosidekick.SOURCE: falcosidekick.parse,
    alertmanager.SOURCE: alertmanager.parse,
    generic.SOURCE: generic.parse,
}
"""The adapters by name; the name is the path that they are posted to, and the source of their incidents."""


def format_of(body: bytes) -> str:
    """Return the format that a body most likely has, for people who name none; Falco's, the loosest, at worst."""
    try:
        document = decoded(body)
    except UnreadableError:
        return falco.SOURCE
    first = mapping(document[0] if isinstance(document, list) and document else document)
    if first.keys() & {"specversion", "uuid"}:
        return falcosidekick.SOURCE
    if isinstance(first.get("alerts"), list):
        return alertmanager.SOURCE if first.keys() & {"version", "groupKey", "receiver"} else generic.SOURCE
    return falco.SOURCE
