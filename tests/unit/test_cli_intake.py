"""`firebreak intake explain`: what would come of a body, and why."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from alert_samples import ALERTS
from cli_harness import bare
from detecting import rule

GENERIC = str(ALERTS / "generic.json")
EXPLAINED = """\
# format generic: 1 to decide on
---
# reverse-shell, Critical, 2026-01-05T10:00:00+00:00
# route low-findings: source 'generic' does not fit audit
# route falco-text: source 'generic' does not fit falco
# route alertmanager-plans: source 'generic' does not fit alertmanager
# default: no route matches
apiVersion: firebreak.dev/v1alpha1
kind: Incident
metadata:
  name: generic-e22178a1de67341d2ac9
  namespace: shop
  annotations:
    firebreak.dev/alert: '{"rule": "reverse-shell", "time": "2026-01-05T10:00:00+00:00",
      "route": "default", "id": "edr-4711"}'
spec:
  target:
    pod: web-x2x9k
  podUID: 3e41dc6b-08a8-44db-bc2a-3724b18ab19a
  mode: Respond
  playbook: contain
  severity: Critical
  reason: A shell of the web server talks to 198.51.100.7
  source: generic
"""


def test_an_alert_is_explained_as_yaml_that_kubectl_takes() -> None:
    ran = bare("intake", "explain", GENERIC)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == EXPLAINED


def test_a_settings_file_decides_and_is_followed_route_by_route(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{name: edr, match: {fields: {team: pay*}}, playbook: standard, mode: Plan}]")
    ran = bare("intake", "explain", GENERIC, "--settings", str(file), "-o", "json")
    (alert,) = ran.json["alerts"]
    assert (alert["route"], alert["why"]) == ("edr", ["route edr: matches"])
    assert (alert["incident"]["spec"]["playbook"], alert["incident"]["spec"]["mode"]) == ("standard", "Plan")


def test_an_alert_that_a_route_ignores_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{name: quiet, match: {rule: '*'}, ignore: true}]")
    ran = bare("intake", "explain", GENERIC, "--settings", str(file))
    assert ran.code == 0
    assert ran.out.splitlines()[-2:] == ["# route quiet: matches", "# ignored: opens nothing"]


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("falco-file.json", "falco"), ("falco.txt", "falco"), ("falcosidekick.json", "falcosidekick"),
        ("alertmanager.json", "alertmanager"), ("generic.json", "generic"),
    ],
)  # fmt: skip
def test_the_format_is_told_from_the_content(sample: str, name: str) -> None:
    ran = bare("intake", "explain", str(ALERTS / sample), "-o", "yaml")
    assert (ran.code, yaml.safe_load(ran.out)["format"]) == (0, name)


def audit_log(folder: Path, *lines: dict[str, Any]) -> str:
    file = folder / "audit.log"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def test_audit_events_are_explained_through_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule({"verb": "list", "objectRef.resource": "secrets"}, "listed")))
    called = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Event",
        "verb": "list",
        "stageTimestamp": "2026-01-05T10:00:00.000000Z",
        "user": {
            "username": "system:serviceaccount:shop:web",
            "extra": {"authentication.kubernetes.io/pod-name": ["web-1"]},
        },
        "objectRef": {"resource": "secrets", "namespace": "bank"},
    }
    log = audit_log(tmp_path, called | {"auditID": "a1"}, called | {"auditID": "a2"}, {"verb": 5})
    ran = bare("intake", "explain", log, "--rules", str(rules))
    assert ran.code == 1
    assert ran.err.startswith("refused: line 3: no verb in it: no event of audit.k8s.io/v1; ")
    (opened,) = yaml.safe_load_all(ran.out)
    assert opened["metadata"]["namespace"] == "shop"
    assert (opened["spec"]["target"], opened["spec"]["mode"]) == ({"pod": "web-1"}, "Respond")
    assert ran.out.splitlines()[-1] == f"# a repeat: counted on {opened['metadata']['name']}, see above"


def test_what_is_old_or_has_no_pod_is_said_and_still_explained() -> None:
    ran = bare("intake", "explain", str(ALERTS / "falco-shell.json"))
    assert ran.code == 0
    assert "# sent now, it would be refused: alert Terminal shell in container: its time, " in ran.out
    assert "# its pod is looked for by the container's id first; this is what is opened if none is found" in ran.out
    assert yaml.safe_load(ran.out)["spec"]["mode"] == "Plan"


def test_a_refusal_is_told_and_the_rest_explained(tmp_path: Path) -> None:
    file = tmp_path / "falco.log"
    file.write_bytes(b"Falco initialized\n" + (ALERTS / "falco-audit.json").read_bytes())
    ran = bare("intake", "explain", str(file))
    assert ran.code == 1
    assert "name: falco-173c4e4b880860747b15" in ran.out
    assert ran.err == (
        "refused: a line (1 of 2): it is neither JSON nor a line of Falco's text; send JSON instead: json_output: true "
        "in falco.yaml\n"
        "error: 1 of the body refused\n"
        "next:  correct what is named; if the format is not falco, name it with --format\n"
    )


def test_stdin_is_read_and_a_format_that_is_named_is_taken() -> None:
    program = [sys.executable, "-m", "firebreak", "intake", "explain", "-", "--format", "alertmanager", "-o", "json"]
    ran = subprocess.run(program, input=(ALERTS / "generic.json").read_bytes(), capture_output=True, check=False)
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["refused"] == [
        "an alert: it has no label `alertname`; give the alerting rule a name",
    ]


def test_settings_that_are_wrong_are_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{name: a, match: {rulez: x}}]")
    ran = bare("intake", "explain", GENERIC, "--settings", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"error: {file}: route a.match.rulez: no such key; there are source, rule, namespace, severity, fields\n"
        "next:  correct the settings file; docs/alerts.md has its keys\n"
    )


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    none = tmp_path / "none"
    for arguments in ([none], [GENERIC, "--settings", none], [audit_log(tmp_path, {"auditID": "a"}), "--rules", none]):
        ran = bare("intake", "explain", *map(str, arguments))
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.splitlines()[0] == f"error: {none} cannot be read: No such file or directory"


def test_as_long_a_body_of_audit_events_is_explained_as_the_intake_takes(tmp_path: Path) -> None:
    event = {"verb": "get", "auditID": "a", "user": {"username": "u"}, "userAgent": "x" * (11 * 2**20)}
    ran = bare("intake", "explain", audit_log(tmp_path, event), "--format", "audit")
    assert (ran.code, ran.err) == (0, "")


def test_text_that_tells_no_date_is_read_as_of_today() -> None:
    ran = bare("intake", "explain", str(ALERTS / "falco.txt"), "-o", "json")
    first = datetime.fromisoformat(ran.json["alerts"][0]["time"])
    assert abs((first - datetime.now(UTC)).total_seconds()) <= 43_200
