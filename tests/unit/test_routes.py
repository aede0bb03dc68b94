"""The settings file: which alert opens what."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from firebreak.api.incident import Mode
from firebreak.intake.alert import Alert, Severity, Subject
from firebreak.intake.routes import Decision, Routes, RoutesError, load

TIME = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SHELL = Alert(
    source="falco",
    rule="Terminal shell in container",
    severity=Severity.CRITICAL,
    time=TIME,
    identity=("a",),
    repeats=True,
    summary="a shell",
    subject=Subject(namespace="shop-eu", pod="web"),
    fields={"tags": "container,mitre_execution", "proc.name": "sh"},
)
SOURCES = "falco, falcosidekick, alertmanager, generic, audit"
DURATION = "want a number and a unit, between 1m and 7d: 90s, 30m, 1h"
LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
FILE = """
fallbackNamespace: incidents
maxAge: 30m
routes:
  - name: builders
    match: {namespace: build-*}
    ignore: true
  - name: shells
    match:
      source: [falco, falcosidekick]
      rule: ["Terminal shell*"]
      namespace: [shop-*, bank]
      severity: [High, Critical]
      fields: {tags: "*mitre_execution*"}
    playbook: standard
    mode: Preserve
    severity: High
    window: 10m
default: {mode: Plan, window: 2h}
"""


def of(text: str, alert: Alert = SHELL) -> Decision:
    return load(text, "routes.yaml").decide(alert)


@pytest.mark.parametrize(
    ("severity", "mode"),
    [
        (Severity.CRITICAL, Mode.RESPOND), (Severity.HIGH, Mode.RESPOND),
        (Severity.MEDIUM, Mode.PLAN), (Severity.LOW, Mode.PLAN),
    ],
)  # fmt: skip
def test_what_ships_contains_the_serious_and_only_plans_the_rest(severity: Severity, mode: Mode) -> None:
    decision = of("", replace(SHELL, severity=severity))
    assert (decision.playbook, decision.mode, decision.severity) == ("contain", mode, severity)
    assert (decision.route, decision.ignore, decision.window) == ("default", False, timedelta(hours=1))
    assert decision.fallback_namespace == "firebreak"


def test_findings_of_low_level_open_nothing_unless_a_route_says_so() -> None:
    low = replace(SHELL, source="audit", severity=Severity.LOW)
    assert (of("", low).route, of("", low).ignore) == ("low-findings", True)
    wanted = of("routes: [{name: all, match: {source: audit}}]", low)
    assert (wanted.route, wanted.ignore, wanted.mode) == ("all", False, Mode.PLAN)


def test_falcos_text_only_plans_unless_a_route_says_more() -> None:
    text = replace(SHELL, fields={"format": "text"})
    assert (of("", text).route, of("", text).mode) == ("falco-text", Mode.PLAN)
    assert of("routes: [{name: mine, match: {source: falco}, mode: Respond}]", text).mode is Mode.RESPOND


def test_alertmanager_only_plans_however_serious_unless_a_route_says_more() -> None:
    """Its critical alerts tell of faults: a pod that crashes is cut off for no `KubePodCrashLooping`."""
    crash = replace(SHELL, source="alertmanager", rule="KubePodCrashLooping", repeats=False)
    assert (of("", crash).route, of("", crash).mode) == ("alertmanager-plans", Mode.PLAN)
    assert of("default: {mode: Respond}", crash).mode is Mode.PLAN
    attack = replace(crash, fields={"team": "security"})
    named = "routes: [{name: attacks, match: {source: alertmanager, fields: {team: security}}, mode: Respond}]"
    assert (of(named, attack).mode, of(named, crash).mode) == (Mode.RESPOND, Mode.PLAN)


def test_the_first_route_that_matches_decides_and_says_why() -> None:
    decision = of(FILE)
    assert (decision.route, decision.playbook, decision.mode) == ("shells", "standard", Mode.PRESERVE)
    assert (decision.severity, decision.window) == (Severity.HIGH, timedelta(minutes=10))
    assert decision.fallback_namespace == "incidents"
    assert decision.why == (
        "route builders: namespace 'shop-eu' does not fit build-*",
        "route shells: matches",
    )


@pytest.mark.parametrize(
    ("alert", "why"),
    [
        (replace(SHELL, source="generic"), "source 'generic' does not fit falco or falcosidekick"),
        (replace(SHELL, rule="Other"), "rule 'Other' does not fit Terminal shell*"),
        (replace(SHELL, subject=Subject(namespace="shop")), "namespace 'shop' does not fit shop-* or bank"),
        (replace(SHELL, subject=Subject(pod="web")), "the alert has no namespace"),
        (replace(SHELL, severity=Severity.MEDIUM), "severity Medium is not High or Critical"),
        (replace(SHELL, fields={}), "the alert has no tags"),
        (replace(SHELL, fields={"tags": "x"}), "tags 'x' does not fit *mitre_execution*"),
    ],
)
def test_a_route_that_does_not_match_says_what_did_not(alert: Alert, why: str) -> None:
    decision = of(FILE, alert)
    assert decision.route == "default"
    assert decision.why[1] == f"route shells: {why}"
    assert (decision.mode, decision.window) == (Mode.PLAN, timedelta(hours=2))


def test_a_severity_of_the_route_decides_the_mode_too() -> None:
    decision = of(
        "routes: [{name: up, match: {rule: Terminal*}, severity: Critical}]", replace(SHELL, severity=Severity.LOW)
    )
    assert (decision.severity, decision.mode) == (Severity.CRITICAL, Mode.RESPOND)


def test_a_namespace_that_is_not_told_fits_no_glob() -> None:
    decision = of("routes: [{name: all, match: {namespace: '*'}, ignore: true}]", replace(SHELL, subject=Subject()))
    assert decision.route == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("routes: [{name: a, match: {}, playboook: x}]",
         "route a.playboook: no such key; there are playbook, mode, severity, window, ignore, name, match"),
        ("routes: [{name: a, match: {rulez: x}}]",
         "route a.match.rulez: no such key; there are source, rule, namespace, severity, fields"),
        ("routes: [{name: a, match: {source: falcon}}]",
         f"route a.match.source.0: no source is called 'falcon'; there are {SOURCES}"),
        ("routes: [{match: {}}]", "route 1.name: Field required"),
        ("routes: [{name: a}]", "route a.match: Field required"),
        ("routes: [{name: a, match: {severity: [high]}}]",
         "route a.match.severity.0: Input should be 'Low', 'Medium', 'High' or 'Critical'"),
        ("routes: [{name: a, match: {}, mode: Contain}]",
         "route a.mode: Input should be 'Respond', 'Preserve' or 'Plan'"),
        ("routes: [{name: a, match: {}, window: 1 hour}]", f"route a.window: {DURATION}"),
        ("routes: [{name: a, match: {}, window: 1s}]", f"route a.window: {DURATION}"),
        ("routes: [{name: a, match: {}, window: 999999d}]", f"route a.window: {DURATION}"),
        ("maxAge: 60", f"maxAge: {DURATION}"),
        ("routes: [{name: a, match: {}, ignore: true, mode: Plan}]",
         "route a: ignore: true opens nothing, so playbook, mode, severity and window do not go with it"),
        ("routes: [{name: a, match: {}}, {name: a, match: {}}]", "the name a is taken"),
        ("routes: [{name: low-findings, match: {}}]", "the name low-findings is taken"),
        ("routes: [{name: default, match: {}}]", "the name default is taken"),
        ("routes: [5]", "route 1: Input should be a valid dictionary or instance of Route"),
        ("default: {match: {}}", "default.match: no such key; there are playbook, mode, severity, window, ignore"),
        ("fallback: x", "fallback: no such key; there are fallbackNamespace, maxAge, routes, default"),
        ("fallbackNamespace: A_b", f"fallbackNamespace: String should match pattern '{LABEL}'"),
        ("- a", "want keys and values: fallbackNamespace, maxAge, routes, default"),
    ],
)  # fmt: skip
def test_an_error_names_file_route_and_key_and_what_is_right(text: str, said: str) -> None:
    with pytest.raises(RoutesError) as error:
        load(text, "routes.yaml")
    assert str(error.value) == f"routes.yaml: {said}"


@pytest.mark.parametrize(
    "text",
    ["routes: []\nroutes: []", "routes: [{name: a, match: {rule: a, rule: b}}]", "default: {mode: Plan, 'mode': Plan}"],
)
def test_a_key_that_comes_twice_is_refused_for_the_first_one_would_say_nothing(text: str) -> None:
    with pytest.raises(RoutesError, match=r"^routes.yaml: it is no YAML: .*the key '(routes|rule|mode)' comes twice"):
        load(text, "routes.yaml")


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object:os.system x", "[" * 100_000, "a: 2026-99-99", "\x00"])
def test_what_is_no_yaml_is_said(text: str) -> None:
    with pytest.raises(RoutesError, match=r"^routes.yaml: "):
        load(text, "routes.yaml")


def test_a_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(RoutesError, match=r"^routes.yaml: it has more than 262144 characters$"):
        load("#" * 300_000, "routes.yaml")


@pytest.mark.parametrize(
    ("ago", "why"),
    [
        (timedelta(minutes=61), "is more than 1:00:00 ago: a replay, or a clock or time zone that is wrong"),
        (timedelta(minutes=-6), "is more than 0:05:00 ahead"),
    ],
)
def test_an_alert_of_another_time_is_no_news_where_only_the_window_tells_repeats(ago: timedelta, why: str) -> None:
    alert = replace(SHELL, time=TIME - ago)
    refusal = Routes().stale(alert, TIME)
    assert refusal
    assert refusal.why == f"its time, {alert.time.isoformat()}, {why}"
    assert Routes().stale(replace(alert, repeats=False), TIME) is None
    assert Routes().stale(replace(alert, source="audit"), TIME) is None


def test_an_alert_of_this_hour_is_news() -> None:
    for ago in (timedelta(minutes=59), timedelta(), timedelta(minutes=-4)):
        assert Routes().stale(replace(SHELL, time=TIME - ago), TIME) is None
    assert load("maxAge: 30m", "x").stale(replace(SHELL, time=TIME - timedelta(minutes=31)), TIME)
