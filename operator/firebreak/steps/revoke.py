"""Revoke: take the account out of every binding that names it. Bindings are shrunk, never deleted.

Removing a subject needs `bind` on the role, deleting only `delete`; a shrunk binding keeps its roleRef, so that a
person can give the right back and nobody can swap the role meanwhile.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, product

from firebreak.api.base import Json
from firebreak.model.change import Change, Risk, Verb
from firebreak.model.facts import Account, Answer, Grant, Rights
from firebreak.model.gitops import put_back
from firebreak.model.loose import text
from firebreak.model.verdict import IDENTITY, Verdict
from firebreak.model.words import listed
from firebreak.model.writers import last_writer
from firebreak.steps.cloud import CloudIdentity

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
MOST_QUESTIONS = 200
MOST_READ = 10_000  # a role of a few lists can multiply to billions of questions

# What every identity has in every cluster: discovery and questions about itself. Source: the page "Using RBAC
# Authorization", section "API discovery roles". The reason is the API server's (seen on 1.35), word for word: a role of
# one of these names that a binding of another name, or of another kind, gives is not one of these.
EVERYBODYS = (
    "system:discovery",
    "system:basic-user",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
)
HARMLESS = re.compile(
    rf'RBAC: allowed by ClusterRoleBinding "({"|".join(EVERYBODYS)})" of ClusterRole "\1" '
    r'to Group "system:(authenticated|unauthenticated|serviceaccounts(:[a-z0-9-]+)?)"'
)
# The end of the same words where a group has the right: what was taken from the account is no longer in the answer.
BY_GROUP = re.compile(r' to Group "[^"]*"$')
_SELF_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
_ABOUT_ITSELF = frozenset(("create", resource) for resource in _SELF_REVIEWS)

# What an intruder wants most; asked of the API server whatever the bindings said, in the namespace and everywhere.
STAPLES: tuple[tuple[str, str, str, str], ...] = (
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods", "exec"),
    ("get", "", "pods", "exec"),
    ("create", "", "serviceaccounts", "token"),
    ("create", "apps", "deployments", ""),
    ("create", "batch", "jobs", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
)

# The same of what lies in no namespace: the API server judges no request for it by a namespace.
CLUSTER_STAPLES: tuple[tuple[str, str, str, str], ...] = (
    ("impersonate", "", "users", ""),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("get", "", "nodes", "proxy"),
)


def plan(facts: Rights, done: Collection[str] = ()) -> Iterator[Change]:
    """Shrink every binding that names the account; one that does not name it any more needs nothing.

    `done`: ids of Changes that were done before. One that is needed again was undone, and says by whom.
    """
    for grant in facts.grants:
        subjects = grant.binding.get("subjects") or []
        left = [s for s in subjects if not names(s, facts.account, grant.binding)]
        if len(left) < len(subjects):
            change = _shrink(facts, grant, subjects, left)
            if change.id in done:
                by = last_writer(grant.binding, "f:subjects")
                change = replace(change, why=f"{change.why}, into which {by} had put it back")
            yield change


def names(subject: Json, account: Account, binding: Json) -> bool:
    """Return whether a subject is this account, as a ServiceAccount or as the user behind it."""
    return user(subject, binding) == account.user


def user(subject: Json, binding: Json) -> str:
    """Return the user that a subject is, empty for a group."""
    match subject.get("kind"):
        case "User":
            return text(subject.get("name"))
        case "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace")
            return Account(text(namespace), text(subject.get("name"))).user
    return ""


def _shrink(facts: Rights, grant: Grant, subjects: list[Json], left: list[Json]) -> Change:
    role = grant.binding["roleRef"]
    refusal = None
    if facts.account.namespace in SYSTEM_NAMESPACES:
        refusal = f"accounts of {facts.account.namespace} are never revoked automatically; do it by hand if you must"
    return Change(
        Verb.PATCH,
        grant.ref,
        body={
            "metadata": {"resourceVersion": grant.binding["metadata"]["resourceVersion"]},
            "subjects": left,
        },
        before={"subjects": subjects, "roleRef": role},
        part=str(facts.account),
        why=f"takes {facts.account} out of {role['kind']} {role['name']}",
        undo=f"firebreak release {facts.incident.name} -n {facts.incident.namespace} --rights",
        risk=Risk(
            beyond=grant.ref.namespace != facts.incident.namespace,
            touches=facts.sharers,
            put_back=put_back(grant.binding),
        ),
        refusal=refusal,
    )


def questions(facts: Rights) -> list[Json]:
    """Return what to ask of the API server as the account: all that its bindings gave, and the staples.

    Each is the spec of a SubjectAccessReview. Bounded, with room kept for the staples; the bindings' own come first.
    """
    staples = [_resource(*staple, ns) for staple in STAPLES for ns in (facts.account.namespace, "")]
    staples += [_resource(*staple, "") for staple in CLUSTER_STAPLES]
    given = chain(
        chain.from_iterable(map(_given, facts.grants)),
        (q for grant in facts.shared for q in _given(grant) if not (_everybodys(grant) and _reads_no_object(q))),
    )
    asked: dict[str, Json] = {}
    for spec in islice(given, MOST_READ):
        if len(asked) == MOST_QUESTIONS - len(staples):
            break
        asked[str(sorted(spec.items()))] = spec
    asked |= {str(sorted(spec.items())): spec for spec in staples}
    identity = {"user": facts.account.user, "groups": list(facts.account.groups)}
    return [identity | spec for spec in asked.values()]


def _given(grant: Grant) -> Iterator[Json]:
    for rule in grant.rules:
        yield from _from_rule(rule, grant.ref.namespace)


def _everybodys(grant: Grant) -> bool:
    """Whether a group's binding is one that every cluster has: what it allows, `harmless` would set aside.

    Another binding that gives the same is asked about for itself.
    """
    role, ref = grant.binding["roleRef"], grant.ref
    everywhere = ref.kind == "ClusterRoleBinding" and role["kind"] == "ClusterRole"
    return everywhere and ref.name in EVERYBODYS and role["name"] == ref.name


def _from_rule(rule: Json, namespace: str | None) -> Iterator[Json]:
    verbs = rule.get("verbs") or []
    for group, resource, name, verb in product(
        rule.get("apiGroups") or [], rule.get("resources") or [], rule.get("resourceNames") or [""], verbs
    ):
        kind, _, subresource = str(resource).partition("/")
        yield _resource(verb, group, kind, subresource, namespace or "", name)
    for path, verb in product(rule.get("nonResourceURLs") or [], verbs):
        yield {"nonResourceAttributes": {"path": path, "verb": verb}}


def _resource(verb: str, group: str, resource: str, subresource: str, namespace: str, name: str = "") -> Json:
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
    attributes |= {"namespace": namespace, "name": name}
    return {"resourceAttributes": {k: v for k, v in attributes.items() if v}}


def in_words(spec: Json) -> str:
    """Return a question in words, e.g. `get secrets in shop`."""
    if path := spec.get("nonResourceAttributes"):
        return f"{path['verb']} {path['path']}"
    a = spec["resourceAttributes"]
    what = "/".join(filter(None, (a.get("resource"), a.get("subresource"))))
    named = f" {a['name']}" if a.get("name") else ""
    return f"{a.get('verb', '')} {what}{named} in {a.get('namespace') or 'all namespaces'}"


def harmless(question: Json, reason: str) -> bool:
    """Return whether an answer `allowed` is worth nothing to an intruder: everybody has it, and it reads no object."""
    return _reads_no_object(question) and HARMLESS.fullmatch(reason) is not None


def _reads_no_object(question: Json) -> bool:
    """Whether a question is about a path, or a question about oneself."""
    attributes = question.get("resourceAttributes")
    return attributes is None or (attributes.get("verb"), attributes.get("resource")) in _ABOUT_ITSELF


def judge(
    accounts: Sequence[Account],
    answers: Iterable[Answer],
    clouds: Sequence[CloudIdentity] = (),
    ended: Collection[str] = (),
) -> Verdict:
    """Say whether the accounts' rights are gone, by the API server's own answers.

    `clouds`: what of a cloud they can act as. `ended`: ids of the Changes by which a hook said that it ended some.
    """
    if not accounts:
        return Verdict(IDENTITY, "False", "TargetNotFound", "no pod was found yet, so no account is known")
    asked = list(answers)
    allowed = [answer for answer in asked if answer.allowed and not harmless(answer.question, answer.reason)]
    left = [f"{in_words(answer.question)} ({answer.reason or 'no reason given'})" for answer in allowed]
    live = [i.words for i in clouds if i.certain and i.change.id not in ended]
    if left:
        still = f"still allowed: {listed(left, separator='; ')}"
        settled = all(BY_GROUP.search(answer.reason) for answer in allowed)
        return Verdict(IDENTITY, "False", "RightsRemain", "; ".join([still, *live]), settled=settled)
    if live:
        return Verdict(IDENTITY, "False", "CloudCredentialsLive", "; ".join(live))
    if said := [str(i) for i in clouds if i.change.id in ended]:
        claim = f"{listed(said)}: revoked, says the hook; Firebreak cannot look into the cloud"
        return Verdict(IDENTITY, "Unknown", "RevokedByHook", claim)
    if clouds:
        return Verdict(IDENTITY, "Unknown", "CloudUnknown", "; ".join(i.words for i in clouds))
    names = listed([str(account) for account in accounts], 10)
    words = f"{names}: the API server refused all {len(asked)} requests asked about"
    return Verdict(IDENTITY, "True", "Revoked", words)
