"""The rules of the resources on a real API server, by the message that a person sees."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import installed
from cluster.provider import ClusterError
from conftest import Kubectl

Json = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
KINDS = ("incidents.firebreak.dev", "playbooks.firebreak.dev")


@pytest.fixture(scope="session", autouse=True)
def crds(kubectl: Kubectl) -> None:
    """The definitions as in the checkout, served by the API server."""
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(CRDS))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{kind}" for kind in KINDS))


@pytest.fixture(scope="module", autouse=True)
def nobody_watches(crds: None, kubectl: Kubectl) -> Iterator[None]:
    """A Firebreak that an earlier session left stands still: here one looks at what the API server does alone."""
    with installed.standing_still(kubectl):
        yield


@pytest.fixture
def playbooks(namespace: str, kubectl: Kubectl) -> Iterator[str]:
    """A name for this test's playbook; playbooks have no namespace that would go with the test."""
    yield namespace
    kubectl("delete", "playbook", namespace, "--ignore-not-found")


def manifest(kind: str, name: str, spec: Json, namespace: str | None = None) -> str:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return json.dumps({"apiVersion": "firebreak.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


class People:
    """What people do to one incident, by kubectl."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace

    def apply(self, spec: Json, name: str = "web-shell") -> None:
        self._kubectl("apply", "--filename", "-", stdin=manifest("Incident", name, spec, self._namespace))

    def replace(self, spec: Json, name: str = "web-shell") -> None:
        self._kubectl("replace", "--filename", "-", stdin=manifest("Incident", name, spec, self._namespace))

    def get(self, name: str = "web-shell") -> Json:
        answer: Json = json.loads(
            self._kubectl("get", "incident", name, "--namespace", self._namespace, "--output", "json")
        )
        return answer

    def report(self, name: str, status: Json) -> None:
        patch = json.dumps({"status": status})
        self._kubectl(
            "patch", "incident", name, "--namespace", self._namespace,
            "--subresource", "status", "--type", "merge", "--patch", patch,
        )  # fmt: skip


@pytest.fixture
def people(kubectl: Kubectl, namespace: str) -> People:
    return People(kubectl, namespace)


def refused(apply: Any, *arguments: Any) -> str:
    with pytest.raises(ClusterError) as caught:
        apply(*arguments)
    return str(caught.value)


POD = {"pod": "web-1"}

# --- creating an incident


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.target is required unless spec.mode is Plan"),
        ({"target": {}}, "spec.target in body should have at least 1 properties"),
        (
            {"target": {"pod": "web-1", "serviceAccount": "web"}},
            "spec.target: Too many: 2: must have at most 1 item",
        ),
        ({"target": {"pod": None}}, "spec.target in body should have at least 1 properties"),
        ({"target": {"selector": {}}}, "spec.target.selector in body should have at least 1 properties"),
        (
            {"target": {"selector": {"matchLabels": {}}}},
            "spec.target.selector.matchLabels in body should have at least 1 properties",
        ),
        (
            {"target": {"selector": {"matchExpressions": []}}},
            "spec.target.selector.matchExpressions in body should have at least 1 items",
        ),
        (
            {"target": {"selector": {"matchLabels": {"app": "a,b"}}}},
            "spec.target.selector.matchLabels.app in body should match",
        ),
        (
            {"target": {"selector": {"matchExpressions": [{"key": "app", "operator": "Resembles"}]}}},
            'spec.target.selector.matchExpressions[0].operator: Unsupported value: "Resembles"',
        ),
        ({"target": {"pod": "Web_1"}}, "spec.target.pod in body should match"),
        (
            {"target": {"workload": {"kind": "Pod", "name": "web"}}},
            'spec.target.workload.kind: Unsupported value: "Pod"',
        ),
        ({"target": {"workload": {"kind": "Deployment"}}}, "spec.target.workload.name: Required value"),
        (
            {"target": {"serviceAccount": "web"}, "podUID": "1"},
            "spec.podUID goes with spec.target.pod only",
        ),
        ({"mode": "Plan", "podUID": "1"}, "spec.podUID goes with spec.target.pod only"),
        (
            {"target": POD, "state": "Closed"},
            "spec.verdict is required to close: TruePositive, FalsePositive or Exercise",
        ),
        (
            {"target": POD, "mode": "Revenge"},
            'spec.mode: Unsupported value: "Revenge": supported values: "Respond", "Preserve", "Plan"',
        ),
        ({"target": POD, "severity": "Grave"}, 'spec.severity: Unsupported value: "Grave"'),
        ({"target": POD, "verdict": "Oops"}, 'spec.verdict: Unsupported value: "Oops"'),
        ({"target": POD, "reason": "x" * 1025}, "spec.reason: Too long: may not be more than 1024"),
        ({"target": POD, "sevrity": "Low"}, 'unknown field "spec.sevrity"'),
        ({"target": {"pods": "web-1"}}, 'unknown field "spec.target.pods"'),
    ],
)
def test_an_incident_that_breaks_a_rule_is_refused_in_words(people: People, spec: Json, message: str) -> None:
    assert message in refused(people.apply, spec)


def test_three_lines_are_an_incident_and_the_api_server_fills_the_defaults(people: People) -> None:
    people.apply({"target": POD})
    assert people.get()["spec"] == {
        "target": {"pod": "web-1"},
        "mode": "Respond",
        "playbook": "standard",
        "severity": "High",
        "state": "Active",
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"mode": "Plan"},
        {"target": POD, "podUID": "0b5e1c1e"},
        {"target": {"selector": {"matchLabels": {"app.kubernetes.io/name": "web"}}}},
        {"target": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}},
        {"target": {"workload": {"kind": "Deployment", "name": "web"}}},
        {"target": {"serviceAccount": "web"}},
        {"target": POD, "state": "Closed", "verdict": "Exercise"},
    ],
)
def test_every_kind_of_target_is_taken(people: People, spec: Json) -> None:
    people.apply(spec)
    assert people.get()["spec"].items() >= spec.items()


# --- changing an incident


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            {"target": POD},
            {"target": {"pod": "web-2"}},
            "spec.target is set once; open another incident for another target",
        ),
        (
            {"target": POD},
            {"target": {"serviceAccount": "web"}},
            "spec.target is set once; open another incident for another target",
        ),
        ({"target": POD, "mode": "Plan"}, {"mode": "Plan"}, "spec.target is set once"),
        ({"target": POD, "podUID": "1"}, {"target": POD, "podUID": "2"}, "spec.podUID is set once"),
        ({"target": POD, "podUID": "1"}, {"target": POD}, "spec.podUID is set once"),
        (
            {"target": POD},
            {"target": POD, "mode": "Preserve"},
            "spec.mode cannot go back: what was done is not undone by it; use `firebreak release`",
        ),
        ({"target": POD}, {"target": POD, "mode": "Plan"}, "spec.mode cannot go back"),
        ({"target": POD, "mode": "Preserve"}, {"target": POD, "mode": "Plan"}, "spec.mode cannot go back"),
        ({"target": POD}, {"target": POD, "state": "Closed"}, "spec.verdict is required to close"),
        (
            {"target": POD, "state": "Closed", "verdict": "Exercise"},
            {"target": POD, "verdict": "Exercise"},
            "a closed incident stays closed; open a new one",
        ),
    ],
)
def test_a_change_that_breaks_a_rule_is_refused_in_words(
    people: People, before: Json, after: Json, message: str
) -> None:
    people.apply(before)
    assert message in refused(people.replace, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"mode": "Plan"}, {"target": POD, "mode": "Plan"}),
        ({"target": POD, "mode": "Plan"}, {"target": POD, "mode": "Preserve"}),
        ({"target": POD, "mode": "Plan"}, {"target": POD}),
        ({"target": POD, "mode": "Preserve"}, {"target": POD}),
        ({"target": POD}, {"target": POD, "podUID": "1"}),
        ({"target": POD}, {"target": POD, "state": "Closed", "verdict": "TruePositive"}),
        ({"target": POD}, {"target": POD, "severity": "Low", "ticket": "SEC-7", "reason": "seen by falco"}),
    ],
)
def test_what_people_may_change_they_can(people: People, before: Json, after: Json) -> None:
    people.apply(before)
    people.replace(after)
    assert people.get()["spec"].items() >= after.items()


def test_applying_the_same_manifest_again_changes_nothing(people: People) -> None:
    people.apply({"target": POD})
    before = people.get()["metadata"]
    people.apply({"target": POD})
    after = people.get()["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])


# --- the status


def test_only_the_subresource_writes_the_status(people: People, kubectl: Kubectl, namespace: str) -> None:
    people.apply({"target": POD})
    kubectl(
        "patch", "incident", "web-shell", "--namespace", namespace,
        "--type", "merge", "--patch", '{"status": {"phase": "Responded"}}',
    )  # fmt: skip
    assert "status" not in people.get()


def test_a_status_beyond_its_bounds_is_refused(people: People) -> None:
    people.apply({"target": POD})
    change = {"object": "Pod shop/web-1", "verb": "patch", "why": "x", "state": "Planned"}
    many = {"steps": {"revoke": {"state": "Running", "changes": {f"c{n}": change for n in range(201)}}}}
    assert "status.steps.revoke.changes: Too many: 201: must have at most 200 items" in refused(
        people.report, "web-shell", many
    )


def test_closed_incidents_are_left_out_by_the_server(people: People, kubectl: Kubectl, namespace: str) -> None:
    for name, phase in (("open", "Waiting"), ("new", None), ("done", "Closed")):
        people.apply({"target": POD}, name)
        if phase:
            people.report(name, {"phase": phase})

    def listed(selector: str) -> list[str]:
        return kubectl(
            "get", "incidents", "--namespace", namespace, "--field-selector", selector, "--output", "name"
        ).split()

    prefix = "incident.firebreak.dev/"
    assert listed("status.phase!=Closed") == [f"{prefix}new", f"{prefix}open"]
    assert listed("status.phase=Closed") == [f"{prefix}done"]


def test_the_table_has_what_people_look_for_first(people: People, kubectl: Kubectl, namespace: str) -> None:
    people.apply({"target": POD})
    now = "2026-11-21T02:00:00Z"
    condition = {"reason": "Reason", "message": "", "lastTransitionTime": now}
    states = {"Contained": "True", "EvidencePreserved": "Unknown", "IdentityContained": "False"}
    people.report(
        "web-shell",
        {
            "target": "pod/web-1",
            "waitingFor": "approval: rotate",
            "conditions": [{"type": kind, "status": state, **condition} for kind, state in states.items()],
        },
    )
    header, row = kubectl("get", "incidents", "--namespace", namespace).splitlines()
    assert header.split() == ["NAME", "TARGET", "CONTAINED", "EVIDENCE", "IDENTITY", "WAITING-FOR", "AGE"]
    cells = re.split(r"\s{2,}", row.strip())
    assert cells[:6] == ["web-shell", "pod/web-1", "True", "Unknown", "False", "approval: rotate"]
    wide = kubectl("get", "inc", "--namespace", namespace, "--output", "wide").splitlines()[0]
    assert wide.split() == [*header.split(), "PHASE", "MESSAGE"]


def test_kubectl_can_wait_for_containment(people: People, kubectl: Kubectl, namespace: str) -> None:
    people.apply({"target": POD})
    contained = {"type": "Contained", "status": "True", "reason": "Enforced", "message": ""}
    people.report("web-shell", {"conditions": [{**contained, "lastTransitionTime": "2026-11-21T02:00:00Z"}]})
    kubectl("wait", "incident/web-shell", "--namespace", namespace, "--for=condition=Contained", "--timeout=10s")


# --- playbooks


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.steps: Required value"),
        ({"steps": []}, "spec.steps in body should have at least 1 items"),
        ({"steps": [{"revoke": {}}, {"rotate": {}}, {"revoke": {}}]}, "step revoke stands more than once"),
        ({"steps": [{"quarantine": {}}, {"quarantine": {}}]}, "step quarantine stands more than once"),
        ({"steps": [{"revoke": {}, "rotate": {}}]}, "spec.steps[0]: Too many: 2: must have at most 1 item"),
        ({"steps": [{}]}, "spec.steps[0] in body should have at least 1 properties"),
        ({"steps": [{"revoke": None}]}, "spec.steps[0] in body should have at least 1 properties"),
        ({"steps": [{"reboot": {}}]}, 'unknown field "spec.steps[0].reboot"'),
        ({"steps": [{"revoke": {}}], "approval": "Sometimes"}, 'spec.approval: Unsupported value: "Sometimes"'),
        ({"steps": [{"capture": {"paths": ["tmp"]}}]}, "spec.steps[0].capture.paths[0] in body should match"),
        (
            {"steps": [{"capture": {"maxBytes": 0}}]},
            "spec.steps[0].capture.maxBytes in body should be greater than or equal to 1",
        ),
        (
            {"steps": [{"replace": {"images": {"web": "shop web"}}}]},
            "spec.steps[0].replace.images.web in body should match",
        ),
    ],
)
def test_a_playbook_that_breaks_a_rule_is_refused_in_words(
    kubectl: Kubectl, playbooks: str, spec: Json, message: str
) -> None:
    said = refused(lambda: kubectl("apply", "--filename", "-", stdin=manifest("Playbook", playbooks, spec)))
    assert message in said


def test_a_playbook_gets_the_defaults_of_its_steps(kubectl: Kubectl, playbooks: str) -> None:
    spec = {"steps": [{"quarantine": {}}, {"capture": {"paths": []}}, {"revoke": {}}, {"rotate": {}}, {"replace": {}}]}
    kubectl("apply", "--filename", "-", stdin=manifest("Playbook", playbooks, spec))
    stored = json.loads(kubectl("get", "playbook", playbooks, "--output", "json"))["spec"]
    assert stored == {
        "approval": "WhenRisky",
        "drift": "Reapply",
        "steps": [
            {"quarantine": {"detach": "Auto"}},
            {"capture": {"paths": [], "maxBytes": 21474836480, "timeoutSeconds": 1800}},
            {"revoke": {}},
            {"rotate": {"timeoutSeconds": 300}},
            {"replace": {"timeoutSeconds": 300}},
        ],
    }


def test_a_playbook_of_another_order_is_taken_for_the_planner_knows_what_comes_first(
    kubectl: Kubectl, playbooks: str
) -> None:
    spec = {"approval": "Never", "steps": [{"replace": {}}, {"quarantine": {}}]}
    kubectl("apply", "--filename", "-", stdin=manifest("Playbook", playbooks, spec))


# --- help


@pytest.mark.parametrize(
    "path",
    [
        "incident.spec",
        "incident.spec.target",
        "incident.spec.target.selector",
        "incident.spec.target.workload",
        "incident.status",
        "incident.status.steps",
        "incident.status.evidence",
        "incident.status.timings",
        "playbook.spec",
        "playbook.spec.steps",
        "playbook.spec.steps.capture",
        "playbook.spec.steps.replace",
    ],
)
def test_kubectl_explains_every_field(kubectl: Kubectl, path: str) -> None:
    said = kubectl("explain", path)
    assert "<no description>" not in said
    fields = said.partition("FIELDS:")[2]
    assert fields.count("<") >= 1


def test_kubectl_explains_the_target_in_our_words(kubectl: Kubectl) -> None:
    said = kubectl("explain", "incident.spec.target")
    for name, words in {
        "pod": "One pod, by name.",
        "selector": "Pods by label, also those that appear later.",
        "serviceAccount": "An account: all pods that run as it, also later ones.",
        "workload": "The pods of a controller, also later ones.",
    }.items():
        assert re.search(rf"{name}\t<.*>\n\s+{re.escape(words)}", said), name
