"""What stands around a pod, in the evidence: as it was met, though by then it is detached and has lost its rights."""

import json
from typing import Any

from fake_api import ExecSession, FakeApi
from firebreak.evidence.store import EvidenceStore
from harness import replica
from world import BINDING_PATH, incident, shop

Json = dict[str, Any]


async def surroundings(store: EvidenceStore) -> Json:
    """The one document of that name in the store."""
    keys = [found.key for found in await store.list("incidents") if "/objects/" in found.key]
    (key,) = (key for key in keys if "/surroundings.json" in key)
    document: Json = json.loads(await store.read(key))
    return document


async def test_bindings_stand_there_as_they_were_although_the_account_was_revoked_first(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    everybody = {"kind": "Group", "name": "system:serviceaccounts:shop", "apiGroup": "rbac.authorization.k8s.io"}
    fake.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "everybody", "namespace": "shop"},
            "roleRef": role,
            "subjects": [everybody],
        }
    )

    async def after_the_revocation(session: ExecSession) -> None:
        await fake.called(lambda call: call.line == f"PATCH {BINDING_PATH}")
        await session.exit(127)

    fake.containers.on_exec = after_the_revocation
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: bool(s.get("evidence", {}).get("seal")))
    found = {binding["metadata"]["name"]: binding for binding in (await surroundings(store))["rights"]}
    account, alice = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}, {"kind": "User", "name": "alice"}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert set(found) == {"web-reader", "everybody"}
    assert found["web-reader"]["before"] == {"subjects": [account, alice], "roleRef": role}
    assert (found["web-reader"]["subjects"], found["web-reader"]["rules"]) == ([alice], rules)
    assert (found["everybody"]["subjects"], found["everybody"]["rules"]) == ([everybody], rules)


async def test_owners_stand_there_although_the_pod_was_let_go_when_it_was_detached(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)

    async def after_it_was_let_go(session: ExecSession) -> None:
        await firebreak.until("shell", lambda s: s.get("steps", {}).get("quarantine", {}).get("state") == "Done")
        fake.update("Pod", "shop", "web-1", {"metadata": {"ownerReferences": None}})  # as its ReplicaSet does
        await session.exit(127)

    fake.containers.on_exec = after_it_was_let_go
    async with replica(fake, store) as firebreak:
        fake.put(incident())
        await firebreak.until("shell", lambda s: bool(s.get("evidence", {}).get("seal")))
    owners = (await surroundings(store))["owners"]
    assert [(each["kind"], each["metadata"]["name"]) for each in owners] == [
        ("ReplicaSet", "web-5d"),
        ("Deployment", "web"),
    ]
