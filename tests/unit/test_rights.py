"""What accounts may do is read once for all of them, and each role once."""

from collections import Counter
from typing import Any

from fake_api import FakeApi, Obj
from firebreak.kube.rights import rights_of, sharers
from firebreak.model.facts import Account
from firebreak.model.names import IncidentRef
from harness import connect
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
        web, other = await rights_of(api, INCIDENT, [WEB, API], ["RoleBinding shop/gone"])
    asked = Counter(f"{call.verb} {call.resource}" for call in fake.calls)
    assert asked == {"list rolebindings": 1, "list clusterrolebindings": 1, "get roles": 1, "get clusterroles": 1}
    assert [(g.ref.name, g.rules) for g in web.grants] == [("web-reader", (PODS,))]
    assert [(g.ref.name, g.rules) for g in other.grants] == [("api-reader", (PODS,))]
    assert [(g.ref.name, g.rules) for g in web.shared] == [(f"everybody-{n}", (METRICS,)) for n in range(3)]
    assert web.shared == other.shared


async def test_a_binding_that_named_an_account_before_it_was_shrunk_is_asked_about_still(fake: FakeApi) -> None:
    shop(fake)
    fake.update("RoleBinding", "shop", "web-reader", {"subjects": []})
    async with connect(fake) as api:
        (before,) = await rights_of(api, INCIDENT, [WEB])
        (after,) = await rights_of(api, INCIDENT, [WEB], ["RoleBinding shop/web-reader"])
    assert before.grants == ()
    assert [(g.ref.name, g.rules) for g in after.grants] == [("web-reader", (PODS,))]


async def test_a_binding_whose_role_is_gone_gives_nothing(fake: FakeApi) -> None:
    shop(fake)
    fake.delete("Role", "shop", "reader")
    async with connect(fake) as api:
        (web,) = await rights_of(api, INCIDENT, [WEB])
    assert [(g.ref.name, g.rules) for g in web.grants] == [("web-reader", ())]


async def test_who_else_runs_as_an_account_is_named_without_the_incidents_own_pods(fake: FakeApi) -> None:
    shop(fake)
    fake.put({**web_pod("lone"), "metadata": {"name": "lone", "namespace": "shop"}})
    ours = [fake.get("Pod", "shop", name)["metadata"]["uid"] for name in ("web-1", "web-2")]
    async with connect(fake) as api:
        assert await sharers(api, WEB, ours) == {"Pod lone"}
        assert await sharers(api, API, ours) == set()
