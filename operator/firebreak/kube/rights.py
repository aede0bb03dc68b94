"""What accounts may do: bindings, the rules of their roles, who shares an account, and the API server's answers."""

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.lists import Shared
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.facts import Account, Answer, Grant, Rights
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps.revoke import names

_BINDINGS = ("RoleBinding", "ClusterRoleBinding")
KEPT = 10.0  # seconds that a reading is kept for who may do with it


class Bindings:
    """All bindings of the cluster. One reading is for all who asked before it began: a storm costs a few of them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._readings = Shared[list[Json]]()
        self._last: list[Json] | None = None
        self._number = 0  # of the last reading

    async def read(self, *, kept: bool = False) -> list[Json]:
        """Return them as they are now, or, if `kept` will do, as they were seconds ago. Raises `ApiError`."""
        if kept and self._last is not None:
            return self._last
        return await self._readings.read(_BINDINGS, self._read)

    async def _read(self) -> list[Json]:
        listed = await asyncio.gather(*(self.api.list_all(kind) for kind in _BINDINGS))
        found = [{"kind": kind, **item} for kind, items in zip(_BINDINGS, listed, strict=True) for item in items]
        self._last, self._number = found, self._number + 1
        loop = asyncio.get_running_loop()
        loop.call_later(KEPT, self._forget, self._number)  # by its number: a timer must keep nothing alive
        return found

    def _forget(self, number: int) -> None:
        if self._number == number:
            self._last = None


async def rights_of(
    bindings: Bindings,
    incident: IncidentRef,
    accounts: Iterable[Account],
    revoked: Iterable[str] = (),
    *,
    kept: bool = False,
) -> list[Rights]:
    """Read what accounts may do, from one reading of the bindings for all of them; who shares them is left open.

    `revoked` names bindings (as `str(Ref)`) that named an account before they were shrunk. `kept` as for a reading.
    """
    asked, before = list(accounts), frozenset(revoked)
    if not asked:
        return []
    found, roles = await bindings.read(kept=kept), _Roles(bindings.api)
    return [await _rights(incident, account, found, before, roles) for account in asked]


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
