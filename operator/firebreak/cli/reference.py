"""The pages of all settings, written from the settings themselves."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic_settings import BaseSettings

from firebreak.api.base import Json
from firebreak.cli.failure import TRACEBACK
from firebreak.cli.running import prefix_of
from firebreak.cli.terminal import Terminal, exact, stack
from firebreak.intake.settings import IntakeSettings
from firebreak.settings import Settings


@dataclass(frozen=True)
class Page:
    """One page: the settings that it lists, and what stands around them."""

    kind: type[BaseSettings]
    introduction: str
    end: str = ""

    def show(self, terminal: Terminal) -> None:
        """Print the page, or the settings for programs."""
        terminal.emit(self.listed(), lambda: stack(*map(exact, self.text().splitlines())))

    def text(self) -> str:
        """Return the page."""
        entries = [
            f"- `{each['name']}` ({_in_words(each['default'])})\n  {each['description']}\n" for each in self.listed()
        ]
        return "\n".join(filter(None, [self.introduction, *entries, self.end]))

    def listed(self) -> list[Json]:
        """Return each setting's variable, default and description."""
        return [
            {
                "name": f"{prefix_of(self.kind)}{name}".upper(),
                "default": field.default,
                "description": field.description,
            }
            for name, field in self.kind.model_fields.items()
        ]


OPERATOR = Page(
    Settings,
    """\
# Settings

Environment variables of `firebreak run`; in a cluster they stand in the ConfigMap `firebreak-settings` of your overlay
([install.md](install.md)). `preflight` and `verify` read those that concern them. The store's credentials are not
among them: they come from the variables of its cloud, as `AWS_ACCESS_KEY_ID`.
""",
    f"""\
- `{TRACEBACK}` (not set)
  For all commands: set to anything, an expected error shows its traceback, for a bug report.
""",
)
"""`docs/settings.md`."""

INTAKE = Page(
    IntakeSettings,
    """\
# Settings of the intake

Environment variables of `firebreak intake`; in a cluster they stand in the ConfigMap `firebreak-intake-settings`
([intake.md](intake.md)).
""",
)
"""`docs/intake-settings.md`."""


def _in_words(default: Any) -> str:
    if default in ("", None, {}, ()):
        return "not set"
    return f"default `{default if isinstance(default, str) else json.dumps(default)}`"
