"""The operator's real token in the hands of a thief: what the tiers give is fenced by the API server, one by one.

Every right that writes has attempts here, or the first test fails; each attempt names who refuses it. Then what
Firebreak itself sends: all of it passes, and none where a namespace is closed to it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from firebreak.kube.probe_objects import CUT, Run
from firebreak.kube.tarcommand import direct_command, tar_command
from firebreak.kube.volatile import volatile_command
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.tiers import TIERS
from firebreak.steps import quarantine
from incidents import Door, Object, Place, container, place, pod
from thefts import (
    elsewhere,
    on_exec,
    on_incidents,
    on_pods,
    on_policies,
    on_probe,
    on_records,
    on_records_of_labels,
)
from thefts_eradicate import on_bindings, on_nodes, on_secrets, on_workloads
from thief import CORE, KEY, RECORD, UID, Answer, Attempt, Thief, on, write_rights
from ward import IDLE, KNOWN_GOOD, SENT, asked, furnish, what_firebreak_sends

TIER_NODE = Path(__file__).parents[2] / "manifests" / "components" / "tier-node"
PROBE = Run("0badbad0", "firebreak", "busybox:1.35").pod_body(CUT)
FORBIDDEN = 403
CLOSED = "namespaces labelled firebreak.dev/allowed=false are not"
QUESTIONS = {("create", "selfsubjectaccessreviews"), ("create", "subjectaccessreviews")}
"""Rights to create what is not kept: the API server answers a question."""


def attempts(ns: str, version: str, node: str) -> list[Attempt]:
    """All that a thief tries, in a namespace that is furnished for it. `version`: of somebody's Lease."""
    return [
        *on_pods(ns),
        *on_records_of_labels(ns),
        *on_policies(ns),
        *on_incidents(ns),
        *on_records(ns, version),
        *on_probe(PROBE),
        *on_exec(ns),
        *on_bindings(ns),
        *on_secrets(ns),
        *on_workloads(ns),
        *on_nodes(node),
        *elsewhere(ns),
    ]


def test_every_right_that_writes_has_an_attempt_to_abuse_it() -> None:
    granted = set().union(*(write_rights(tier) for tier in TIERS))
    abused = {attempt.right for attempt in attempts("ns", "1", "node") if attempt.right}
    assert abused | QUESTIONS == granted


@pytest.fixture(scope="module")
def ward(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A namespace with everything that a thief could want, and an incident that is being worked on."""
    with place(cluster, kubectl, "ward") as found:
        furnish(found)
        yield found


@pytest.fixture(scope="module")
def own_things(firebreak: str, ward: Place) -> Iterator[str]:
    """A pod in kube-system and one beside Firebreak, and somebody's Lease; returns the Lease's version."""
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    tame = {**PROBE, "spec": {**PROBE["spec"], "nodeSelector": {"firebreak.test/node": "none"}}}
    made = [{**tame, "metadata": {"name": "desk", "namespace": each}} for each in ("kube-system", firebreak)]
    made.append({**lease, "metadata": {"name": "theirs", "namespace": firebreak}})
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    ward.kubectl("apply", "--filename", "-", stdin=text)
    yield json.loads(ward.kubectl("get", "lease", "theirs", "-n", firebreak, "-o", "json"))["metadata"][
        "resourceVersion"
    ]
    ward.kubectl("delete", "--wait=false", "--filename", "-", stdin=text)


@pytest.fixture(scope="module")
def thief(firebreak: str, ward: Place) -> Thief:
    """Somebody with the operator's own token, for ten minutes."""
    token = ward.kubectl("create", "token", "firebreak", "--namespace", firebreak, "--duration", "10m").strip()
    door = Door.of(ward.cluster)
    return Thief(door.server, door.trust, token)


@pytest.fixture
def node(thief: Thief, kubectl: Kubectl) -> Iterator[str]:
    """A node, and the tier for nodes, which the overlay leaves out, in force."""
    (name, *_) = kubectl("get", "nodes", "--output", "jsonpath={.items[*].metadata.name}").split()
    kubectl("apply", "-k", str(TIER_NODE))
    wait_until(
        lambda: all(thief.tries(each).code == FORBIDDEN for each in on_nodes(name)),
        timeout=20,
        otherwise="the policy of the tier node did not come into force",
    )
    yield name
    kubectl("delete", "-k", str(TIER_NODE), "--wait=false")


def test_a_thief_with_the_operators_token_is_refused_each_abuse_of_its_rights(
    ward: Place, own_things: str, thief: Thief, node: str
) -> None:
    told = [(each, thief.tries(each)) for each in attempts(ward.namespace, own_things, node)]
    wrong = [
        f"{each.name}: {answer.code} {answer.message}"
        for each, answer in told
        if answer.code not in {FORBIDDEN, 422} or each.refused not in answer.message
    ]
    assert wrong == []


@pytest.mark.parametrize("user", ["kubernetes-admin", "system:serviceaccount:kube-system:namespace-controller"])
def test_a_thief_cannot_take_on_another_identity(user: str, ward: Place, thief: Thief) -> None:
    answer = thief.tries(Attempt("ask as", "", "GET", on(CORE, "pods", ward.namespace), acting_as=user))
    assert (answer.code, "cannot impersonate" in answer.message) == (FORBIDDEN, True)


# What Firebreak itself sends


def test_what_firebreak_sends_passes(ward: Place, own_things: str, thief: Thief, kubectl: Kubectl) -> None:
    kubectl("annotate", "namespace", ward.namespace, f"firebreak.dev/known-good={KNOWN_GOOD} other:1")
    run = Run("0badbad0", "firebreak", "busybox:1.35")
    probes: list[tuple[str, Object]] = [
        (on(CORE, "pods", "firebreak"), run.pod_body("cut")),
        (on(CORE, "pods", "firebreak"), run.pod_body("free", "10.0.0.1")),
        ("/apis/networking.k8s.io/v1/namespaces/firebreak/networkpolicies", run.policy_body()),
    ]
    answers = [(each.name.split(" ")[:2], thief.tries(each)) for each in what_firebreak_sends(ward)]
    assert [(words, a.message) for words, a in answers if a.code not in {200, 201}] == []
    assert sorted(" ".join(words) for words, _ in answers) == SENT
    sent = [Attempt(f"POST {path}", "", "POST", path, body) for path, body in probes]
    assert [(each.path, thief.tries(each)) for each in sent] == [(path, Answer(201, "")) for path, _ in probes]


def test_a_pod_with_as_many_labels_as_the_fence_counts_is_detached_all_the_same(ward: Place, thief: Thief) -> None:
    """100 labels, two of them of the quarantine, and a record that somebody planted before Firebreak was installed."""
    own = {f"{'d' * 240}.example.com/{number:03}{'k' * 60}": "v" * 63 for number in range(98)}
    planted = json.dumps({f"{number:x}": "" for number in range(180)}, sort_keys=True)
    crowd = pod("crowd", container(IDLE), nodeSelector={"firebreak.test/node": "none"})
    cut = {KEY: "true", "quarantine": "true"}
    crowd["metadata"] |= {"namespace": ward.namespace, "labels": {**own, **cut}, "annotations": {RECORD: planted}}
    ward.kubectl("create", "--filename", "-", stdin=json.dumps(crowd))
    detached = quarantine.strip(Pod(crowd), IncidentRef(ward.namespace, "open", UID))
    assert thief.tries(asked(detached)) == Answer(200, "")


def test_a_pod_with_more_annotations_than_admission_can_count_is_cut_all_the_same(ward: Place, thief: Thief) -> None:
    """60,000 of them: what admission may spend on a rule is bounded, and beyond the bound it refuses."""
    many = {f"{number:x}": "" for number in range(60_000)}
    crowded = pod("crowded", container(IDLE), nodeSelector={"firebreak.test/node": "none"})
    crowded["metadata"] |= {"namespace": ward.namespace, "annotations": many}
    ward.kubectl("create", "--filename", "-", stdin=json.dumps(crowded))
    cut = quarantine.label(IncidentRef(ward.namespace, "open", UID), Ref("Pod", "crowded", ward.namespace))
    assert thief.tries(asked(cut)).code == 200


@pytest.mark.parametrize(
    "command",
    [volatile_command("@0"), tar_command(["/etc"], ["/run/secrets"]), direct_command(["/etc"])],
    ids=["volatile", "files", "files without a shell"],
)
def test_the_commands_of_a_capture_pass(command: tuple[str, ...], ward: Place, thief: Thief) -> None:
    """Without the upgrade to a stream nothing runs: the answer comes from behind admission."""
    query: dict[str, Any] = {"command": list(command), "container": "app", "stdout": "true"}
    answer = thief.tries(Attempt("capture", "", "GET", on(CORE, "pods", ward.namespace, "desk/exec"), query=query))
    assert "firebreak" not in answer.message.replace(ward.namespace, ""), answer
    assert answer.code != FORBIDDEN, answer


@pytest.fixture(scope="module")
def closed(firebreak: str, cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[Place]:
    """A namespace like `ward` that an administrator closed to Firebreak."""
    with place(cluster, kubectl, "closed") as found:
        furnish(found)
        kubectl("annotate", "namespace", found.namespace, f"firebreak.dev/known-good={KNOWN_GOOD}")
        kubectl("label", "namespace", found.namespace, "firebreak.dev/allowed=false")
        yield found


def test_where_a_namespace_is_closed_to_firebreak_all_that_it_sends_elsewhere_is_refused(
    closed: Place, thief: Thief
) -> None:
    sent = what_firebreak_sends(closed)
    query: dict[str, Any] = {"command": list(volatile_command("@0")), "container": "app", "stdout": "true"}
    sent.append(Attempt("exec Pod", "", "GET", on(CORE, "pods", closed.namespace, "desk/exec"), query=query))
    told = [(" ".join(each.name.split(" ")[:2]), thief.tries(each)) for each in sent]
    assert sorted(name for name, _ in told) == sorted([*SENT, "exec Pod"])
    assert [each for each in told if each[1].code != FORBIDDEN or CLOSED not in each[1].message] == []


# The guard: whether all of this is in force


def guards(ward: Place) -> dict[str, tuple[str, str]]:
    """What preflight says of the guards: outcome and detail, by tier."""
    checks = json.loads(ward.firebreak("--output", "json", "--namespace", "firebreak", "preflight", "--no-probe").out)
    found = {each["name"]: (each["outcome"], each["detail"]) for each in checks["checks"]}
    return {tier.name: found[f"guards {tier.name}"] for tier in TIERS if f"guards {tier.name}" in found}


@pytest.fixture
def unbound(ward: Place) -> Iterator[list[str]]:
    """The policies, none of them in force any more; they are again afterwards."""
    kind = "validatingadmissionpolicybindings"
    there = [each["metadata"]["name"] for each in ward.get(kind)["items"]]
    names = [name for name in there if name.split("-")[1] in {"contain", "preserve", "eradicate"}]
    ward.kubectl("delete", kind, *names)
    yield [name for name in names if name != "firebreak-contain-incidents"]
    for tier in ("contain", "preserve", "eradicate"):
        ward.kubectl("apply", "--server-side", "-k", str(TIER_NODE.with_name(f"tier-{tier}")))
    wait_until(
        lambda: {outcome for outcome, _ in guards(ward).values()} == {"ok"},
        timeout=30,
        otherwise="the policies did not come into force again",
    )


def test_preflight_names_every_policy_that_is_not_in_force_and_how_to_put_it_there(
    ward: Place, unbound: list[str]
) -> None:
    wait_until(
        lambda: {outcome for outcome, _ in guards(ward).values()} == {"FAILED"},
        timeout=30,
        otherwise=lambda: f"the policies went on denying: {guards(ward)}",
    )
    told = guards(ward)
    for policy in unbound:
        _, tier, _ = policy.split("-")
        assert policy in told[tier][1]
        assert f"kubectl apply -k manifests/components/tier-{tier}" in told[tier][1]
