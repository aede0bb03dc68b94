"""What the guard rails read: sizes of workloads, who stands behind webhooks and the store, the pods behind Services."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fake_api import Answer, FakeApi, Fault, Obj
from firebreak.kube.client import Api
from firebreak.kube.protected import behind, read
from firebreak.model.pod import Pod
from firebreak.model.rails import Backend, Protected, Size
from harness import connect
from world import service, web_pod

STORE = {("shop", "minio"): "it stands before the evidence store"}


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[Api]:
    async with connect(fake) as connected:
        yield connected


def apps(kind: str, name: str, owner: str = "", **rest: Any) -> Obj:
    metadata: Obj = {"name": name, "namespace": "shop"}
    if owner:
        owned_by = {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "uid": f"uid-{owner}"}
        metadata["ownerReferences"] = [{**owned_by, "controller": True}]
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, **rest}


async def test_workloads_are_sized_by_the_controllers_that_name_their_pods(fake: FakeApi, api: Api) -> None:
    """A Deployment is as large as its ReplicaSets together: in a rollout its pods are of two."""
    fake.put(apps("ReplicaSet", "web-5d", "web", spec={"replicas": 3}))
    fake.put(apps("ReplicaSet", "web-6e", "web", spec={"replicas": 1}))
    fake.put(apps("ReplicaSet", "alone", spec={"replicas": 2}))
    fake.put(apps("StatefulSet", "db", spec={"replicas": 5}))
    fake.put(apps("DaemonSet", "log", spec={}, status={"desiredNumberScheduled": 7}))
    fake.put(apps("StatefulSet", "odd", spec={"replicas": "many"}))
    known, problems = await read(api, Protected(), {}, ["shop", "empty"])
    assert problems == []
    assert known.sizes == {
        "shop": {
            "web-5d": Size("Deployment web", 4),
            "web-6e": Size("Deployment web", 4),
            "alone": Size("ReplicaSet alone", 2),
            "db": Size("StatefulSet db", 5),
            "log": Size("DaemonSet log", 7),
            "odd": Size("StatefulSet odd", 0),
        },
        "empty": {},
    }


async def test_sizes_that_cannot_be_read_stay_as_they_were_and_that_is_said(fake: FakeApi, api: Api) -> None:
    fake.put(service("minio", app="minio"))
    fake.put(web_pod("minio-1", labels={"app": "minio"}))
    fake.faults.add(Fault(when=lambda c: c.resource == "statefulsets", how=Answer(403, message="no right")))
    before = Protected(sizes={"shop": {"web-5d": Size("Deployment web", 4)}})
    known, problems = await read(api, before, STORE, ["shop"])
    assert known.sizes == before.sizes
    assert known.backends == (Backend("shop", {"app": "minio"}, "it stands before the evidence store"),)
    assert known.pods == {("shop", "minio-1"): "it stands before the evidence store"}
    assert len(problems) == 1
    assert "no right" in problems[0]


async def test_the_pods_behind_services_are_listed_once_however_many_services_there_are(
    fake: FakeApi, api: Api
) -> None:
    """Whoever may create Services must not make one cut cost a list for each."""
    fake.put(web_pod("web-1"))
    fake.put(web_pod("web-2", labels={"app": "web", "canary": "yes"}))
    fake.put({**web_pod("web-3"), "status": {"phase": "Succeeded"}})
    fake.put({**web_pod("web-4"), "status": {"phase": "Failed"}})
    fake.put(web_pod("db-1", labels={"app": "db"}))
    for n in range(20):
        fake.put(service(f"web-{n:02}", app="web"))
    fake.put(service("canary", app="web", canary="yes"))
    fake.put(service("db", app="db"))
    fake.put(service("headless"))
    cut = Pod(fake.get("Pod", "shop", "web-2"))
    found = await behind(api, "shop", [cut])
    names = {name: [pod.name for pod in pods] for name, pods in found.items()}
    assert names == {f"web-{n:02}": ["web-1", "web-2"] for n in range(20)} | {"canary": ["web-2"]}
    assert found["canary"][0].uid == cut.uid
    assert sorted(call.resource for call in fake.calls) == ["pods", "services"]
