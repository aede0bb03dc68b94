"""What stands around a pod, for the evidence: as it was met, whatever a response did since."""

import asyncio
from collections.abc import Mapping

from firebreak.api.base import Json
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError
from firebreak.kube.rights import Bindings, rights_of
from firebreak.kube.survey import controller, find, owner
from firebreak.model.change import Ref
from firebreak.model.facts import Account
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.steps.reach import secrets_of


async def surroundings(bindings: Bindings, pod: Pod, revoked: Mapping[str, Json]) -> Json:
    """Read what stands around a pod, for the evidence: owners, account, rights, services, policies, node, events.

    `revoked`: what bindings (by `str(Ref)`) held before this incident shrank them; it stands beside what they hold now.
    What cannot be read is recorded with the reason, never left out in silence. No secret is read.
    """
    api, account = bindings.api, Account(pod.namespace, pod.account)
    parts = {
        "owners": _owners(api, pod),
        "serviceAccount": find(api, Ref("ServiceAccount", pod.account, pod.namespace)),
        "namespace": find(api, Ref("Namespace", pod.namespace)),
        "node": find(api, Ref("Node", pod.node)) if pod.node else _nothing(),
        "rights": _bindings(bindings, account, revoked),
        "services": api.list_all("Service", pod.namespace),
        "networkPolicies": api.list_all("NetworkPolicy", pod.namespace),
        "events": api.list_all("Event", pod.namespace, fields=f"involvedObject.uid={pod.uid}"),
    }
    answers = await asyncio.gather(*parts.values(), return_exceptions=True)
    result: Json = {}
    for name, answer in zip(parts, answers, strict=True):
        if isinstance(answer, ApiError):
            result[name] = {"unread": str(answer)}
        elif isinstance(answer, BaseException):
            raise answer
        else:
            result[name] = answer
    result["secretsNamed"] = sorted({f"{name} ({way})" for name, way in secrets_of(pod, result["serviceAccount"])})
    return result


async def _nothing() -> None:
    return None


async def _owners(api: Api, pod: Pod) -> list[Json]:
    chain: list[Json] = []
    above = pod.controller
    while above and (found := await owner(api, above, pod.namespace)):
        chain.append(found)
        above = controller(found)
    return chain


async def _bindings(bindings: Bindings, account: Account, revoked: Mapping[str, Json]) -> list[Json]:
    """Every binding that gives the account something, or gave it, through its name or a group of it."""
    (found,) = await rights_of(bindings, IncidentRef(account.namespace, "", ""), [account], revoked, kept=True)
    return [
        {**grant.binding, "rules": list(grant.rules)} | _before(revoked.get(str(grant.ref)))
        for grant in found.grants + found.shared
    ]


def _before(held: Json | None) -> Json:
    return {"before": held} if held else {}
