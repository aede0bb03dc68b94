"""Capture: what is preserved of a pod, in the order in which it vanishes."""

from typing import Any

import pytest

from builders import NOW, pod, running
from firebreak.model.pod import Pod
from firebreak.steps.capture import Kind, Request, plan

Json = dict[str, Any]

WEB, PROXY = {"name": "web"}, {"name": "proxy"}
ONE = pod("web-1", status=running("web", "proxy", restarted=("web",)), containers=[WEB, PROXY])
TWO = pod("web-2", status=running("web"), containers=[WEB])


def names(*waves: tuple[Request, ...]) -> list[list[str]]:
    return [[request.name for request in wave] for wave in waves]


def test_what_dies_first_is_taken_first_of_all_pods_and_long_copies_last() -> None:
    assert names(*plan((ONE, TWO), files=True)) == [
        [
            "pods/web-1-uid-web-1/volatile/web.txt",
            "pods/web-1-uid-web-1/volatile/proxy.txt",
            "pods/web-2-uid-web-2/volatile/web.txt",
        ],
        [
            "pods/web-1-uid-web-1/pod.json",
            "pods/web-1-uid-web-1/logs/web.previous.log",
            "pods/web-1-uid-web-1/logs/web.current.log",
            "pods/web-1-uid-web-1/logs/proxy.current.log",
            "pods/web-1-uid-web-1/describe.txt",
            "pods/web-1-uid-web-1/surroundings.json",
            "pods/web-2-uid-web-2/pod.json",
            "pods/web-2-uid-web-2/logs/web.current.log",
            "pods/web-2-uid-web-2/describe.txt",
            "pods/web-2-uid-web-2/surroundings.json",
        ],
        [
            "pods/web-1-uid-web-1/files/web.tar",
            "pods/web-1-uid-web-1/files/proxy.tar",
            "pods/web-2-uid-web-2/files/web.tar",
        ],
    ]


def test_without_paths_no_files_are_copied() -> None:
    assert names(*plan((TWO,), files=False))[2] == []


def test_every_request_says_where_it_comes_from_and_what_it_is() -> None:
    requests = {r.name.rpartition("uid-web-1/")[2]: r for wave in plan((ONE,), files=True) for r in wave}
    assert {name: (r.kind, r.media_type, r.container, r.previous) for name, r in requests.items()} == {
        "volatile/web.txt": (Kind.VOLATILE, "text/plain", "web", False),
        "volatile/proxy.txt": (Kind.VOLATILE, "text/plain", "proxy", False),
        "pod.json": (Kind.POD, "application/json", None, False),
        "logs/web.previous.log": (Kind.LOG, "text/plain", "web", True),
        "logs/web.current.log": (Kind.LOG, "text/plain", "web", False),
        "logs/proxy.current.log": (Kind.LOG, "text/plain", "proxy", False),
        "describe.txt": (Kind.DESCRIBE, "text/plain", None, False),
        "surroundings.json": (Kind.SURROUNDINGS, "application/json", None, False),
        "files/web.tar": (Kind.FILES, "application/x-tar", "web", False),
        "files/proxy.tar": (Kind.FILES, "application/x-tar", "proxy", False),
    }


def test_logs_are_taken_of_containers_of_all_kinds_that_ever_started() -> None:
    status = {
        "initContainerStatuses": [{"name": "migrate", "containerID": "containerd://1", "restartCount": 0}],
        "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        "ephemeralContainerStatuses": [{"name": "debug", "containerID": "containerd://2"}],
    }
    documents = plan((pod(status=status),), files=True)[1]
    assert [r.container for r in documents if r.kind is Kind.LOG] == ["migrate", "debug"]


def looked_into(one: Pod) -> list[str | None]:
    """The containers that are looked into, for what is volatile and for files alike."""
    volatile, _, files = plan((one,), files=True)
    assert [r.container for r in volatile] == [r.container for r in files]
    return [r.container for r in volatile]


def test_a_container_that_does_not_run_is_asked_for_so_that_what_cannot_be_had_is_a_gap() -> None:
    crashing = {"name": "web", "containerID": "containerd://1", "restartCount": 4}
    crashing["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {"containerStatuses": [crashing, *running("proxy")["containerStatuses"]]}
    assert looked_into(pod(status=status, containers=[WEB, PROXY])) == ["proxy", "web"]


def test_the_containers_of_a_finished_pod_are_gaps_too() -> None:
    ended = {"name": "web", "containerID": "containerd://1", "state": {"terminated": {"exitCode": 137}}}
    assert looked_into(pod(status={"phase": "Failed", "containerStatuses": [ended]}, containers=[WEB])) == ["web"]


def test_sidecars_and_ephemeral_containers_are_looked_into_like_others() -> None:
    sidecar = {"name": "mesh", "restartPolicy": "Always"}
    lists: dict[str, Any] = {
        "initContainers": [sidecar],
        "containers": [WEB],
        "ephemeralContainers": [{"name": "debug"}],
    }
    assert looked_into(pod(**lists)) == ["mesh", "web", "debug"]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"containerID": "containerd://1", "state": {"terminated": {"exitCode": 0}}}, []),
        ({"state": {"waiting": {"reason": "PodInitializing"}}}, []),
        ({"containerID": "containerd://1", "state": {"running": {"startedAt": NOW}}}, ["migrate"]),
        ({"containerID": "containerd://1", "state": {"terminated": {"exitCode": 1}}}, ["migrate"]),
        ({"containerID": "containerd://1", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}, ["migrate"]),
    ],
)
def test_an_init_container_is_looked_into_while_it_works_and_when_it_failed(status: Json, wanted: list[str]) -> None:
    statuses = {"initContainerStatuses": [{"name": "migrate", **status}]}
    assert looked_into(pod(status=statuses, initContainers=[{"name": "migrate"}])) == wanted


def test_a_pod_that_never_started_still_gives_its_documents() -> None:
    assert [len(wave) for wave in plan((pod(),), files=True)] == [0, 3, 0]


def test_two_pods_of_one_name_have_evidence_apart() -> None:
    first, second = pod("db-0"), pod("db-0")
    second.raw["metadata"]["uid"] = "uid-second"
    every = [request.name for wave in plan((first, second), files=True) for request in wave]
    assert len(every) == len(set(every)) == 6
