"""The formats of alerts: one module each, pure: bytes in, alerts or a stated refusal out."""

from typing import Final

from firebreak.intake.formats import alertmanager, falco, falcosidekick, generic
from firebreak.intake.formats.parsed import Parse

FORMATS: Final[dict[str, Parse]] = {
    falco.SOURCE: falco.parse,
    falcosidekick.SOURCE: falcosidekick.parse,
    alertmanager.SOURCE: alertmanager.parse,
    generic.SOURCE: generic.parse,
}
"""The adapters by name: the source of their incidents."""
