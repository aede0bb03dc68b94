"""`firebreak preflight`, the real command against the fake API server and a store on files."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cli_harness import Cli, Ran, write_kubeconfig
from fake_api import Answer, FakeApi, Fault
from firebreak.api.crd import CRDS, incident_crd
from firebreak.cli.checks import Check, Outcome, evidence_store, server
from firebreak.cli.preflight import verdict
from firebreak.evidence.backend import ObstoreBackend
from firebreak.evidence.errors import AlreadyExists, StoreRefused
from firebreak.evidence.keys import Key
from firebreak.evidence.location import Clients
from firebreak.evidence.location import connect as connect_store
from firebreak.evidence.store import EvidenceStore
from firebreak.model.enforcement import Enforcement, State
from firebreak.model.shipped import SHIPPED
from firebreak.model.tiers import CONTAIN
from harness import connect
from test_policies import from_manifests

ESTABLISHED = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
KEPT = "written, read back, not overwritten"
TRIED = ("firebreak-approvals", "firebreak-creators", "firebreak-quarantine-forgery")
TODAY = datetime.now(UTC).isoformat()  # the command looks at the real clock
PROVEN = Enforcement(State.PROVEN, TODAY, "seen")


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("FIREBREAK_STORE", f"file://{tmp_path}/evidence")
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


def install(fake: FakeApi, proof: Enforcement = PROVEN) -> None:
    for crd in CRDS.values():
        fake.put({**crd(), **ESTABLISHED})
    for group in SHIPPED:
        for found in from_manifests(group):
            for resource in found.values():
                fake.put(resource)
    metadata = {"name": "firebreak-enforcement", "namespace": "firebreak"}
    data = {"enforcement.json": proof.to_json()}
    fake.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def run_operator(fake: FakeApi) -> None:
    """The operator's account, and a pod of its own."""
    metadata = {"name": "firebreak", "namespace": "firebreak"}
    fake.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    labelled = {**metadata, "labels": {"app.kubernetes.io/name": "firebreak"}}
    fake.put({"apiVersion": "v1", "kind": "Pod", "metadata": labelled, "spec": {"containers": []}})


def found(ran: Ran) -> dict[str, tuple[str, str]]:
    return {check["name"]: (check["outcome"], check["detail"]) for check in json.loads(ran.out)["checks"]}


def remedies(ran: Ran) -> dict[str, str]:
    return {check["name"]: check["remedy"] for check in ran.json["checks"]}


def allowing(allowed: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], tuple[bool, str]]:
    return lambda spec: (allowed(spec["resourceAttributes"]), "")


async def test_the_fence_of_the_intake_s_account_is_tried_where_it_is_installed(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    assert "guards intake" not in found(await cli("preflight", "--no-probe", "-o", "json"))
    metadata = {"name": "firebreak-intake", "namespace": "firebreak"}
    fake.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    assert found(await cli("preflight", "--no-probe", "-o", "json"))["guards intake"] == (
        "ok",
        "the API server refuses firebreak/firebreak-intake what is not its to do",
    )
    fake.fences -= {"firebreak-intake"}
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert found(ran)["guards intake"] == ("FAILED", "tried, and not refused: firebreak-intake")
    assert "kubectl replace -k manifests/base/admission" in remedies(ran)["guards intake"]


async def test_a_cluster_that_is_as_it_must_be_leaves_doubt_about_a_store_for_trying_out_only(
    fake: FakeApi, cli: Cli, tmp_path: Path
) -> None:
    install(fake)
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert (ran.code, ran.err) == (5, "nothing failed; unknown or warned of: guards, store\n")
    assert found(ran) == {
        "api server": ("ok", f"{fake.url} runs Kubernetes v1.35.4"),
        "clock": ("ok", "within 2 s of the API server's"),
        "crd approvals.firebreak.dev": ("ok", "installed, equal to this version's"),
        "crd incidents.firebreak.dev": ("ok", "installed, equal to this version's"),
        "crd playbooks.firebreak.dev": ("ok", "installed, equal to this version's"),
        "rights contain": ("ok", "granted to you"),
        "rights preserve": ("ok", "granted to you"),
        "rights eradicate": ("ok", "granted to you"),
        "rights node": ("ok", "granted to you"),
        "guards": ("unknown", "there is no account firebreak/firebreak to try them as"),
        "guards people": ("ok", f"tried, and refused: {', '.join(TRIED)}; the others are read, not tried"),
        "policies people": ("ok", "read: 10 bound, denying, equal to this version's"),
        "policies contain": ("ok", "read: 5 bound, denying, equal to this version's"),
        "policies preserve": ("ok", "read: 1 bound, denying, equal to this version's"),
        "policies eradicate": ("ok", "read: 3 bound, denying, equal to this version's"),
        "policies node": ("ok", "read: 1 bound, denying, equal to this version's"),
        "store": (
            "warning",
            f"file://{tmp_path}/evidence: {KEPT}; it lies on this machine's own disk, for trying out",
        ),
        "enforcement": ("ok", f"proven (probed {TODAY}): seen"),
    }


async def test_what_is_missing_is_named_with_what_to_do(fake: FakeApi, cli: Cli) -> None:
    ran = await cli("preflight", "--no-probe")
    assert ran.code == 1
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert "crd incidents.firebreak.dev  FAILED   not installed" in lines
    assert "crd incidents.firebreak.dev: firebreak crds | kubectl apply -f -" in lines
    assert "enforcement: firebreak preflight --probe" in lines
    assert ran.err.startswith(
        "error: not as it must be: crd approvals.firebreak.dev, crd incidents.firebreak.dev, "
        "crd playbooks.firebreak.dev, policies people, policies contain, policies preserve, policies eradicate, "
        "policies node, enforcement\n"
    )


async def test_crds_of_another_version_are_told_apart(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    older = incident_crd()
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["ticket"]
    fake.put({**older, **ESTABLISHED})
    checks = found(await cli("preflight", "--no-probe", "-o", "json"))
    assert checks["crd incidents.firebreak.dev"] == ("FAILED", "installed, but not the one of this version")


async def test_rights_are_those_of_the_operators_account_when_it_is_there(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    run_operator(fake)
    checks = found(await cli("preflight", "--no-probe", "-o", "json"))
    outcome, detail = checks["rights contain"]
    assert outcome == "FAILED"
    assert detail.startswith("not granted to firebreak/firebreak: get incidents.firebreak.dev in all namespaces, ")


async def test_guards_are_tried_as_the_operators_account(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    run_operator(fake)
    fake.authorize("SubjectAccessReview", allowing(lambda _: True))
    fake.fences -= {"firebreak-preserve-exec"}
    ran = await cli("preflight", "--no-probe", "-o", "json")
    checks = found(ran)
    assert ran.code == 1
    assert checks["guards contain"] == ("ok", "the API server refuses firebreak/firebreak what is not its to do")
    assert checks["guards eradicate"][0] == "ok"
    outcome, detail = checks["guards preserve"]
    assert outcome == "FAILED"
    assert "not seen in force: firebreak-preserve-exec" in detail
    tried = {call.user: call.resource for call in fake.calls if call.query.get("dryRun") == "All"}
    assert tried.keys() == {
        "system:serviceaccount:firebreak:firebreak",
        "system:serviceaccount:kube-system:replicaset-controller",
        "",
    }


async def test_guards_of_a_tier_that_was_left_out_are_not_tried(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    run_operator(fake)
    everywhere = [right.attributes(verb, None) for right in CONTAIN.everywhere for verb in right.verbs]
    granted = everywhere + [right.attributes(verb, "firebreak") for right in CONTAIN.own for verb in right.verbs]
    fake.authorize("SubjectAccessReview", allowing(lambda attributes: attributes in granted))
    checks = found(await cli("preflight", "--no-probe", "-o", "json"))
    assert checks["guards contain"][0] == "ok"
    assert [name for name in checks if name.startswith("guards")] == ["guards contain", "guards people"]
    assert [name for name in checks if name.startswith("policies")] == ["policies people", "policies contain"]


async def test_the_policies_about_people_are_tried_as_who_asks_and_a_forged_pod_as_who_makes_pods(
    fake: FakeApi, cli: Cli
) -> None:
    install(fake)
    await cli("preflight", "--no-probe")
    tried = [(c.resource, c.namespace, c.user) for c in fake.calls if c.query.get("dryRun") == "All"]
    assert tried == [
        ("approvals", "firebreak", ""),
        ("incidents", "firebreak", ""),
        ("pods", "firebreak", "system:serviceaccount:kube-system:replicaset-controller"),
    ]
    assert [call for call in fake.writes if call.namespace == "firebreak"] == []


async def test_an_object_of_the_trials_name_that_is_there_already_was_let_pass(fake: FakeApi, cli: Cli) -> None:
    """Admission comes before the question whether the name is taken."""
    install(fake)
    metadata = {"name": "firebreak-guard", "namespace": "firebreak"}
    fake.put({"apiVersion": "firebreak.dev/v1alpha1", "kind": "Approval", "metadata": metadata, "spec": {}})
    assert found(await cli("preflight", "--no-probe", "-o", "json"))["guards people"][0] == "ok"
    fake.fences -= {"firebreak-approvals"}
    assert found(await cli("preflight", "--no-probe", "-o", "json"))["guards people"][0] == "FAILED"


NO_RIGHT = ("not tried, for lack of a right", "run firebreak preflight as an administrator")
OTHERS = (
    "tried in vain, for something else said no first",
    "see that the CRDs and the namespace are there, and which webhook or policy of yours refuses it",
)


def broken(*, of: str, how: Answer) -> Fault:
    return Fault(when=lambda call: call.resource == of and call.query.get("dryRun") == "All", how=how)


async def test_a_policy_about_people_that_refuses_nothing_fails_and_is_named(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    fake.fences -= {"firebreak-approvals"}
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert ran.code == 1
    assert found(ran)["guards people"] == (
        "FAILED",
        f"tried, and not refused: firebreak-approvals; tried, and refused: {', '.join(TRIED[1:])}",
    )
    assert remedies(ran)["guards people"] == (
        "kubectl apply -k manifests/base/admission && kubectl replace -k manifests/base/admission"
    )


@pytest.mark.parametrize(
    ("answer", "says", "remedy"),
    [
        (Answer(403, message='users "x" is forbidden: User "eve" cannot impersonate resource "users"'), *NO_RIGHT),
        (Answer(403, message='pods is forbidden: User "x" cannot create pods'), *NO_RIGHT),
        (Answer(403, message="admission webhook denied"), *OTHERS),
        (Answer(404, message="no such namespace"), *OTHERS),
    ],
)
async def test_a_trial_that_another_refuses_proves_nothing(
    fake: FakeApi, cli: Cli, answer: Answer, says: str, remedy: str
) -> None:
    install(fake)
    fake.faults.add(broken(of="pods", how=answer))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert found(ran)["guards people"] == (
        "unknown",
        f"{says}: firebreak-quarantine-forgery; tried, and refused: {', '.join(TRIED[:2])}",
    )
    assert remedies(ran)["guards people"] == remedy


async def test_a_policy_that_is_not_bound_fails_though_none_of_its_requests_can_be_tried(
    fake: FakeApi, cli: Cli
) -> None:
    install(fake)
    fake.delete("ValidatingAdmissionPolicyBinding", "", "firebreak-quarantine-lock")
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert (ran.code, found(ran)["guards people"][0]) == (1, "ok")
    assert found(ran)["policies people"] == ("FAILED", "firebreak-quarantine-lock is not bound")
    assert "error: not as it must be: policies people\n" in ran.err


async def test_policies_that_may_not_be_read_are_unknown(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    words = 'User "eve" cannot list resource "validatingadmissionpolicies"'
    fake.faults.add(Fault(when=lambda call: "admissionpolic" in call.resource, how=Answer(403, message=words)))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert (ran.code, found(ran)["policies people"]) == (5, ("unknown", f"not read: {words}"))
    assert remedies(ran)["policies node"] == "run firebreak preflight as an administrator"


async def test_without_a_pod_of_its_own_the_fence_of_pods_is_unknown_not_missing(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    run_operator(fake)
    fake.delete("Pod", "firebreak", "firebreak")
    fake.authorize("SubjectAccessReview", allowing(lambda _: True))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert found(ran)["guards contain"] == (
        "unknown",
        "not tried: it takes a pod in namespace firebreak, and there is none",
    )
    assert (found(ran)["guards preserve"][0], ran.code) == ("ok", 5)


async def test_who_may_not_act_as_the_account_is_told_where_to_try(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    run_operator(fake)
    fake.authorize("SubjectAccessReview", allowing(lambda _: True))
    words = 'users "x" is forbidden: User "eve" cannot impersonate resource "users"'
    fake.faults.add(Fault(when=lambda call: call.query.get("dryRun") == "All", how=Answer(403, message=words)))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    outcome, detail = found(ran)["guards contain"]
    assert (outcome, "cannot impersonate" in detail) == ("unknown", True)


async def test_a_tier_that_was_left_out_is_a_choice_and_one_half_granted_is_not(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    eradicating = {"secrets", "rolebindings", "clusterrolebindings", "subjectaccessreviews"}
    fake.authorize(
        "SelfSubjectAccessReview",
        allowing(
            lambda a: (
                a["resource"] not in eradicating | {"roles", "clusterroles"}
                and (a["verb"], a.get("group")) != ("patch", "apps")
                and a.get("subresource") != "exec"
            )
        ),
    )
    ran = await cli("preflight", "--no-probe", "-o", "json")
    checks = found(ran)
    assert checks["rights contain"][0] == "ok"
    assert checks["rights eradicate"] == (
        "left out",
        "not granted to you; Blocked without it: revoke, rotate, replace",
    )
    assert checks["rights preserve"][0] == "FAILED"


async def test_a_store_that_is_not_named_here_proves_and_fails_nothing(
    fake: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(fake)
    monkeypatch.delenv("FIREBREAK_STORE")
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert (ran.code, found(ran)["store"][0]) == (5, "unknown")
    assert remedies(ran)["store"] == "kubectl exec -n firebreak deployment/firebreak -- firebreak preflight --no-probe"


@dataclass(frozen=True, kw_only=True)
class Bucket(ObstoreBackend):
    """A bucket far away. `keeps`: deletions are refused. `versions`: what is deleted keeps its version."""

    keeps: bool
    versions: bool

    @property
    def local(self) -> bool:
        return False

    async def create(self, key: Key, data: bytes) -> str | None:
        await super().create(key, data)
        return "v1" if self.versions else None

    async def remove(self, key: Key) -> None:
        if self.keeps:
            raise StoreRefused("403 AccessDenied")
        if not self.versions:
            await super().remove(key)

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        return await super().get(key, limit, None)


class Lax(Bucket):
    """Takes a second writer for the first."""

    async def create(self, key: Key, data: bytes) -> str | None:
        with contextlib.suppress(AlreadyExists):
            return await super().create(key, data)
        return None


class Forgetful(Bucket):
    """Returns other bytes than it was given."""

    async def get(self, key: Key, limit: int, version: str | None) -> bytes:
        return (await super().get(key, limit, version))[1:]


@pytest.mark.parametrize(
    ("kind", "outcome", "says"),
    [
        (partial(Bucket, keeps=True, versions=True), "ok", "written, read back, not overwritten, not deleted"),
        (partial(Bucket, keeps=True, versions=False), "warning", "the bucket keeps no versions"),
        (
            partial(Bucket, keeps=False, versions=True),
            "unknown",
            "whether these credentials may delete versions, too, cannot be asked here",
        ),
        (
            partial(Bucket, keeps=False, versions=False),
            "warning",
            "these credentials can delete evidence: the object is gone",
        ),
        (
            partial(Lax, keeps=True, versions=True),
            "FAILED",
            "lets evidence be overwritten: it honours no conditional writes",
        ),
        (partial(Forgetful, keeps=True, versions=True), "FAILED", "returned other bytes than were written"),
    ],
)
async def test_the_store_is_judged_by_what_it_let_happen(
    kind: Callable[[Clients], Bucket], outcome: str, says: str
) -> None:
    bucket = kind(connect_store("memory://", {}))
    check = await evidence_store(EvidenceStore(bucket), "firebreak")
    assert (check.outcome, says in check.detail) == (outcome, True), check
    assert bool(check.remedy) == (outcome != "ok")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.OK, Outcome.LEFT_OUT], 0),
        ([Outcome.OK, Outcome.WARNING], 5),
        ([Outcome.UNKNOWN, Outcome.OK], 5),
        ([Outcome.UNKNOWN, Outcome.FAILED, Outcome.WARNING], 1),
    ],
)
def test_the_exit_code_tells_failed_from_doubtful_from_well(outcomes: list[Outcome], code: int) -> None:
    assert verdict([Check(name="c", outcome=outcome, detail="") for outcome in outcomes]) == code


async def test_inside_its_own_pod_the_operator_asks_about_itself(
    fake: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(fake)
    run_operator(fake)
    monkeypatch.setenv("FIREBREAK_POD", "firebreak-0")
    checks = found(await cli("preflight", "--no-probe", "-o", "json"))
    assert checks["rights contain"] == ("ok", "granted to you")
    assert checks["guards people"] == ("unknown", "not tried: Firebreak's own account has no right to")
    assert [call for call in fake.calls if call.resource in {"approvals", "incidents"}] == []


async def test_a_store_that_cannot_be_right_fails(fake: FakeApi, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    install(fake)
    monkeypatch.setenv("FIREBREAK_STORE", "ftp://evidence")
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert (ran.code, found(ran)["store"][0]) == (1, "FAILED")


async def test_a_cluster_that_was_seen_to_enforce_nothing_fails(fake: FakeApi, cli: Cli) -> None:
    install(fake, Enforcement(State.NOT_ENFORCED, "2026-11-21T00:00:00Z", "this still got through: all"))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert ran.code == 1
    assert found(ran)["enforcement"] == (
        "FAILED",
        "not enforced (probed 2026-11-21T00:00:00Z): this still got through: all",
    )


@pytest.mark.parametrize(
    ("at", "doubt"),
    [
        ("2020-01-01T00:00:00Z", "is too old, of 2020-01-01T00:00:00Z"),
        ("9999-01-01T00:00:00Z", "is of 9999-01-01T00:00:00Z, a time to come: a clock is wrong, or somebody wrote it"),
    ],
)
async def test_a_proof_that_counts_no_more_fails(at: str, doubt: str, fake: FakeApi, cli: Cli) -> None:
    install(fake, Enforcement(State.PROVEN, at, "seen"))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    words = f"unproven (probed {at}): the proof {doubt}; run `firebreak preflight --probe`"
    assert (ran.code, found(ran)["enforcement"]) == (1, ("FAILED", words))


async def test_a_probe_without_an_image_is_not_tried(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    ran = await cli("preflight", "-o", "json")
    assert found(ran)["enforcement"] == ("unknown", "not probed: it is not known which image the probe may run")
    assert [call for call in fake.writes if call.resource == "pods"] == []


async def test_a_refused_check_fails_and_the_others_go_on(fake: FakeApi, cli: Cli) -> None:
    install(fake)
    fake.faults.add(Fault(when=lambda call: call.resource == "configmaps", how=Answer(403, message="not yours")))
    ran = await cli("preflight", "--no-probe", "-o", "json")
    assert ran.code == 1
    assert found(ran)["enforcement"][0] == "FAILED"
    assert found(ran)["store"][0] == "warning"


async def test_clocks_that_are_apart_are_noticed(fake: FakeApi) -> None:
    async with connect(fake) as api:
        _, clock = await server(api, lambda: datetime.now(UTC) + timedelta(seconds=30))
    assert clock.outcome is Outcome.FAILED
    assert clock.remedy == "synchronise both with NTP"
