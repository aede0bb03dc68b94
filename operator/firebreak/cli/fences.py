"""Whether the API server enforces what Firebreak relies on: tried by requests that must be refused, and read.

A trial proves that a policy is in force, by one request. Reading proves that it is there, bound, and says what this
version's says, but not that the API server does as it says. So each is told in words of its own.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from firebreak.api.base import Json
from firebreak.cli.checks import Check, Outcome
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden
from firebreak.kube.guard import DEPLOYMENT, INTAKE, Guards, RefusedBy, Trial, trial_of_intake, trials_of_people
from firebreak.kube.survey import find
from firebreak.model.change import Ref
from firebreak.model.facts import Account
from firebreak.model.policies import PEOPLE, faults, remedy
from firebreak.model.shipped import SHIPPED
from firebreak.model.tiers import CONTAIN, TIERS, Tier

AS_ADMINISTRATOR = "run firebreak preflight as an administrator"
WHO_ELSE = "see that the CRDs and the namespace are there, and which webhook or policy of yours refuses it"
POLICY_KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
ANSWERS = {
    RefusedBy.NOBODY: "tried, and not refused",
    RefusedBy.RIGHTS: "not tried, for lack of a right",
    RefusedBy.OTHERS: "tried in vain, for something else said no first",
    RefusedBy.POLICY: "tried, and refused",
}


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


async def guards_of_people(api: Api, namespace: str, *, itself: bool) -> AsyncIterator[Check]:
    """Try the policies about people that refuse administrators, too, by dry runs. Raises `ApiError`.

    With `itself` the operator's account is who asks: it is exempt, or has no right to what they are about.
    """
    name = f"guards {PEOPLE}"
    if itself:
        yield Check(name, Outcome.UNKNOWN, "not tried: Firebreak's own account has no right to", AS_ADMINISTRATOR)
        return
    seen: dict[RefusedBy, list[str]] = defaultdict(list)
    for trial in trials_of_people(namespace):
        seen[await _answer(api, trial)].append(trial.policy)
    words = "; ".join(f"{ANSWERS[answer]}: {', '.join(seen[answer])}" for answer in ANSWERS if answer in seen)
    if RefusedBy.NOBODY in seen:
        yield Check(name, Outcome.FAILED, words, remedy(PEOPLE))
    elif seen.keys() - {RefusedBy.POLICY}:
        yield Check(name, Outcome.UNKNOWN, words, AS_ADMINISTRATOR if RefusedBy.RIGHTS in seen else WHO_ELSE)
    else:
        yield Check(name, Outcome.OK, f"{words}; the others are read, not tried")


async def guards_of_intake(api: Api, namespace: str, *, itself: bool) -> AsyncIterator[Check]:
    """Try the policy about the intake's account, where it is installed, by a dry run. Raises `ApiError`."""
    name, account = "guards intake", Account(namespace, INTAKE)
    if not await find(api, Ref("ServiceAccount", account.name, account.namespace)):
        return
    answer = RefusedBy.RIGHTS if itself else await _answer(api, trial_of_intake(namespace))
    if answer is RefusedBy.POLICY:
        yield Check(name, Outcome.OK, f"the API server refuses {account} what is not its to do")
    elif answer is RefusedBy.NOBODY:
        yield Check(name, Outcome.FAILED, f"{ANSWERS[answer]}: firebreak-intake", remedy(PEOPLE))
    else:
        how = AS_ADMINISTRATOR if answer is RefusedBy.RIGHTS else WHO_ELSE
        yield Check(name, Outcome.UNKNOWN, ANSWERS[answer], how)


async def _answer(api: Api, trial: Trial) -> RefusedBy:
    try:
        with _acting_as(api, trial.sender):
            return await trial.refused_by(api)
    except Forbidden:  # who asks may not impersonate
        return RefusedBy.RIGHTS


async def policies(api: Api, left_out: AbstractSet[str]) -> AsyncIterator[Check]:
    """Read the policies about people, and of every tier but those `left_out`. Raises `ApiError`."""
    groups = [group for group in SHIPPED if group not in left_out]
    try:
        there, bound = [await _by_name(api, kind) for kind in POLICY_KINDS]
    except Forbidden as error:
        for group in groups:
            yield Check(f"policies {group}", Outcome.UNKNOWN, f"not read: {error.message}", AS_ADMINISTRATOR)
        return
    for group in groups:
        if found := faults(group, there, bound):
            yield Check(f"policies {group}", Outcome.FAILED, "; ".join(found), remedy(group))
        else:
            words = f"read: {len(SHIPPED[group])} bound, denying, equal to this version's"
            yield Check(f"policies {group}", Outcome.OK, words)


async def _by_name(api: Api, kind: str) -> dict[str, Json]:
    return {found["metadata"]["name"]: found for found in await api.list_all(kind)}


async def _fence(asking: Guards, tier: Tier, account: Account) -> Check:
    name = f"guards {tier.name}"
    try:
        words = await asking.missing(tier)
    except Forbidden as error:
        inside = f"kubectl exec -n {account.namespace} deployment/{DEPLOYMENT} -- firebreak preflight --no-probe"
        return Check(name, Outcome.UNKNOWN, f"not tried: {error.message}", inside)
    if words:
        return Check(name, Outcome.FAILED, words, remedy(tier.name))
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
