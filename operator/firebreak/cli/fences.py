"""Whether the API server fences the operator's account, tier by tier: tried as it, by whoever may act as it."""

from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from firebreak.cli.checks import Check, Outcome
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden
from firebreak.kube.guard import DEPLOYMENT, Guards
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.facts import Account
from firebreak.model.tiers import CONTAIN, TIERS, Tier


async def guards(api: Api, account: Account, left_out: AbstractSet[str], *, itself: bool) -> AsyncIterator[Check]:
    """Try the admission policies of every tier but those `left_out`, by dry runs. Raises `ApiError`.

    With `itself` the account is who asks; else it is impersonated for as long as this runs.
    """
    there = itself or await find(api, Ref("ServiceAccount", account.name, account.namespace))
    pods = await api.list_all("Pod", account.namespace, metadata_only=True)
    asking = Guards(api, account.namespace)
    if not there:
        yield Check("guards", Outcome.UNKNOWN, f"there is no account {account} to try them as", "install Firebreak")
        return
    with _acting_as(api, None if itself else account):
        for tier in TIERS:
            if tier.name not in left_out:
                yield await _fence(asking, tier, account) if pods or tier is not CONTAIN else _no_pod(account)


async def _fence(asking: Guards, tier: Tier, account: Account) -> Check:
    name = f"guards {tier.name}"
    try:
        words = await asking.missing(tier)
    except Forbidden as error:
        inside = f"kubectl exec -n {account.namespace} deployment/{DEPLOYMENT} -- firebreak preflight --no-probe"
        return Check(name, Outcome.UNKNOWN, f"not tried: {error.message}", inside)
    if words:
        return Check(name, Outcome.FAILED, words, tier.remedy)
    return Check(name, Outcome.OK, f"the API server refuses {account} what is not its to do")


def _no_pod(account: Account) -> Check:
    words = f"not tried: it takes a pod in namespace {account.namespace}, and there is none"
    see = f"kubectl get deployment/{DEPLOYMENT} -n {account.namespace}"
    return Check(f"guards {CONTAIN.name}", Outcome.UNKNOWN, words, see)


@contextmanager
def _acting_as(api: Api, account: Account | None) -> Iterator[None]:
    api.identity = {"Impersonate-User": account.user} if account else {}
    try:
        yield
    finally:
        api.identity = {}
