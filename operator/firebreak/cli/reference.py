"""The page of all settings, written from the settings themselves."""

import json
from typing import Any

from firebreak.api.base import Json
from firebreak.cli.failure import TRACEBACK
from firebreak.cli.running import PREFIX
from firebreak.cli.terminal import Terminal, exact, stack
from firebreak.settings import Settings

INTRODUCTION = """\
# Settings

Environment variables of `firebreak run`; in a cluster they stand in the ConfigMap `firebreak-settings` of your overlay
([install.md](install.md)). `preflight` and `verify` read those that concern them. The store's credentials are not
among them: they come from the variables of its cloud, as `AWS_ACCESS_KEY_ID`.
"""
OF_THE_COMMAND = f"""\
- `{TRACEBACK}` (not set)
  For all commands: set to anything, an expected error shows its traceback, for a bug report.
"""


def show_settings(terminal: Terminal) -> None:
    """Print the page, or the settings for programs."""
    terminal.emit(settings_list(), lambda: stack(*map(exact, settings_page().splitlines())))


def settings_page() -> str:
    """Return `docs/settings.md`."""
    entries = [
        f"- `{each['name']}` ({_in_words(each['default'])})\n  {each['description']}\n" for each in settings_list()
    ]
    return "\n".join([INTRODUCTION, *entries, OF_THE_COMMAND])


def settings_list() -> list[Json]:
    """Return each setting's variable, default and description."""
    return [
        {"name": f"{PREFIX}{name}".upper(), "default": field.default, "description": field.description}
        for name, field in Settings.model_fields.items()
    ]


def _in_words(default: Any) -> str:
    if default in ("", None, {}):
        return "not set"
    return f"default `{default if isinstance(default, str) else json.dumps(default)}`"
