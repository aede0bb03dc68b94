"""What accounts may do is read once for all of them, and each role once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from fake_api import Answer, Call, FakeApi, Fault, Hold, Obj
from firebreak.kube.errors import Forbidden
from firebreak.kube.rights import Bindings, rights_of, sharers
from firebreak.model.facts import Account
from firebreak.model.names import IncidentRef
from harness import PATIENCE, connect
from world import UID, shop, web_pod

INCIDENT = IncidentRef("shop", "shell", UID)
WEB, API = Account("shop", "web"), Account("shop", "api")
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
METRICS = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}


def bound(kind: str, name: str, role: str, *subjects: Obj, **metadata: Any) -> Obj:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind.removesuffix("Binding"), "name": role}
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name, **metadata}}
    return {**head, "roleRef": reference, "subjects": list(subjects)}


def account(name: str) -> Obj:
    return {"kind": "ServiceAccount", "name": name, "namespace": "shop"}


async def test_the_bindings_are_read_once_for_all_accounts_and_each_role_once(fake: FakeApi) -> None:
    shop(fake)
    fake.put({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scraper"}})
    fake.update("ClusterRole", "", "scraper", {"rules": [METRICS]})
    fake.put(bound("RoleBinding", "api-reader", "reader", account("api"), namespace="shop"))
    for number in range(3):
        everybody = {"kind": "Group", "name": "system:authenticated"}
        fake.put(bound("ClusterRoleBinding", f"everybody-{number}", "scraper", everybody))
    async with connect(fake) as api:
        web, other = await rights_of(Bindings(api), INCIDENT, [WEB, API], ["RoleBinding shop/gone"])
    asked = Counter(f"{call.verb} {call.resource}" for call in fake.calls)
    assert asked == {"list rolebindings": 1, "list clusterrolebindings": 1, "get roles": 1, "get clusterroles": 1}
    assert [(g.ref.name, g.rules) for g in web.grants] == [("web-reader", (PODS,))]
    assert [(g.ref.name, g.rules) for g in other.grants] == [("api-reader", (PODS,))]
    assert [(g.ref.name, g.rules) for g in web.shared] == [(f"everybody-{n}", (METRICS,)) for n in range(3)]
    assert web.shared == other.shared


def lists(call: Call) -> bool:
    return call.resource.startswith("rolebindings") and call.verb == "list"


async def names(asked: Awaitable[list[Obj]]) -> list[str]:
    return sorted(binding["metadata"]["name"] for binding in await asked)


async def test_one_reading_is_for_all_who_asked_before_it_began_and_for_nobody_else(fake: FakeApi) -> None:
    """Who asks while one is under way may ask about what it did not see any more."""
    shop(fake)
    answered = asyncio.Event()
    fake.faults.add(Fault(when=lists, how=Hold(answered), times=1))
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        bindings = Bindings(api)
        first = asyncio.create_task(names(bindings.read()))
        await fake.called(lists)
        late = [asyncio.create_task(names(bindings.read())) for _ in range(5)]
        await asyncio.sleep(0)
        fake.put(bound("RoleBinding", "new", "reader", account("web"), namespace="shop"))
        answered.set()
        await first
        assert await asyncio.gather(*late) == [["new", "web-reader"]] * 5
    assert len([call for call in fake.calls if lists(call)]) == 2


async def test_a_reading_of_a_moment_ago_is_for_those_only_whom_it_suffices(fake: FakeApi) -> None:
    shop(fake)
    async with connect(fake) as api:
        bindings = Bindings(api)
        await bindings.read()
        fake.put(bound("RoleBinding", "new", "reader", account("web"), namespace="shop"))
        assert await names(bindings.read(kept=True)) == ["web-reader"]
        assert await names(bindings.read()) == ["new", "web-reader"]


async def test_a_reading_that_failed_or_was_given_up_is_nobodys_but_theirs_who_waited_for_it(fake: FakeApi) -> None:
    shop(fake)
    answered = asyncio.Event()
    fake.faults.add(Fault(when=lists, how=Hold(answered), times=1))
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        bindings = Bindings(api)
        given_up = asyncio.create_task(names(bindings.read()))
        await fake.called(lists)
        given_up.cancel()
        fake.faults.add(Fault(when=lists, how=Answer(403), times=1))
        refused = await asyncio.gather(*(names(bindings.read()) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in refused] == [Forbidden] * 3
        assert await names(bindings.read(kept=True)) == ["web-reader"]
    assert len([call for call in fake.calls if lists(call)]) == 3


async def test_a_binding_that_named_an_account_before_it_was_shrunk_is_asked_about_still(fake: FakeApi) -> None:
    shop(fake)
    fake.update("RoleBinding", "shop", "web-reader", {"subjects": []})
    async with connect(fake) as api:
        (before,) = await rights_of(Bindings(api), INCIDENT, [WEB])
        (after,) = await rights_of(Bindings(api), INCIDENT, [WEB], ["RoleBinding shop/web-reader"])
    assert before.grants == ()
    assert [(g.ref.name, g.rules) for g in after.grants] == [("web-reader", (PODS,))]


async def test_a_binding_whose_role_is_gone_gives_nothing(fake: FakeApi) -> None:
    shop(fake)
    fake.delete("Role", "shop", "reader")
    async with connect(fake) as api:
        (web,) = await rights_of(Bindings(api), INCIDENT, [WEB])
    assert [(g.ref.name, g.rules) for g in web.grants] == [("web-reader", ())]


async def test_who_else_runs_as_an_account_is_named_without_the_incidents_own_pods(fake: FakeApi) -> None:
    shop(fake)
    fake.put({**web_pod("lone"), "metadata": {"name": "lone", "namespace": "shop"}})
    ours = [fake.get("Pod", "shop", name)["metadata"]["uid"] for name in ("web-1", "web-2")]
    async with connect(fake) as api:
        assert await sharers(api, WEB, ours) == {"Pod lone"}
        assert await sharers(api, API, ours) == set()
