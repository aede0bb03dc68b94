"""The alerts we ship speak of metrics, conditions and reasons that exist. promtool is not to be had here: expressions
are compared with the registry and with the code, not evaluated."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

import firebreak
from fake_api import FakeApi
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import TOLD
from firebreak.evidence.store import EvidenceStore
from firebreak.intake.metrics import Metrics as IntakeMetrics
from harness import replica
from world import incident, shop

COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "monitoring"
SOURCE = "".join(path.read_text() for path in Path(firebreak.__file__).parent.rglob("*.py"))
RULES = [
    rule
    for group in yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
API_SERVER = {"apiserver_audit_error_total"}  # seen on 1.35
SELECTOR = re.compile(r"((?:firebreak|apiserver)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!=|=)"([^"]*)"')


def condition(kind: str, status: str = "False", reason: str = "NotCut") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason}


def with_conditions(*conditions: Any) -> dict[str, Any]:
    return {"status": {"conditions": list(conditions)}}


def samples(*incidents: dict[str, Any]) -> dict[tuple[str, ...], float]:
    metrics = Metrics()
    metrics.conditions.incidents = lambda: incidents
    (family,) = metrics.conditions.collect()
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_speaks_of_what_is_exported(rule: dict[str, Any]) -> None:
    metrics = Metrics()
    metrics.conditions.incidents = lambda: [with_conditions(condition("Contained"))]
    families = [*metrics.registry.collect(), *IntakeMetrics().registry.collect()]
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    named = SELECTOR.findall(rule["expr"])
    assert named
    assert {metric for metric, _ in named if metric.startswith("apiserver_")} <= API_SERVER
    for metric, matchers in named:
        for label, value in MATCHER.findall(matchers):
            assert label in labels[metric]
            for word in value.split("|"):
                assert f'"{word}"' in SOURCE, f"{word} is said nowhere"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)


def test_there_is_an_alert_for_each_thing_that_must_not_go_unseen() -> None:
    assert {rule["alert"].removeprefix("Firebreak") for rule in RULES} == {
        "ContainmentLost", "Undone", "WaitsForApproval", "CaptureFailing", "Stalled", "GuardMissing", "Down", "Refused",
        "NoLeader", "NotificationsFailing", "SiemFailing", "BackgroundFailing", "AlertsLost", "AlertsRefused",
        "AuditEventsLost",
    }  # fmt: skip


def test_the_component_lists_its_files_and_scrapes_the_port_of_the_deployment() -> None:
    assert yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())["resources"] == [
        "podmonitor.yaml",
        "podmonitor-intake.yaml",
        "rules.yaml",
    ]
    monitor = yaml.safe_load((COMPONENT / "podmonitor.yaml").read_text())["spec"]
    deployment = yaml.safe_load((COMPONENT.parents[1] / "base" / "deployment.yaml").read_text())["spec"]["template"]
    assert [e["port"] for e in monitor["podMetricsEndpoints"]] == [
        port["name"] for port in deployment["spec"]["containers"][0]["ports"]
    ]
    assert monitor["selector"]["matchLabels"].items() <= deployment["metadata"]["labels"].items()


def test_conditions_are_counted_by_type_status_and_reason() -> None:
    lost, kept = condition("Contained"), condition("Contained", "True", "Enforced")
    assert samples(with_conditions(lost), with_conditions(lost), with_conditions(kept)) == {
        ("Contained", "False", "NotCut"): 2,
        ("Contained", "True", "Enforced"): 1,
    }


def test_modes_that_cut_nothing_are_no_lost_containment() -> None:
    assert samples(with_conditions(condition("Contained", "False", "NotRequested"))) == {}


def test_a_status_that_somebody_filled_with_reasons_fills_no_registry() -> None:
    many = with_conditions(*(condition("Contained", "False", f"Made{number:04}") for number in range(1000)))
    found = samples(many)
    assert (len(found), found["Other", "Other", "Other"]) == (201, 800)


@pytest.mark.parametrize("odd", [{}, {"status": None}, {"status": {"conditions": ["x", {}]}}])
def test_a_status_of_odd_shape_breaks_no_scrape(odd: dict[str, Any]) -> None:
    assert set(samples(odd)) <= {("", "", "")}


async def test_the_conditions_of_open_incidents_are_scraped_until_they_close(
    fake: FakeApi,
) -> None:
    shop(fake)
    async with replica(fake, EvidenceStore.open("memory://")) as running:
        fake.put(incident())
        await running.until("shell", lambda s: s.get("phase") == "Waiting")
        running.controller.seen(running.incident("shell"), deleted=False)
        during = generate_latest(running.tools.metrics.registry).decode()
        running.controller.seen(running.incident("shell"), deleted=True)
        after = generate_latest(running.tools.metrics.registry).decode()
    waiting = 'firebreak_conditions{condition="IdentityContained",reason="AwaitingApproval",status="False"} 1.0'
    assert waiting in during
    assert "firebreak_conditions{" not in after


def test_the_alerts_name_conditions_that_people_are_told_of() -> None:
    named = {value for rule in RULES for label, value in MATCHER.findall(rule["expr"]) if label == "condition"}
    assert named <= TOLD
