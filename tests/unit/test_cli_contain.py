"""`firebreak contain`, `plan` and `close`, the real commands against the fake API server."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from cli_harness import KEY, UID, Cli, bare, condition, cut_pod, incident, pod, write_kubeconfig
from fake_api import Answer, Call, FakeApi, Fault
from firebreak.api.incident import IncidentSpec, WorkloadRef
from firebreak.cli.commands.close import Nature
from firebreak.cli.commands.contain import ModeName, Severity
from firebreak.cli.kinds import KINDS

SEALED = condition("EvidencePreserved", "True", "Sealed", "12 artifacts")


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path) -> Cli:
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


def answering(fake: FakeApi, name: str, status: dict[str, Any]) -> None:
    """Play the operator: write this status once somebody watches the incident."""

    def write(call: Call) -> bool:
        if call.verb == "watch" and call.resource.startswith("incidents") and fake.find("Incident", "shop", name):
            fake.update("Incident", "shop", name, {"status": status})
        return False

    fake.faults.add(Fault(when=write, how=Answer(500)))


@pytest.mark.parametrize(("options", "field"), [(Severity, "severity"), (ModeName, "mode"), (Nature, "verdict")])
def test_the_commands_take_what_the_resource_takes(options: type[StrEnum], field: str) -> None:
    """They are written again so that --help needs no pydantic."""
    properties = TypeAdapter(IncidentSpec.__annotations__[field]).json_schema()
    choices = [properties, *properties.get("anyOf", [])]
    assert [each.value for each in options] == next(choice["enum"] for choice in choices if "enum" in choice)


async def test_contain_writes_the_incident_and_prints_the_sentence(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    contained = condition("Contained", "True", "Enforced")
    answering(fake, "shell", {"message": "Cut off since now (web)", "conditions": [contained]})
    ran = await cli("contain", "pod/web", "--reason", "shell spawned", "--name", "shell")
    assert (ran.code, ran.out) == (0, "Cut off since now (web)\n")
    assert ran.err == "opened incident shop/shell about Pod shop/web\n"
    assert fake.writes[0].query == {"fieldValidation": "Strict"}
    assert fake.get("Incident", "shop", "shell")["spec"] == {
        "target": {"pod": "web"},
        "podUID": "uid-web",
        "mode": "Respond",
        "reason": "shell spawned",
        "severity": "High",
        "openedBy": "ann",
    }


async def test_a_person_whom_the_api_server_does_not_name_opens_incidents_all_the_same(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    fake.faults.add(Fault(when=lambda call: call.resource == "selfsubjectreviews", how=Answer(403)))
    assert (await cli("contain", "pod/web", "--reason", "r", "--name", "shell", "--no-wait")).code == 0
    assert "openedBy" not in fake.get("Incident", "shop", "shell")["spec"]


async def test_a_cut_that_is_not_proven_is_no_success(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    unproven = condition("Contained", "Unknown", "EnforcementUnproven", "run `firebreak preflight`")
    answering(fake, "shell", {"message": "Contained Unknown", "conditions": [unproven]})
    ran = await cli("contain", "pod/web", "--reason", "r", "--name", "shell")
    assert ran.code == 1
    assert "error: Contained is Unknown (EnforcementUnproven): run `firebreak preflight`" in ran.err


async def test_a_failure_that_the_operator_goes_on_about_is_waited_for(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    answering(fake, "shell", {"conditions": [condition("Contained", "False", "NotCut", "label is not in place")]})
    ran = await cli("contain", "pod/web", "--reason", "r", "--name", "shell", "--timeout", "0.3")
    assert ran.code == 3
    assert "error: incident shell did not come to Contained within 0.3 s" in ran.err
    assert "next:  it goes on without you: firebreak watch shell -n shop" in ran.err


async def test_a_target_that_is_not_there_opens_nothing(fake: FakeApi, cli: Cli) -> None:
    ran = await cli("contain", "deployment/web", "--reason", "r")
    assert (ran.code, fake.writes) == (1, ())
    assert ran.err == (
        "error: Deployment shop/web is not there; no incident was opened\n"
        "next:  look for it: kubectl get deployments -n shop; another namespace: -n NS\n"
    )


async def test_who_may_not_read_pods_may_still_contain_one(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    fake.faults.add(Fault(when=lambda call: call.resource == "pods", how=Answer(403)))
    ran = await cli("contain", "pod/web", "--reason", "r", "--name", "shell", "--no-wait")
    assert (ran.code, ran.out) == (0, "incident shell opened\n")
    assert fake.get("Incident", "shop", "shell")["spec"]["target"] == {"pod": "web"}


async def test_who_may_not_open_incidents_is_told_so(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    fake.faults.add(Fault(when=lambda call: call.verb == "create", how=Answer(403, message="ann may not")))
    ran = await cli("contain", "pod/web", "--reason", "r", "--name", "shell")
    assert ran.code == 4
    assert "ann may not\nnext:  ask a cluster administrator for this right" in ran.err


async def test_a_name_that_is_taken_is_said(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    fake.put(incident())
    ran = await cli("contain", "pod/web", "--reason", "r", "--name", "shell")
    assert ran.code == 1
    assert ran.err.endswith("next:  choose another name with --name\n")


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("pod/web", {"pod": "web"}),
        ("deploy/web", {"workload": {"kind": "Deployment", "name": "web"}}),
        ("statefulset/db", {"workload": {"kind": "StatefulSet", "name": "db"}}),
        ("ds/agent", {"workload": {"kind": "DaemonSet", "name": "agent"}}),
        ("serviceaccount/web", {"serviceAccount": "web"}),
    ],
)
def test_a_dry_run_prints_the_manifest_and_needs_no_cluster(written: str, target: dict[str, Any]) -> None:
    ran = bare("contain", written, "--reason", "r", "--name", "n", "-n", "shop", "--dry-run", "--severity", "Low")
    assert (ran.code, ran.err) == (0, "")
    assert yaml.safe_load(ran.out) == {
        "apiVersion": "firebreak.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "n", "namespace": "shop"},
        "spec": {
            "target": target,
            "mode": "Respond",
            "reason": "r",
            "severity": "Low",
        },
    }


@pytest.mark.parametrize("written", ["web", "pod/", "/web", "node/one", "pod/web/x"])
def test_what_names_no_target_is_a_usage_error(written: str) -> None:
    ran = bare("contain", written, "--reason", "r", "-n", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {written!r} names no target\nnext:  write KIND/NAME")
    assert "pod, deployment, statefulset, daemonset, replicaset, job or serviceaccount." in ran.err


def test_every_kind_that_an_incident_takes_can_be_named() -> None:
    workloads = WorkloadRef.model_json_schema()["properties"]["kind"]["enum"]
    assert set(KINDS.values()) == {"Pod", "ServiceAccount", *workloads}


async def test_plan_for_a_pod_opens_an_incident_that_touches_nothing(fake: FakeApi, cli: Cli) -> None:
    fake.put(pod())
    change = {"object": "Pod shop/web", "verb": "patch", "why": "cuts it", "state": "Planned", "risk": "reversible"}
    step = {"state": "Pending", "changes": {"patch Pod shop/web": change}, "counts": {"Planned": 1}}
    answering(fake, "what-if", {"phase": "Planned", "steps": {"quarantine": step}})
    ran = await cli("plan", "pod/web", "--name", "what-if")
    assert ran.code == 0
    assert fake.get("Incident", "shop", "what-if")["spec"]["mode"] == "Plan"
    assert [line.rstrip() for line in ran.out.splitlines()] == [
        "shop/what-if: Planned",
        "",
        "quarantine: Pending",
        "  patch Pod shop/web: Planned",
        "    why   cuts it",
        "    risk  reversible",
    ]
    assert "kubectl patch incident what-if -n shop --type merge" in ran.err


async def test_close_patches_the_state_and_waits_for_the_last_word(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident())
    answering(fake, "shell", {"phase": "Closed", "message": "Cut off"})
    ran = await cli("close", "shell", "--verdict", "TruePositive", "--ticket", "SEC-7")
    assert ran.code == 0
    assert ran.out == "incident shop/shell is closed as TruePositive. Cut off\n"
    assert fake.writes[0].body["spec"] == {"state": "Closed", "verdict": "TruePositive", "ticket": "SEC-7"}
    assert ran.err == "its quarantine stays; lift it with: firebreak release shell -n shop\n"


async def test_pods_are_deleted_by_uid_after_the_close(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(status={"conditions": [SEALED]}))
    answering(fake, "shell", {"phase": "Closed"})
    ran = await cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes")
    assert ran.code == 0
    assert [call.verb for call in fake.writes] == ["patch", "delete"]
    assert fake.writes[1].body == {"preconditions": {"uid": "uid-web"}}
    assert fake.find("Pod", "shop", "web") is None


async def test_a_pod_that_takes_its_grace_period_counts_as_deleted(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(status={"conditions": [SEALED]}))
    fake.hold_deletions = True
    answering(fake, "shell", {"phase": "Closed"})
    ran = await cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes", "-o", "json")
    assert ran.code == 0
    assert ran.json["deleted"][0]["message"] == "it is ending, within its grace period"


async def test_pods_with_unpreserved_evidence_are_not_deleted_and_nothing_is_closed(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(status={"conditions": [condition("EvidencePreserved", "False", "Gaps", "logs missing")]}))
    ran = await cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes")
    assert (ran.code, fake.writes) == (1, ())
    assert ran.err.startswith("error: the evidence of shop/shell is not preserved (Gaps: logs missing)\n")


async def test_a_pod_that_another_incident_holds_is_not_deleted(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod(**{"quarantine.firebreak.dev/other": "true"}))
    fake.put(incident(status={"conditions": [SEALED]}))
    ran = await cli("close", "shell", "--verdict", "Exercise", "--delete-pods", "--yes")
    assert (ran.code, fake.writes) == (1, ())
    assert "pod web is held by 1 other incident(s) as well: other" in ran.err


def test_the_harness_agrees_with_the_names_of_the_operator() -> None:
    assert f"quarantine.firebreak.dev/{UID}" == KEY
