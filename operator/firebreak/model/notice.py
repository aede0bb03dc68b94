"""A notice for people outside the cluster: what it says, and how it is put for Slack and for programs. Pure.

Names in it may be an attacker's. Slack's rules for text: its page "Formatting message text" (`&`, `<` and `>` are
escaped, `mrkdwn: false` turns markup off). Servers that only resemble Slack (Mattermost, Rocket.Chat) ignore that
switch and take `@all` and `[text](url)` as well: both are broken up.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from string import Template
from typing import Final

from firebreak.api.base import Json
from firebreak.model.words import printable

LONGEST = 3000  # characters of one field: Slack cuts a message at 40,000, people read less
MENTION = re.compile(r"@(?=(?:channel|here|everyone|all)\b(?!\.\w))", re.IGNORECASE)


class Format(StrEnum):
    """How a notice is put."""

    SLACK = "slack"
    JSON = "json"


@dataclass(frozen=True)
class Turned:
    """A condition that turned, as the status has it now."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Notice:
    """What is told of an incident. `opened`: nothing was told of it before. `command`: what is waited for."""

    incident: str
    namespace: str
    uid: str
    cluster: str
    phase: str
    message: str
    waiting_for: str
    command: str
    opened: bool = False
    turned: tuple[Turned, ...] = ()

    def after(self, earlier: "Notice") -> "Notice":
        """Return this notice with what an earlier one, not told yet, had to say: each condition as it is now."""
        later = {each.type for each in self.turned}
        kept = tuple(each for each in earlier.turned if each.type not in later)
        return replace(self, opened=self.opened or earlier.opened, turned=kept + self.turned)


def _event(notice: Notice) -> str:
    parts = (["opened"] if notice.opened else []) + [f"{t.type} {t.status} ({t.reason})" for t in notice.turned]
    return ", ".join(parts) or f"phase {notice.phase}"


FIELDS: Final[dict[str, Callable[[Notice], str]]] = {
    "incident": lambda n: n.incident,
    "namespace": lambda n: n.namespace,
    "cluster": lambda n: n.cluster,
    "phase": lambda n: n.phase,
    "message": lambda n: n.message,
    "waitingFor": lambda n: n.waiting_for,
    "command": lambda n: n.command,
    "conditions": lambda n: "; ".join(f"{t.type}={t.status} ({t.reason})" for t in n.turned),
    "where": lambda n: f"{n.namespace}/{n.incident}" + (f" on {n.cluster}" if n.cluster else ""),
    "event": _event,
    "next": lambda n: f"Next: {n.command}" if n.command else "",
}
DEFAULT_TEMPLATE = "Firebreak: incident $where: $event. $message $next"


def checked(template: str) -> str:
    """Return a template of notices, or raise ValueError with what is wrong in it."""
    parsed = Template(template)
    if not parsed.is_valid():
        message = "a `$` begins the name of a field; write `$$` for the character itself"
        raise ValueError(message)
    if unknown := sorted(set(parsed.get_identifiers()) - FIELDS.keys()):
        message = f"no such field: {', '.join(unknown)}; there are {', '.join(FIELDS)}"
        raise ValueError(message)
    return template


def text(notice: Notice, template: str, quote: Callable[[str], str] = printable) -> str:
    """Return the notice in words. `quote` makes a field's value harmless; the template is the administrator's."""
    values = {name: quote(read(notice)[:LONGEST]) for name, read in FIELDS.items()}
    return Template(template).substitute(values).strip()


def for_slack(value: str) -> str:
    """Return text that Slack shows as it is: no markup, no link, nobody called."""
    plain = printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("](", "] (")
    return MENTION.sub("@ ", plain)


def body(notice: Notice, form: Format, template: str) -> Json:
    """Return what is posted. The JSON form is stable: fields may be added, none changes its meaning."""
    if form is Format.SLACK:
        said = text(notice, template, for_slack)
        return {"text": said, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    return {
        "version": 1,
        "incident": {"namespace": notice.namespace, "name": notice.incident, "uid": notice.uid},
        "cluster": notice.cluster,
        "event": "opened" if notice.opened else "turned",
        "phase": notice.phase,
        "message": notice.message,
        "conditions": [asdict(each) for each in notice.turned],
        "waitingFor": notice.waiting_for,
        "command": notice.command,
        "text": text(notice, template),
    }
