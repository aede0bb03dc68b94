"""What an adapter returns, and how it reads what nobody vouches for: bounded, one line, valid names or nothing.

Every number here bounds one request. The door bounds the body before it comes here; the adapters do so too, for they
also read files (`firebreak intake explain`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from firebreak.api import bounds
from firebreak.api.base import SUBDOMAIN, Json
from firebreak.detect.shallow import deeper
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.model.words import bounded

MOST_BYTES = 2**20
"""Bytes of one body."""
MOST_ALERTS = 5000
"""Alerts of one body: more real ones do not fit in. A group of Alertmanager's is sent again as it was, so that what is
left out once is left out for ever: whoever can make alerts fire could push another one out."""
MOST_DEPTH = 32
"""Objects and lists within each other."""
MOST_FIELDS = 200
"""Fields kept of one alert."""
MOST_WORDS = 1024
"""Characters kept of one text."""
MOST_NAME = 200
"""Characters kept of the name of a rule."""

ABSENT = frozenset({"", "<NA>", "<n/a>", "N/A", "null"})
"""What Falco and its relatives write where there is nothing."""
ACCOUNT = "system:serviceaccount:"
NAME = re.compile(SUBDOMAIN)
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
UID = re.compile(r"[0-9a-f][-0-9a-f]{7,63}")
CONTAINER = re.compile(r"([a-z][-a-z0-9+.]{0,30}://)?([0-9a-f]{12,64})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What opens nothing: what it is, why, and what to do next. Nothing in it is the sender's text but names."""

    what: str
    why: str
    next: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" + (f"; {self.next}" if self.next else "")

    def numbered(self, number: int, of: int) -> "Refusal":
        """Return it with its place in a group."""
        return self if of == 1 else replace(self, what=f"{self.what} ({number} of {of})")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One body, taken apart. Each alert of a group stands for itself: a bad one refuses nothing but itself."""

    alerts: tuple[Alert, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """What is not as the format wants it, or was lost on the way."""
    passed: tuple[Refusal, ...] = ()
    """What opens nothing and is as it should be: resolved alerts."""


Parse = Callable[[bytes, Mapping[str, str], datetime], Parsed]
"""An adapter: the body, the headers (any case), and now, for formats that tell no date. It raises nothing."""


class UnreadableError(ValueError):
    """A body or an alert that is not what it should be."""

    def __init__(self, what: str, why: str, next_: str = "") -> None:
        self.refusal = Refusal(what, why, next_)
        super().__init__(str(self.refusal))


def refused(what: str, why: str, next_: str = "") -> Parsed:
    """Return a body that is refused as a whole."""
    return Parsed(refusals=(Refusal(what, why, next_),))


def decoded(body: bytes) -> Any:
    """Return a JSON document. Raises UnreadableError when it is none, too large or too deep; never quotes it."""
    if deeper(sized(body), MOST_DEPTH):
        raise UnreadableError("the body", f"it is nested deeper than {MOST_DEPTH} levels", "send flat fields")
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError("the body", f"it is no JSON: {_where(error)}", "send one JSON document") from None


def sized(body: bytes) -> bytes:
    """Return the body. Raises UnreadableError when it is too large or empty."""
    if len(body) > MOST_BYTES:
        raise UnreadableError("the body", f"it has more than {MOST_BYTES} bytes", "send fewer alerts at once")
    if not body.strip():
        raise UnreadableError("the body", "it is empty", "send an alert")
    return body


def _where(error: Exception) -> str:
    """Return where JSON breaks, in words of ours: msgspec's own name the byte and quote nothing."""
    found = re.search(r"\(byte \d+\)", str(error))
    return f"malformed {found.group()}" if found else "it breaks off, or holds bytes that are no UTF-8"


def identity(rule: str, subject: Subject, *otherwise: str) -> tuple[str, ...]:
    """Return what makes two alerts the same while one thing goes on: the rule, and what it is about.

    A pod goes by its name and uid, so that a container that restarts is no other thing; a container that no pod is
    known of by its id; what is about neither by `otherwise`.
    """
    if subject.pod:
        return (rule, "pod", subject.namespace, subject.pod, subject.pod_uid)
    if subject.service_account:
        return (rule, "account", subject.namespace, subject.service_account)
    if subject.container_id:
        return (rule, "container", subject.container_id)
    return (rule, "other", *otherwise)


def each_of(items: Sequence[Any], what: str, read: Callable[[Any], Alert | Refusal]) -> Parsed:
    """Return what each of a group comes to; what is beyond the bound, and what cannot be read, is refused alone.

    `read` returns an alert, or what opens nothing rightly; it raises UnreadableError for what is not as it should be.
    """
    if not items:
        return refused("the body", f"it holds no {what}", "send at least one")
    alerts: list[Alert] = []
    refusals: list[Refusal] = []
    passed: list[Refusal] = []
    for number, item in enumerate(items[:MOST_ALERTS], start=1):
        try:
            found = read(item)
        except UnreadableError as error:
            refusals.append(error.refusal.numbered(number, len(items)))
            continue
        if isinstance(found, Alert):
            alerts.append(found)
        else:
            passed.append(found.numbered(number, len(items)))
    if len(items) > MOST_ALERTS:
        beyond = f"{len(items) - MOST_ALERTS} {what}"
        refusals.append(Refusal(beyond, f"at most {MOST_ALERTS} of one body are read", "send fewer at once"))
    return Parsed(tuple(alerts), tuple(refusals), tuple(passed))


def line(value: Any, most: int = MOST_WORDS) -> str:
    """Return a scalar as one printable line that ends somewhere; lists of scalars with commas; empty for the rest."""
    if isinstance(value, list):
        return line(",".join(filter(None, (line(item, most) for item in value[:MOST_FIELDS]))), most)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)[:most]
    return "" if not isinstance(value, str) or value in ABSENT else bounded(value, most)


def flat(own: Json, fields: Json) -> dict[str, str]:
    """Return the fields that have a value, as many as are kept, each as one line.

    `own` are ours: they come first, so that none is pushed out, and of `fields` none takes the place of one.
    """
    every = [*own.items(), *((key, value) for key, value in fields.items() if key not in own)]
    kept = ((line(key, MOST_NAME), line(value)) for key, value in every[: 2 * MOST_FIELDS])
    return dict([(key, value) for key, value in kept if key and value][:MOST_FIELDS])


class Names:
    """Reads names of an alert. What is no valid one is dropped, and remembered in words."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def namespace(self, value: Any) -> str:
        """Return the name of a namespace, or an empty one."""
        return self._kept("namespace", value, NAMESPACE.fullmatch(_text(value)) is not None)

    def object(self, kind: str, value: Any) -> str:
        """Return the name of an object, or an empty one."""
        return self._kept(kind, value, is_name(value))

    def uid(self, value: Any) -> str:
        """Return the uid of a pod, or an empty one."""
        return self._kept("pod uid", value, UID.fullmatch(_text(value)) is not None)

    def container(self, value: Any) -> str:
        """Return a container's id without its runtime, or an empty one. `host` is Falco's for what is in none."""
        found = CONTAINER.fullmatch(_text(value))
        self._kept("container id", value, found is not None or value == "host")
        return found.group(2) if found else ""

    def _kept(self, kind: str, value: Any, valid: bool) -> str:  # noqa: FBT001 - private
        if valid:
            return str(value)
        if is_there(value):
            self.notes.append(f"the {kind} it names is no valid one and was left out")
        return ""


def account(user: Any, names: Names) -> Subject:
    """Return the service account that a user name means; nothing for a person, a node, or what is none."""
    if not isinstance(user, str) or not user.startswith(ACCOUNT):
        return Subject()
    first, _, second = user.removeprefix(ACCOUNT).partition(":")
    namespace, name = names.namespace(first), names.object("service account", second)
    return Subject(namespace=namespace, service_account=name) if namespace and name else Subject()


def is_there(value: Any) -> bool:
    """Whether a value says anything at all."""
    return value is not None and not (isinstance(value, str) and value in ABSENT)


def is_name(value: Any) -> bool:
    """Whether a value is the name that an object of Kubernetes may have."""
    return isinstance(value, str) and len(value) <= bounds.OBJECT_NAME and NAME.fullmatch(value) is not None


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= bounds.OBJECT_NAME else ""


def moment(value: Any) -> datetime | None:
    """Return a time of RFC 3339, nine digits of a second included, in UTC; None when there is none."""
    if not isinstance(value, str) or len(value) > len("2026-01-01T00:00:00.000000000+00:00"):
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


WORDS = {
    Severity.CRITICAL: ("emergency", "alert", "critical", "fatal", "page", "p1"),
    Severity.HIGH: ("error", "high", "major", "p2"),
    Severity.MEDIUM: ("warning", "warn", "medium", "moderate", "minor", "p3"),
    Severity.LOW: ("notice", "informational", "information", "info", "low", "none", "debug", "p4"),
}
SEVERITIES = {word: severity for severity, words in WORDS.items() for word in words}


def severity_of(word: Any, names: Names) -> Severity:
    """Return how bad a priority or severity is; `Medium` for one that nobody knows, which is said."""
    text = line(word, MOST_NAME)
    if text.lower() in SEVERITIES:
        return SEVERITIES[text.lower()]
    told = f"its severity {text!r} is not known" if text else "it tells no severity"
    names.notes.append(f"{told}, Medium is assumed")
    return Severity.MEDIUM
