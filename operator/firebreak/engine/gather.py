"""Facts about a whole incident: its accounts, their rights, and its pods that are still there."""

from dataclasses import replace

from firebreak.api.playbook import REVOKE
from firebreak.engine.case import Case
from firebreak.kube import survey
from firebreak.model.facts import Account, Rights
from firebreak.model.pod import Pod
from firebreak.model.record import step


def accounts(case: Case) -> list[Account]:
    """Return the accounts that the incident's pods run as, and the one it names."""
    return [Account(case.id.namespace, name) for name in case.current.accounts]


async def rights(case: Case) -> list[Rights]:
    """Read the rights of all accounts, with the bindings that were shrunk by this incident."""
    revoked = [change.object for change in step(case.status, REVOKE).changes.values()]
    uids = list(case.status.pods)
    found = []
    for account in accounts(case):
        right = await survey.rights(case.tools.api, case.id, account, uids, revoked)
        makers = await _makers(case, account)
        found.append(replace(right, sharers=tuple(sorted(makers.union(right.sharers)))))
    return found


async def _makers(case: Case, account: Account) -> set[str]:
    """The controllers of the incident's own pods: the fresh pods that they make run as the account too."""
    owners = {(r.owner, r.owner_uid) for r in case.status.pods.values() if r.owner and r.account == account.name}
    made: set[str] = set()
    for owner, uid in owners:
        kind, _, name = owner.partition("/")
        maker = await survey.top_controller(case.tools.api, {"kind": kind, "name": name, "uid": uid}, case.id.namespace)
        made |= {f"{maker['kind']} {maker['metadata']['name']}"} if maker else set()
    return made


async def held(case: Case) -> tuple[Pod, ...]:
    """Read the incident's pods that are still there; in mode Plan, take them as they would be."""
    if case.planned is not None:
        return case.planned
    target = case.incident.spec.target
    pods = await survey.target_pods(case.tools.api, case.id, target) if target else ()
    return tuple(pod for pod in pods if pod.uid in case.status.pods)
