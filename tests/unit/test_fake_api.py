"""The fake API server itself: its journal, its faults, its watches. Likeness to the real one: tests/contract."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fake_api import Answer, Call, Close, ExecSession, Expire, FakeApi, Fault, Hold, Stale, always

POD_PATH = "/api/v1/namespaces/shop/pods/web"
MERGE = {"Content-Type": "application/merge-patch+json"}
WEB: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "uid": "uid-1", "labels": {"app": "web"}},
    "spec": {"nodeName": "n0", "containers": [{"name": "app", "image": "shop/web:1"}]},
    "status": {"phase": "Running"},
}
POLICY = {"metadata": {"name": "cut"}, "spec": {"podSelector": {}}}


@pytest.fixture
async def http(fake: FakeApi) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=fake.url, timeout=aiohttp.ClientTimeout(5)) as session:
        yield session


async def label(http: aiohttp.ClientSession, value: str) -> int:
    body = json.dumps({"metadata": {"labels": {"cut": value}}})
    async with http.patch(POD_PATH, data=body, headers=MERGE) as response:
        return response.status


def is_patch(call: Call) -> bool:
    return call.verb == "patch"


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    event = json.loads(await response.content.readline())
    return event["type"], event["object"]


async def test_every_request_is_in_the_journal_in_the_order_it_came(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    await label(http, "yes")
    await http.get("/api/v1/pods", params={"labelSelector": "app=web"})
    await http.post("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", json=POLICY)
    assert [(call.n, call.verb, call.line, call.status) for call in fake.calls] == [
        (1, "patch", "PATCH /api/v1/namespaces/shop/pods/web", 200),
        (2, "list", "GET /api/v1/pods", 200),
        (3, "create", "POST /apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", 201),
    ]
    patch, listing, creation = fake.calls
    assert (patch.content_type, patch.body) == (
        "application/merge-patch+json",
        {"metadata": {"labels": {"cut": "yes"}}},
    )
    assert listing.query == {"labelSelector": "app=web"}
    assert fake.writes == (patch, creation)


async def test_two_calls_at_once_are_seen_to_overlap_and_two_in_turn_are_not(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    fake.put(WEB)
    release = asyncio.Event()
    fake.faults.add(Fault(when=is_patch, how=Hold(release), times=2))
    both = asyncio.gather(label(http, "a"), label(http, "b"))
    await fake.called(is_patch, times=2)
    release.set()
    assert list(await both) == [200, 200]
    await label(http, "c")
    first, second, third = fake.calls
    assert first.overlaps(second)
    assert not first.overlaps(third)
    assert not third.overlaps(second)


async def test_an_answer_before_the_effect_leaves_the_object_alone(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    fake.faults.add(Fault(when=is_patch, how=Answer(429, retry_after=2), times=1))
    async with http.patch(POD_PATH, data='{"metadata":{"labels":{"cut":"yes"}}}', headers=MERGE) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "2")
        assert (await response.json())["reason"] == "TooManyRequests"
    assert fake.get("Pod", "shop", "web")["metadata"]["labels"] == {"app": "web"}
    assert await label(http, "yes") == 200
    assert [call.status for call in fake.calls] == [429, 200]


async def test_an_answer_after_the_effect_lies_about_what_was_done(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    fake.faults.add(Fault(when=is_patch, how=Answer(500, after_effect=True)))
    assert await label(http, "yes") == 500
    assert fake.get("Pod", "shop", "web")["metadata"]["labels"] == {"app": "web", "cut": "yes"}


@pytest.mark.parametrize(("after_effect", "labels"), [(False, {"app": "web"}), (True, {"app": "web", "cut": "y"})])
async def test_a_closed_connection_gives_no_answer(
    fake: FakeApi, http: aiohttp.ClientSession, *, after_effect: bool, labels: dict[str, str]
) -> None:
    fake.put(WEB)
    fake.faults.add(Fault(when=is_patch, how=Close(after_effect=after_effect)))
    with pytest.raises(aiohttp.ClientConnectionError):
        await label(http, "y")
    assert fake.get("Pod", "shop", "web")["metadata"]["labels"] == labels
    assert fake.calls[0].status is None


@pytest.mark.parametrize(("effect", "done"), [(False, ["1"]), (True, ["1", "2"])])
async def test_a_crash_comes_at_the_call_that_was_named(
    fake: FakeApi, http: aiohttp.ClientSession, *, effect: bool, done: list[str]
) -> None:
    died: list[int] = []
    fake.crash_after(2, lambda call: died.append(call.n), effect=effect, counting=lambda call: call.is_write)
    path = "/api/v1/namespaces/default/configmaps"
    await http.get(path)
    await http.post(path, json={"metadata": {"name": "1"}})
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(path, json={"metadata": {"name": "2"}})
    assert died == [3]
    assert [item["metadata"]["name"] for item in fake.list("ConfigMap", "default")] == done


async def test_a_stale_read_shows_the_version_before(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    fake.update("Pod", "shop", "web", {"metadata": {"labels": {"cut": "yes"}}})
    fake.faults.add(Fault(when=always, how=Stale(), times=2))
    async with http.get(POD_PATH) as response:
        assert (await response.json())["metadata"]["labels"] == {"app": "web"}
    async with http.get("/api/v1/pods", params={"labelSelector": "cut"}) as response:
        assert (await response.json())["items"] == []
    async with http.get(POD_PATH) as response:
        assert (await response.json())["metadata"]["labels"] == {"app": "web", "cut": "yes"}


async def test_a_watch_sees_what_somebody_else_does(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    async with http.get("/api/v1/pods", params={"watch": "1", "fieldSelector": "spec.nodeName=n1"}) as watch:
        fake.update("Pod", "shop", "web", {"spec": {"nodeName": "n1"}})
        kind, pod = await next_event(watch)
        assert (kind, pod["metadata"]["name"], pod["spec"]["nodeName"]) == ("ADDED", "web", "n1")
        fake.delete("Pod", "shop", "web")
        kind, pod = await next_event(watch)
        assert (kind, pod["metadata"]["uid"]) == ("DELETED", "uid-1")


async def test_a_dropped_watch_shows_nothing_later_and_can_be_taken_up_again(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    version = fake.put(WEB)["metadata"]["resourceVersion"]
    params = {"watch": "1", "resourceVersion": version}
    async with http.get("/api/v1/pods", params=params) as watch:
        await fake.watched("pods")
        fake.drop_watches("pods")
        fake.update("Pod", "shop", "web", {"metadata": {"labels": {"app": None}}})
        with pytest.raises(aiohttp.ClientError):
            await watch.content.readline()
    async with http.get("/api/v1/pods", params=params) as watch:
        kind, pod = await next_event(watch)
    assert kind == "MODIFIED"
    assert "labels" not in pod["metadata"]


async def test_a_watch_whose_client_has_gone_is_forgotten(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/pods", params={"watch": "1"}):
        await fake.watched("pods")
        assert fake.open_watches == 1
    async with http.get("/api/v1/pods"):
        assert fake.open_watches == 0


async def test_an_expired_watch_ends_with_410_and_the_old_version_stays_refused(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    version = fake.put(WEB)["metadata"]["resourceVersion"]
    fake.update("Pod", "shop", "web", {"status": {"phase": "Failed"}})
    params = {"watch": "1", "resourceVersion": version}
    async with http.get("/api/v1/pods", params=params) as watch:
        assert (await next_event(watch))[0] == "MODIFIED"
        fake.expire_watches()
        kind, status = await next_event(watch)
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert await watch.content.read() == b""
    async with http.get("/api/v1/pods", params=params) as watch:
        assert (await next_event(watch))[1]["code"] == 410


async def test_one_watch_can_be_refused_with_410(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.faults.add(Fault(when=lambda call: call.verb == "watch", how=Expire(), times=1))
    async with http.get("/api/v1/pods", params={"watch": "1"}) as watch:
        assert (await next_event(watch))[0] == "ERROR"


async def test_held_deletions_leave_a_terminating_pod_until_it_is_removed(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    fake.put(WEB)
    fake.hold_deletions = True
    async with http.delete(POD_PATH) as response:
        assert (await response.json())["metadata"]["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in fake.get("Pod", "shop", "web")["metadata"]
    fake.delete("Pod", "shop", "web")
    assert fake.find("Pod", "shop", "web") is None


async def test_a_seeded_object_keeps_its_uid_and_another_uid_is_another_object(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    assert fake.put(WEB)["metadata"]["uid"] == "uid-1"
    async with http.get("/api/v1/pods", params={"watch": "1"}) as watch:
        await next_event(watch)
        fake.put({**WEB, "metadata": {**WEB["metadata"], "uid": "uid-2"}})
        seen = [await next_event(watch), await next_event(watch)]
    assert [(kind, pod["metadata"]["uid"]) for kind, pod in seen] == [("DELETED", "uid-1"), ("ADDED", "uid-2")]


async def test_logs_are_those_that_the_test_gave(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    fake.put(WEB)
    fake.containers.logs["shop", "web", "app", False] = b"line\n"
    async with http.get(POD_PATH + "/log") as response:
        assert await response.read() == b"line\n"
    async with http.get(POD_PATH + "/log", params={"container": "app", "previous": "true"}) as response:
        assert (await response.json())["message"] == ('previous terminated container "app" in pod "web" not found')


async def test_exec_is_answered_by_the_tests_own_handler(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    async def shell(session: ExecSession) -> None:
        await session.stdout(" ".join(session.command).encode())
        await session.exit(3)

    fake.put(WEB)
    fake.containers.on_exec = shell
    query = [("command", "ps"), ("command", "-ef"), ("container", "app"), ("stdout", "true")]
    async with http.ws_connect(f"{POD_PATH}/exec", params=query, protocols=["v5.channel.k8s.io"]) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        assert await socket.receive_bytes() == b"\x01ps -ef"
        status = await socket.receive_bytes()
        assert status[:1] == b"\x03"
        assert json.loads(status[1:])["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert (fake.calls[0].verb, fake.calls[0].resource) == ("get", "pods/exec")


async def test_access_is_judged_by_the_stored_bindings_or_by_the_test(
    fake: FakeApi, http: aiohttp.ClientSession
) -> None:
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    spec = {
        "user": "system:serviceaccount:shop:web",
        "resourceAttributes": {"namespace": "shop", "verb": "get", "resource": "secrets"},
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": "shop"},
    }
    fake.put({**role, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]})
    fake.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "shop"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "web"}],
        }
    )
    async with http.post(path, json={"spec": spec}) as response:
        assert (await response.json())["status"] == {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "b/shop" of Role "r" to ServiceAccount "web/shop"',
        }
    fake.update("RoleBinding", "shop", "b", {"subjects": []})
    async with http.post(path, json={"spec": spec}) as response:
        assert (await response.json())["status"] == {"allowed": False}
    fake.authorize("SubjectAccessReview", lambda asked: (True, asked["user"]))
    async with http.post(path, json={"spec": spec}) as response:
        assert (await response.json())["status"]["reason"] == "system:serviceaccount:shop:web"
    assert fake.writes == ()


async def test_both_event_apis_show_the_same_events(fake: FakeApi, http: aiohttp.ClientSession) -> None:
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "note": "cut off",
        "reportingController": "firebreak",
    }
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    async with http.post("/apis/events.k8s.io/v1/namespaces/shop/events", json=event) as response:
        assert (await response.json())["note"] == "cut off"
    params = {"fieldSelector": "involvedObject.name=web"}
    async with http.get("/api/v1/namespaces/shop/events", params=params) as response:
        (item,) = (await response.json())["items"]
    assert (item["message"], item["reportingComponent"]) == ("cut off", "firebreak")
