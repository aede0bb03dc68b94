"""The settings file of the intake: which alert opens an incident of which playbook, mode and severity. Pure.

Routes are tried in order and the first that matches decides. After the file's own come those that ship. What matches
none goes by `default`. Where a route names no mode, High and Critical alerts respond (playbook `contain`: cut off and
preserve, nothing more), others only plan.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from firebreak.api.base import ObjectName, Written
from firebreak.api.incident import Mode
from firebreak.intake.alert import Alert, Severity
from firebreak.intake.formats import FORMATS
from firebreak.intake.formats.parsed import NAMESPACE, Refusal
from firebreak.model.documents import document_of

AUDIT = "audit"
SOURCES = (*FORMATS, AUDIT)
RESPONDING = frozenset({Severity.HIGH, Severity.CRITICAL})
AHEAD = timedelta(minutes=5)
"""How far ahead of ours a sender's clock may be."""
MOST_BYTES = 2**18
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=7)
DURATION = re.compile(r"([1-9]\d{0,5})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class RoutesError(ValueError):
    """The settings file is wrong; the text names file, route and key, and what is right."""


def _duration(value: Any) -> Any:
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    duration = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not SHORTEST <= duration <= LONGEST:
        message = "want a number and a unit, between 1m and 7d: 90s, 30m, 1h"
        raise ValueError(message)
    return duration


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _of_some_source(glob: str) -> str:
    if not any(fnmatchcase(source, glob) for source in SOURCES):
        message = f"no source is called {glob!r}; there are {', '.join(SOURCES)}"
        raise ValueError(message)
    return glob


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Glob = Annotated[str, Field(min_length=1, max_length=256)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_listed), Field(min_length=1, max_length=100)]
Sources = Annotated[
    tuple[Annotated[Glob, AfterValidator(_of_some_source)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=100),
]


class Match(Written):
    """What a route is for: every key that is there must fit, any of its values. Globs know `*`, `?` and `[...]`."""

    source: Sources = Field(default=("*",), description="Formats: falco, falcosidekick, alertmanager, audit, generic.")
    rule: Globs = Field(default=("*",), description="Names of rules.")
    namespace: Globs | None = Field(default=None, description="Namespaces. An alert that names none does not fit.")
    severity: Annotated[tuple[Severity, ...], BeforeValidator(_listed), Field(min_length=1)] = Field(
        default=tuple(Severity), description="Severities of the alert."
    )
    fields: dict[Annotated[str, Field(min_length=1, max_length=256)], Globs] = Field(
        default={}, max_length=32, description="Further fields: labels, Falco's output fields, `tags`."
    )

    def missed(self, alert: Alert) -> str:
        """Return why an alert does not fit, in words; empty when it does."""
        pairs = [("source", alert.source, self.source), ("rule", alert.rule, self.rule)]
        if self.namespace is not None:
            pairs.append(("namespace", alert.subject.namespace, self.namespace))
        pairs += [(key, alert.fields.get(key, ""), globs) for key, globs in self.fields.items()]
        for what, value, globs in pairs:
            if not value:
                return f"the alert has no {what}"
            if not any(fnmatchcase(value, glob) for glob in globs):
                return f"{what} {value!r} does not fit {' or '.join(globs)}"
        if alert.severity not in self.severity:
            return f"severity {alert.severity} is not {' or '.join(self.severity)}"
        return ""


class Action(Written):
    """What is done about an alert."""

    playbook: ObjectName = Field(
        default="contain", description="The Playbook; beyond `contain` the intake's account needs `use` and `respond`."
    )
    mode: Mode | None = Field(default=None, description="Default: Respond for High and Critical, else Plan.")
    severity: Severity | None = Field(default=None, description="Of the incident; default the alert's.")
    window: Duration = Field(
        default=timedelta(hours=1),
        description="How long repeats are one incident, where the format tells no occurrence.",
    )
    ignore: bool = Field(default=False, description="Open nothing; counted and logged.")

    @model_validator(mode="after")
    def _ignored_or_done(self) -> Self:
        if self.ignore and self.model_fields_set - {"ignore", "name", "match"}:
            message = "ignore: true opens nothing, so playbook, mode, severity and window do not go with it"
            raise ValueError(message)
        return self


class Route(Action):
    """One route."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = Field(description="Its name.")
    match: Match = Field(description="Which alerts it is for.")


SHIPPED = (
    Route(name="low-findings", match=Match(source=(AUDIT,), severity=(Severity.LOW,)), ignore=True),
    Route(name="falco-text", match=Match(source=("falco",), fields={"format": ("text",)}), mode=Mode.PLAN),
    Route(name="alertmanager-plans", match=Match(source=("alertmanager",)), mode=Mode.PLAN),
)
"""Come after those of the file: the SIEM has findings that are low, text may name a pod by a stranger's word, and most
of Alertmanager's critical alerts tell of a fault, not of an attack: a pod that crashes is not to be cut off for it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about one alert, and why."""

    route: str
    """The route's name; `default` when none matched."""
    why: tuple[str, ...]
    """Which routes did not match and why, then which one did."""
    ignore: bool
    playbook: str
    mode: Mode
    severity: Severity
    window: timedelta
    fallback_namespace: str

    @property
    def reach(self) -> tuple[str, ...]:
        """How far it goes: what goes further is no repeat, or a harmless alert would swallow the real one after it.

        Critical counts apart, for the breaker and the share hold it back less.
        """
        return (self.mode, self.playbook, "Critical" if self.severity is Severity.CRITICAL else "")


class Routes(Written):
    """The settings file."""

    fallback_namespace: Annotated[str, Field(pattern=f"^{NAMESPACE.pattern}$")] = Field(
        default="firebreak", description="Where incidents lie that tell no namespace: Plan, without a target."
    )
    max_age: Duration = Field(
        default=timedelta(hours=1),
        description="Older alerts are refused as replays, where the format tells no occurrence. Not of the audit log, "
        "which may be read late.",
    )
    routes: tuple[Route, ...] = Field(default=(), max_length=200, description="Tried in order.")
    default: Action = Field(default_factory=Action, description="For what matches no route.")

    @model_validator(mode="after")
    def _no_name_twice(self) -> Self:
        names = [route.name for route in (*self.routes, *SHIPPED)]
        for name in names:
            if names.count(name) > 1 or name == "default":
                message = f"the name {name} is taken"
                raise ValueError(message)
        return self

    def decide(self, alert: Alert) -> Decision:
        """Return what is done about an alert."""
        why: list[str] = []
        for route in (*self.routes, *SHIPPED):
            missed = route.match.missed(alert)
            if not missed:
                return self._decision(route.name, route, alert, (*why, f"route {route.name}: matches"))
            why.append(f"route {route.name}: {missed}")
        return self._decision("default", self.default, alert, (*why, "default: no route matches"))

    def _decision(self, name: str, action: Action, alert: Alert, why: tuple[str, ...]) -> Decision:
        severity = action.severity or alert.severity
        mode = action.mode or (Mode.RESPOND if severity in RESPONDING else Mode.PLAN)
        return Decision(
            route=name,
            why=why,
            ignore=action.ignore,
            playbook=action.playbook,
            mode=mode,
            severity=severity,
            window=action.window,
            fallback_namespace=self.fallback_namespace,
        )

    def stale(self, alert: Alert, now: datetime) -> Refusal | None:
        """Return why an alert is no news: too old, or of the future. Its name alone would not tell a replay."""
        if not alert.repeats or alert.source == AUDIT:
            return None
        what = f"alert {alert.rule}"
        if now - alert.time > self.max_age:
            return Refusal(
                what,
                f"its time, {alert.time.isoformat()}, is more than {self.max_age} ago: a replay, or a "
                "clock or time zone that is wrong",
                "set the sender's clock, or maxAge in the settings file",
            )
        if alert.time - now > AHEAD:
            return Refusal(
                what, f"its time, {alert.time.isoformat()}, is more than {AHEAD} ahead", "set the sender's clock"
            )
        return None


def load(text: str, file: str) -> Routes:
    """Return the settings of a file's text. Raises RoutesError."""
    if len(text) > MOST_BYTES:
        raise RoutesError(f"{file}: it has more than {MOST_BYTES} characters")
    try:
        document = document_of(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RoutesError(f"{file}: it is no YAML: {' '.join(str(error).split())[:500]}") from error
    if not isinstance(document, Mapping | None):
        raise RoutesError(f"{file}: want keys and values: {', '.join(_keys(Routes))}")
    try:
        return Routes.model_validate(document or {}, by_name=False)
    except ValidationError as error:
        raise RoutesError(f"{file}: {_in_words(error, document or {})}") from error


def _keys(model: type[Written]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _in_words(error: ValidationError, document: Mapping[Any, Any]) -> str:
    """Return what is wrong, in which route and at which key."""
    told = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:10]:
        where, of = _place(problem["loc"], document)
        wrong = problem["msg"].removeprefix("Value error, ")
        what = f"no such key; there are {', '.join(_keys(of))}" if problem["type"] == "extra_forbidden" else wrong
        told.append(f"{where}: {what}" if where else what)
    return "; ".join(told)


def _place(loc: tuple[int | str, ...], document: Mapping[Any, Any]) -> tuple[str, type[Written]]:
    """Return where an error is, in words, and what has the keys there."""
    match loc:
        case ("routes", int(place), *inner):
            route = document["routes"][place]
            name = route.get("name") if isinstance(route, Mapping) else None
            return ".".join(map(str, (f"route {name or place + 1}", *inner))), Match if inner[:-1] == [
                "match"
            ] else Route
        case ("default", *_):
            return ".".join(map(str, loc)), Action
        case _:
            return ".".join(map(str, loc)), Routes
