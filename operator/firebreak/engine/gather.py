"""Facts about a whole incident: its accounts, their rights, and its pods that are still there."""

from dataclasses import replace

from firebreak.api.playbook import REVOKE
from firebreak.engine.case import Case, clouds_of
from firebreak.kube import survey
from firebreak.kube.rights import rights_of, sharers
from firebreak.model.change import Ref
from firebreak.model.facts import Account, Rights
from firebreak.model.pod import Pod
from firebreak.model.record import step
from firebreak.steps import cloud
from firebreak.steps.cloud import CloudIdentity

NODES_READ = 5  # of one incident, to see whether they are of GKE


def accounts(case: Case) -> list[Account]:
    """Return the accounts that the incident's pods run as, and the one it names."""
    return [Account(case.id.namespace, name) for name in case.current.accounts]


async def rights(case: Case) -> list[Rights]:
    """Read the rights of all accounts, with the bindings that were shrunk by this incident."""
    revoked = [change.object for change in step(case.status, REVOKE).changes.values()]
    return await rights_of(case.tools.bindings, case.id, accounts(case), revoked)


async def with_sharers(case: Case, right: Rights) -> Rights:
    """Read who else runs as an account, outside the incident: only the risk of taking its rights goes by that."""
    others = await sharers(case.tools.api, right.account, case.status.pods)
    return replace(right, sharers=tuple(sorted(others | await _makers(case, right.account))))


async def _makers(case: Case, account: Account) -> set[str]:
    """The controllers of the incident's own pods: the fresh pods that they make run as the account too."""
    owners = {(r.owner, r.owner_uid) for r in case.status.pods.values() if r.owner and r.account == account.name}
    made: set[str] = set()
    for owner, uid in owners:
        kind, _, name = owner.partition("/")
        maker = await survey.top_controller(case.tools.api, {"kind": kind, "name": name, "uid": uid}, case.id.namespace)
        made |= {f"{maker['kind']} {maker['metadata']['name']}"} if maker else set()
    return made


async def identities(case: Case) -> tuple[CloudIdentity, ...]:
    """Read what of a cloud the incident's accounts and pods can act as, pods that are gone included."""
    known = accounts(case)
    found: list[CloudIdentity] = []
    for account in known:
        raw = await survey.find(case.tools.api, Ref("ServiceAccount", account.name, account.namespace))
        found += cloud.of_account(account, raw or {})
    for pod in await held(case):
        found += cloud.of_pod(pod)
    for record in case.status.pods.values():
        found += clouds_of(case.id.namespace, record)
    nodes = sorted({record.node for record in case.status.pods.values()} - {""})[:NODES_READ]
    there = [await survey.find(case.tools.api, Ref("Node", name)) for name in nodes]
    found += cloud.of_nodes(known, filter(None, there))
    return cloud.merged(found)


async def held(case: Case) -> tuple[Pod, ...]:
    """Read the incident's pods that are still there; in mode Plan, take them as they would be."""
    if case.planned is not None:
        return case.planned
    target = case.incident.spec.target
    pods = await survey.target_pods(case.tools.api, case.id, target) if target else ()
    return tuple(pod for pod in pods if pod.uid in case.status.pods)
