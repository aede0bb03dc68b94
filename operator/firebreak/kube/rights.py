"""What accounts may do: bindings, the rules of their roles, who shares an account, and the API server's answers."""

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.facts import Account, Answer, Grant, Rights
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps.revoke import names


async def rights_of(
    api: Api, incident: IncidentRef, accounts: Iterable[Account], revoked: Iterable[str] = ()
) -> list[Rights]:
    """Read what accounts may do, from one reading of the bindings for all of them; who shares them is left open.

    `revoked` names bindings (as `str(Ref)`) that named an account before they were shrunk.
    """
    asked, before = list(accounts), frozenset(revoked)
    if not asked:
        return []
    listed = await asyncio.gather(*(api.list_all(kind) for kind in _BINDINGS))
    bindings = [{"kind": kind, **item} for kind, items in zip(_BINDINGS, listed, strict=True) for item in items]
    roles = _Roles(api)
    return [await _rights(incident, account, bindings, before, roles) for account in asked]


_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


class _Roles:
    """The rules of roles, each read once: a few roles stand behind most bindings."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[Ref, tuple[Json, ...]] = {}

    async def grant(self, binding: Json) -> Grant:
        """Return what a binding gives: nothing when its role is gone."""
        role = binding["roleRef"]
        ref = Ref(role["kind"], role["name"], binding["metadata"].get("namespace") if role["kind"] == "Role" else None)
        if ref not in self._known:
            self._known[ref] = tuple((await find(self._api, ref) or {}).get("rules") or [])
        return Grant(binding, self._known[ref])


async def _rights(
    incident: IncidentRef, account: Account, bindings: Iterable[Json], before: AbstractSet[str], roles: _Roles
) -> Rights:
    grants: list[Grant] = []
    shared: list[Grant] = []
    for binding in bindings:
        subjects = binding.get("subjects") or []
        if any(names(s, account, binding) for s in subjects) or str(Grant(binding, ()).ref) in before:
            grants.append(await roles.grant(binding))
        elif any(s.get("kind") == "Group" and s.get("name") in account.groups for s in subjects):
            shared.append(await roles.grant(binding))
    return Rights(incident, account, tuple(grants), shared=tuple(shared))


async def sharers(api: Api, account: Account, pods: Iterable[str]) -> set[str]:
    """Return who else runs as an account, in words. `pods`: the uids of the incident's own."""
    ours = set(pods)
    others = await api.list_all("Pod", account.namespace, fields=f"spec.serviceAccountName={account.name}")
    return {pod.known_as for pod in map(Pod, others) if pod.uid not in ours}


async def ask(api: Api, question: Json) -> Answer:
    """Ask whether an identity may do something."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": question}
    status = (await api.create("SubjectAccessReview", None, body)).get("status") or {}
    return Answer(question, bool(status.get("allowed")), str(status.get("reason", "")))
