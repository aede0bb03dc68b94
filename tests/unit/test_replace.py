"""Replace: the workload comes back from a known-good image, and is called back only when the cure runs."""

from typing import Any

import pytest

from builders import INCIDENT, NOW, applied, pod, running, workload
from firebreak.model.change import Change, Ref, Risk, Verb, holds
from firebreak.model.facts import Workload
from firebreak.model.pod import Pod
from firebreak.model.verdict import Verdict
from firebreak.steps.replace import judge, known_good, plan, runs

Json = dict[str, Any]

GOOD = {"web": "shop/web:1.2"}
DIGEST = "sha256:" + "a" * 64
PINNED = {"web": f"shop/web@{DIGEST}"}
BAD_WEB, GOOD_WEB = {"name": "web", "image": "shop/web:evil"}, {"name": "web", "image": "shop/web:1.2"}
PROXY = {"name": "proxy", "image": "shop/proxy:9"}

WEB = workload("web", containers=[BAD_WEB, PROXY])
SET = workload("db", kind="StatefulSet", containers=[BAD_WEB])
ATTACHED = pod("web-7d9-x2x9k", owner=("ReplicaSet", "web-7d9"))
DETACHED = pod("web-7d9-x2x9k", labels={}, annotations={"firebreak.dev/original-labels": '{"app": "web"}'})


def fresh(name: str = "web-1", *containers: Json, ready: bool = True, image_id: str = "", **labels: str) -> Pod:
    status = running("web")
    status["containerStatuses"][0]["imageID"] = image_id
    status["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    return pod(name, labels={"app": "web", **labels}, status=status, containers=list(containers or (GOOD_WEB,)))


def facts(
    controller: Json | None = WEB, *, pods: tuple[Pod, ...] = (), held: tuple[Pod, ...] = (DETACHED,)
) -> Workload:
    return Workload(INCIDENT, controller, pods, held)


def refused(current: Workload, images: dict[str, str]) -> str:
    (change,) = plan(current, images)
    assert change.body is None
    assert change.why == "the workload has to come back"
    return str(change.refusal)


# --- rolling out


def test_the_known_good_image_is_rolled_out_and_the_other_containers_stay() -> None:
    (change,) = plan(facts(pods=(fresh("web-2"), DETACHED)), GOOD)
    assert (change.verb, change.target) == (Verb.PATCH, Ref("Deployment", "web", "shop", "uid-web"))
    assert change.body == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"template": {"spec": {"containers": [GOOD_WEB, PROXY]}}},
    }
    assert change.before == {"images": {"web": "shop/web:evil", "proxy": "shop/proxy:9"}}
    assert change.undo == "kubectl rollout undo deployment/web -n shop"
    assert (change.risk, change.once) == (Risk(touches=("Deployment web",)), True)
    assert holds(change, applied(change, WEB))


def test_a_workload_that_runs_the_image_already_needs_no_rollout() -> None:
    assert list(plan(facts(workload("web", containers=[GOOD_WEB, PROXY])), GOOD)) == []


def test_planning_again_after_carrying_out_yields_nothing() -> None:
    (change,) = plan(facts(), GOOD)
    assert list(plan(facts(applied(change, WEB)), GOOD)) == []


def test_without_an_image_the_controller_of_a_detached_pod_has_made_a_fresh_one_already() -> None:
    assert list(plan(facts(), {})) == []
    assert list(plan(facts(workload("web-7d9", kind="ReplicaSet", containers=[BAD_WEB])), {})) == []


def test_pods_are_detached_before_a_rollout_could_delete_them() -> None:
    changes: list[Change] = list(plan(facts(held=(ATTACHED,)), GOOD))
    assert [change.id for change in changes] == ["patch Pod shop/web-7d9-x2x9k (detach)", "patch Deployment shop/web"]


# --- what a person must do


def test_a_pod_that_nothing_owns_is_made_anew_by_a_person() -> None:
    assert refused(facts(None), {}) == (
        "no controller that could make a fresh pod owns it; create it anew from its manifest"
    )


@pytest.mark.parametrize(("kind", "images"), [("Job", {}), ("Job", GOOD), ("ReplicaSet", GOOD)])
def test_controllers_that_roll_nothing_out_are_refused(kind: str, images: dict[str, str]) -> None:
    controller = workload("batch", kind=kind, containers=[BAD_WEB])
    assert refused(facts(controller), images).startswith("no controller that could make a fresh pod owns it")


@pytest.mark.parametrize("images", [{}, GOOD])
def test_a_statefulset_makes_no_fresh_pod_while_the_old_one_is_kept(images: dict[str, str]) -> None:
    assert refused(facts(SET, held=(pod("db-0", owner=("StatefulSet", "db")),)), images) == (
        "StatefulSet db makes no fresh pod while db-0 is kept; close the incident, then delete the pod"
    )


def test_detaching_gives_a_statefulset_no_name_back() -> None:
    detached = pod("db-0", labels={}, annotations={"firebreak.dev/original-labels": '{"app": "db"}'})
    assert refused(facts(SET, held=(detached,)), {}) == (
        "StatefulSet db makes no fresh pod while db-0 is kept; close the incident, then delete the pod"
    )


def test_a_whole_workload_under_quarantine_needs_a_known_good_image() -> None:
    assert refused(facts(held=(ATTACHED,)), {}) == (
        "the whole workload is under quarantine and the playbook names no known-good image; "
        "name it in the playbook's replace.images"
    )


@pytest.mark.parametrize("held", [(DETACHED,), (ATTACHED,)])
def test_images_for_containers_that_the_workload_does_not_have_are_no_cure(held: tuple[Pod, ...]) -> None:
    assert refused(facts(held=held), {"wbe": "shop/web:1.2"}) == (
        "replace.images of the playbook names no container of web; "
        "correct the names, or bring the workload back by hand"
    )


# --- which pod is the cure


@pytest.mark.parametrize(
    ("containers", "images", "good"),
    [
        ([GOOD_WEB], GOOD, True),
        ([GOOD_WEB, PROXY], GOOD, True),
        ([BAD_WEB], GOOD, False),
        ([GOOD_WEB, PROXY], {**GOOD, "proxy": "shop/proxy:10"}, False),
        ([GOOD_WEB], {**GOOD, "db": "shop/db:1"}, True),
        ([GOOD_WEB], {}, False),
        ([GOOD_WEB], {"wbe": "shop/web:1.2"}, False),
        ([], GOOD, False),
    ],
)
def test_a_pod_is_the_cure_when_a_known_good_image_is_named_for_it_and_runs(
    containers: list[Json], images: dict[str, str], *, good: bool
) -> None:
    assert known_good(pod(containers=containers), images) is good


def test_a_template_runs_the_images_that_are_named_for_its_containers() -> None:
    assert runs(WEB["spec"]["template"], {}) is True
    assert runs(WEB["spec"]["template"], GOOD) is False
    assert runs(WEB["spec"]["template"], {"proxy": "shop/proxy:9"}) is True


# --- the verdict


def test_a_workload_with_a_ready_pod_outside_quarantine_is_back() -> None:
    assert judge(facts(pods=(fresh(), DETACHED)), GOOD, back=True) == Verdict(
        "Recovered", "True", "Ready", "Deployment web: 1 Ready, none quarantined"
    )


@pytest.mark.parametrize(
    ("pods", "back"),
    [
        ((fresh(),), False),
        ((), True),
        ((DETACHED,), True),
        ((fresh(ready=False),), True),
        ((fresh("web-1"), fresh("web-2", ready=False)), True),
    ],
)
def test_a_workload_on_its_way_is_neither_back_nor_lost(pods: tuple[Pod, ...], *, back: bool) -> None:
    assert judge(facts(pods=pods), GOOD, back=back) is None


def test_a_pod_on_its_way_out_does_not_hold_up_the_verdict() -> None:
    leaving = fresh("web-0", BAD_WEB, ready=False)
    leaving.raw["metadata"]["deletionTimestamp"] = NOW
    verdict = judge(facts(pods=(leaving, fresh())), GOOD, back=True)
    assert verdict is not None
    assert verdict.holds


def test_a_fresh_pod_under_quarantine_serves_nobody() -> None:
    cut = pod(labels={"quarantine.firebreak.dev/x": "true"}, status=fresh().status, containers=[GOOD_WEB])
    assert judge(facts(pods=(cut,)), GOOD, back=True) == Verdict(
        "Recovered", "False", "UnderQuarantine", "web-1 is under quarantine"
    )


def test_a_fresh_pod_with_another_image_is_not_the_cure() -> None:
    assert judge(facts(pods=(fresh("web-1", BAD_WEB),)), GOOD, back=True) == Verdict(
        "Recovered", "False", "OtherImage", "web-1 does not run the image that was asked for"
    )


@pytest.mark.parametrize(
    ("stuck", "images", "words"),
    [
        (facts(pods=(fresh("web-1", BAD_WEB),)), {"wbe": "shop/web:1.2"}, "replace.images of the playbook names no"),
        (facts(SET, held=(pod("db-0", owner=("StatefulSet", "db")),), pods=(fresh(),)), {}, "StatefulSet db makes no"),
    ],
)
def test_what_only_a_person_can_bring_back_is_said_at_once_and_never_called_back(
    stuck: Workload, images: dict[str, str], words: str
) -> None:
    verdict = judge(stuck, images, back=True)
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("False", "ByHand")
    assert verdict.message.startswith(words)


@pytest.mark.parametrize(
    ("image_id", "believed"),
    [(f"docker.io/shop/web@{DIGEST}", True), ("docker.io/shop/web@sha256:bbbb", False), ("", False)],
)
def test_an_image_by_digest_is_believed_when_the_node_reports_it(image_id: str, *, believed: bool) -> None:
    container = {"name": "web", "image": f"shop/web@{DIGEST}"}
    verdict = judge(facts(pods=(fresh("web-1", container, image_id=image_id),)), PINNED, back=True)
    assert verdict is not None
    assert verdict.holds is believed


def test_without_a_known_good_image_a_fresh_ready_pod_will_do() -> None:
    verdict = judge(facts(pods=(fresh("web-1", BAD_WEB),)), {}, back=True)
    assert verdict is not None
    assert verdict.reason == "Ready"
