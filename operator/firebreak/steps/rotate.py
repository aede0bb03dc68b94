"""Rotate: replace the secrets that the pods had access to, and restart who uses them.

Never only one side: a value is generated only where its owner opted in by the annotation `firebreak.dev/rotate`, whose
value is a JSON object of data key to `{"length": 32, "alphabet": "alphanumeric"}`, and where whatever uses it can be
restarted. Tokens of the old kind are deleted: the API server then refuses them. The rest is named for a person.
"""

import hashlib
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping

from firebreak.api.base import Json
from firebreak.api.status import ChangeReport, ChangeState
from firebreak.model.change import Change, Generated, Ref, Risk, Verb
from firebreak.model.facts import Secrets, SecretUse
from firebreak.model.gitops import put_back
from firebreak.model.loose import controller, mapping, mappings, text
from firebreak.model.names import ROTATE_ANNOTATION
from firebreak.model.pod import Pod
from firebreak.model.verdict import ROTATED, Verdict
from firebreak.model.words import listed
from firebreak.steps.reach import secrets_of

ALPHABETS: Mapping[str, str] = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
    "printable": string.ascii_letters + string.digits + "!#$%&*+-.:=?@^_~",
}
SHORTEST, LONGEST, DEFAULT_LENGTH = 8, 1024, 32
DATA_KEY = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z0-9]{1,253}")  # as the API server takes it


class BadAnnotation(ValueError):
    """The opt-in annotation cannot be understood; the secret is left for a person."""


def plan(facts: Secrets) -> Iterator[Change]:
    """Return a Change, or a refusal with words, for every secret in reach; then restart the users of rotated ones."""
    rotated: dict[str, Change] = {}
    uses = {use.name: use for use in facts.uses}
    for use in facts.uses:
        if use.metadata is None and use.name in facts.deleted:
            continue
        change = _secret(facts, use)
        yield change
        if change.refusal is None and change.verb is Verb.PATCH:
            rotated[use.name] = change
    for workload in facts.workloads:
        used = sorted(rotated.keys() & consumed(workload))
        there = [name for name in used if _marked(facts, uses[name])]
        if there and there != used:  # the rest may fail again: who uses a rotated one does not wait for it
            yield _restart(facts, workload, [rotated[name] for name in there], part="rotated before")
        if used:
            yield _restart(facts, workload, [rotated[name] for name in used])
    for words in facts.elsewhere:
        yield _manual(facts, Ref("Secret", words), "it was in reach and cannot be rotated from here; rotate it by hand")


def consumed(workload: Json) -> set[str]:
    """Return the names of the secrets that a workload's pod template uses."""
    template = mapping(workload.get("spec")).get("template")
    return {name for name, _ in secrets_of(Pod(mapping(template)), None)}


def _secret(facts: Secrets, use: SecretUse) -> Change:
    target = Ref("Secret", use.name, use.namespace, (use.metadata or {}).get("uid"))
    if use.token and use.metadata is not None:
        return _delete_token(facts, target, use)
    if words := _by_hand(facts, use):
        return _manual(facts, target, words)
    try:
        keys = recipe((use.metadata or {})["annotations"][ROTATE_ANNOTATION])
    except BadAnnotation as error:
        return _manual(facts, target, f"annotation {ROTATE_ANNOTATION}: {error}")
    if unknown := sorted(set(keys) - _keys(use)):
        return _manual(
            facts,
            target,
            f"annotation {ROTATE_ANNOTATION} names {listed(unknown)}, which the secret has no value for by its "
            "managedFields: a new key would rotate nothing; correct the annotation",
        )
    return _generate(facts, target, use, keys)


def _keys(use: SecretUse) -> set[str]:
    """The data keys that a secret has, from its metadata: no value is read to learn them.

    The API server keeps in managedFields who wrote which field, `f:data` with a key `f:KEY` for each; a server-side
    apply of stringData stands there as `f:stringData` (seen on 1.35).
    """
    entries = [mapping(entry.get("fieldsV1")) for entry in mappings(mapping(use.metadata).get("managedFields"))]
    fields = {field for entry in entries for part in ("f:data", "f:stringData") for field in mapping(entry.get(part))}
    return {field.removeprefix("f:") for field in fields}


def _by_hand(facts: Secrets, use: SecretUse) -> str:
    """Say why only a person can rotate a secret; empty when its owner opted in and nothing is in the way."""
    ways = "; ".join(use.ways)
    if use.metadata is None:
        return f"named by the pod ({ways}) but not there now; rotate what it held"
    if owner := controller(use.metadata):
        return f"{owner.get('kind')} {owner.get('name')} owns it; rotate at the source, it would be overwritten here"
    if ROTATE_ANNOTATION not in (use.metadata.get("annotations") or {}):
        opt_in = f"its owner did not opt in with the annotation {ROTATE_ANNOTATION}"
        return f"in reach ({ways}); {opt_in}: rotate it where it is issued"
    if not _marked(facts, use) and (in_the_way := _in_the_way(facts, use)):
        return f"in reach ({ways}); {in_the_way}"
    return ""


def recipe(annotation: str) -> dict[str, Generated]:
    """Parse the opt-in annotation. Raises BadAnnotation with what is wrong."""
    try:
        wanted = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise BadAnnotation('it is not JSON; want {"KEY": {"length": 32, "alphabet": "alphanumeric"}}') from error
    if not isinstance(wanted, dict) or not wanted:
        raise BadAnnotation("it names no data key")
    return {str(key): _generated(str(key), options) for key, options in wanted.items()}


def _generated(key: str, options: object) -> Generated:
    if not DATA_KEY.fullmatch(key):
        raise BadAnnotation(
            "a data key has at most 253 letters, digits, '-', '_' and '.', and does not begin with '..'"
        )
    if not isinstance(options, dict) or not set(options) <= {"length", "alphabet"}:
        raise BadAnnotation(f"key {key!r} takes length and alphabet only")
    length, alphabet = options.get("length", DEFAULT_LENGTH), options.get("alphabet", "alphanumeric")
    if not isinstance(length, int) or isinstance(length, bool) or not SHORTEST <= length <= LONGEST:
        raise BadAnnotation(f"the length of key {key!r} is a whole number from {SHORTEST} to {LONGEST}")
    if not isinstance(alphabet, str) or alphabet not in ALPHABETS:
        raise BadAnnotation(f"the alphabet of key {key!r} is one of {', '.join(ALPHABETS)}")
    return Generated(length, ALPHABETS[alphabet])


def _generate(facts: Secrets, target: Ref, use: SecretUse, keys: dict[str, Generated]) -> Change:
    return Change(
        Verb.PATCH,
        target,
        body={"metadata": {"annotations": {facts.incident.rotated: _mark(facts, use)}}, "stringData": keys},
        why=f"in reach ({'; '.join(use.ways)}); its owner opted in for {', '.join(sorted(keys))}",
        undo="none: the old values are gone, on purpose",
        risk=Risk(reversible=False, touches=_users(facts, use), put_back=_put_back(use)),
        once=True,
        metadata_only=True,
    )


def _delete_token(facts: Secrets, target: Ref, use: SecretUse) -> Change:
    return Change(
        Verb.DELETE,
        target,
        why=f"a token that never expires, in reach ({'; '.join(use.ways)})",
        undo="none: create a new token Secret if something outside the cluster needs one",
        risk=Risk(
            reversible=False,
            beyond=target.namespace != facts.incident.namespace,
            touches=_users(facts, use),
            put_back=_put_back(use),
        ),
        once=True,
        metadata_only=True,
    )


def _users(facts: Secrets, use: SecretUse) -> tuple[str, ...]:
    """Who else mounts a secret or has it in its environment: workloads, and pods that none of them owns."""
    alone = (pod.known_as for pod in facts.others if use.name in {name for name, _ in secrets_of(pod, None)})
    return tuple(sorted({*alone, *(_named(w) for w in facts.workloads if use.name in consumed(w))}))


def _put_back(use: SecretUse) -> str:
    return put_back({"metadata": use.metadata})


def _marked(facts: Secrets, use: SecretUse) -> str:
    """The mark that rotating for this incident left on a secret, empty when it was not rotated for it."""
    if facts.begun is not None and use.name not in facts.begun:
        return ""
    return text(mapping((use.metadata or {}).get("annotations")).get(facts.incident.rotated))


def _mark(facts: Secrets, use: SecretUse) -> str:
    """What marks a secret as rotated: the version that was replaced. The same before and after."""
    return _marked(facts, use) or text((use.metadata or {}).get("resourceVersion"))


def _in_the_way(facts: Secrets, use: SecretUse) -> str:
    """Say which user of a secret would go on with the old value, for it cannot be restarted; empty when all can."""
    for workload in facts.workloads:
        if use.name in consumed(workload) and (names := _held(facts, workload)):
            return (
                f"{_named(workload)} owns the quarantined pod {names[0]}, which a restart would delete, and without "
                "one it would go on with the old value; close the incident, delete the pod, then rotate and restart"
            )
    alone = sorted({pod.known_as for pod in facts.others if use.name in {name for name, _ in secrets_of(pod, None)}})
    if not alone:
        return ""
    return (
        f"{listed(alone)} uses it too, cannot be restarted from here and would go on with the old value; rotate it by "
        "hand, and start that anew"
    )


def _held(facts: Secrets, workload: Json) -> list[str]:
    return [pod.name for pod in facts.held if not pod.detached and owns(workload, pod)]


def _restart(facts: Secrets, workload: Json, rotated: list[Change], part: str = "") -> Change:
    """Restart a workload after its secrets. The annotation differs with every set of rotations, else nothing moves."""
    metadata = workload["metadata"]
    refusal = None
    if held := _held(facts, workload):
        refusal = (
            f"a restart would delete the quarantined pod {held[0]}; close the incident and delete the pod, then restart"
        )
    return Change(
        Verb.PATCH,
        Ref(workload["kind"], metadata["name"], metadata.get("namespace"), metadata.get("uid")),
        body={"spec": {"template": {"metadata": {"annotations": {facts.incident.restarted: _digest(facts, rotated)}}}}},
        why=f"its pods must start with the new {', '.join(change.target.name for change in rotated)}",
        undo=f"kubectl rollout undo {workload['kind'].lower()}/{metadata['name']} -n {metadata.get('namespace')}",
        risk=Risk(touches=(_named(workload),), put_back=put_back(workload)),
        refusal=refusal,
        part=part,
        after=tuple(change.id for change in rotated),
    )


def _digest(facts: Secrets, rotated: list[Change]) -> str:
    mark = facts.incident.rotated
    marks = {change.target.name: (change.body or {})["metadata"]["annotations"][mark] for change in rotated}
    return hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]


def owns(workload: Json, pod: Pod) -> bool:
    """Return whether a pod belongs to a workload, directly or through the ReplicaSet that its name begins with."""
    owner = pod.controller
    if owner is None:
        return False
    if owner.get("uid") == workload["metadata"].get("uid"):
        return True
    name = f"{workload['metadata']['name']}-"
    return (
        workload["kind"] == "Deployment"
        and owner.get("kind") == "ReplicaSet"
        and text(owner.get("name")).startswith(name)
    )


def _named(workload: Json) -> str:
    return f"{workload['kind']} {workload['metadata']['name']}"


def _manual(facts: Secrets, target: Ref, words: str) -> Change:
    return Change(
        Verb.PATCH,
        target,
        why=words,
        undo="",
        risk=Risk(beyond=target.namespace != facts.incident.namespace),
        refusal="a person must rotate it",
    )


def judge(changes: Iterable[ChangeReport]) -> Verdict:
    """Say whether everything in reach was rotated, once who uses it has been restarted."""
    reported = list(changes)
    left = [c.object.removeprefix("Secret ") for c in reported if c.state is not ChangeState.DONE]
    if left:
        return Verdict(ROTATED, "False", "ByHand", f"not done: {listed(left, 10)}")
    done = [c.object.removeprefix("Secret ") for c in reported if c.object.startswith("Secret ")]
    words = f"rotated {listed(done, 10)}" if done else "no secret was in reach"
    return Verdict(ROTATED, "True", "Rotated" if done else "NothingInReach", words)
