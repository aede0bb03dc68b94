"""What the detector finds by remembered answers and by recognising what goes on is what a plain loop finds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detecting import START, Json, fed, names
from firebreak.detect.compile import compiled
from firebreak.detect.correlate import GRACE
from firebreak.detect.event import Event
from firebreak.detect.fields import Seen
from firebreak.detect.patterns import text_of
from firebreak.detect.rules import Correlation, Kind, Ruleset

SHIPPED = Ruleset.load()
CHECKS = [(rule, compiled(rule.condition)) for rule in SHIPPED.rules]
EXTRA = "authentication.kubernetes.io/"
POD = {f"{EXTRA}credential-id": ["JTI=1"], f"{EXTRA}pod-name": ["firebreak-7d9f"], f"{EXTRA}pod-uid": ["u1"]}
OTHER_POD = {**POD, f"{EXTRA}pod-name": ["web-1"], f"{EXTRA}pod-uid": ["u2"]}
UNBOUND = {f"{EXTRA}credential-id": ["JTI=2"]}
USERS = [
    {"username": "system:serviceaccount:shop:web", "groups": ["system:serviceaccounts"], "extra": OTHER_POD},
    {"username": "system:serviceaccount:shop:web", "groups": ["system:serviceaccounts"], "extra": UNBOUND},
    {"username": "system:serviceaccount:firebreak:firebreak", "extra": POD},
    {"username": "system:serviceaccount:firebreak:firebreak", "extra": OTHER_POD},
    {"username": "system:serviceaccount:kube-system:replicaset-controller", "extra": OTHER_POD},
    {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
    {"username": "system:node:a", "groups": ["system:nodes"]},
    {"username": "admin", "groups": ["system:masters"]},
    {"username": "mallory"},
]
CONTAINERS = [{"securityContext": {"privileged": True}}, {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]
BODIES: list[Json] = [
    {"spec": {"hostPID": True, "containers": CONTAINERS[:1]}},
    {"spec": {"containers": CONTAINERS[1:], "volumes": [{"hostPath": {"path": "/"}}]}},
    {"spec": {"containers": [{"name": "privileged"}], "volumes": [{"emptyDir": {}}]}},
    {"rules": [{"verbs": ["*"], "resources": ["*"]}]},
    {"roleRef": {"name": "cluster-admin"}, "subjects": [{"name": "system:anonymous"}]},
    {"spec": {"type": "NodePort"}},
]
RESOURCES = ["pods", "secrets", "configmaps", "services", "clusterroles", "clusterrolebindings", "namespaces", "leases"]
SECONDS = st.integers(0, 5_000)
EVENTS = st.fixed_dictionaries(
    {
        "verb": st.sampled_from(["get", "list", "create", "update", "patch", "delete"]),
        "stage": st.sampled_from(["ResponseComplete", "ResponseComplete", "ResponseStarted", "RequestReceived"]),
        "user": st.sampled_from(USERS),
        "objectRef": st.fixed_dictionaries(
            {
                "resource": st.sampled_from(RESOURCES),
                "namespace": st.sampled_from(["shop", "kube-system", "kube-public", ""]),
                "name": st.sampled_from(["a", "b", "web-token-x", "coredns", "password"]),
                "subresource": st.sampled_from(["", "", "exec", "token", "status"]),
                "apiGroup": st.sampled_from(["", "", "rbac.authorization.k8s.io"]),
            }
        ),
        "responseStatus": st.sampled_from([{"code": 200}, {"code": 200}, {"code": 201}, {"code": 403}]),
        "sourceIPs": st.sampled_from([["10.0.0.1"], ["10.0.0.2"], ["10.0.0.9", "10.0.0.1"]]),
        "userAgent": st.sampled_from(["kubectl", "curl/8"]),
    },
    optional={
        "requestObject": st.sampled_from(BODIES),
        "responseObject": st.sampled_from(BODIES),
        "impersonatedUser": st.sampled_from(USERS),
    },
)


def times(count: int) -> st.SearchStrategy[list[float]]:
    """Times that go on by up to half an hour, each up to a minute late."""
    step = st.tuples(st.sampled_from([0, 0.5, 1, 300, 899, 900, 901, 1_800]), st.sampled_from([0, 0, 0, 30, 60]))
    return st.lists(step, min_size=count, max_size=count).map(
        lambda steps: [sum(each for each, _ in steps[: at + 1]) - late for at, (_, late) in enumerate(steps)]
    )


def at(seconds: float, form: str, fields: Json) -> Event:
    """An event with its time in the API server's form, or in another."""
    time = START + timedelta(seconds=seconds)
    stamps = {
        "server": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "offset": time.astimezone(UTC).isoformat(),
        "none": "",
    }
    return msgspec.json.decode(msgspec.json.encode({"stageTimestamp": stamps[form], **fields}), type=Event)


FORMS = st.sampled_from(["server", "server", "server", "server", "offset", "none"])
CALL: Json = {"verb": "get", "user": USERS[0], "sourceIPs": ["10.0.0.1"], "stage": "ResponseComplete"}
ELSEWHERE: Json = {**CALL, "sourceIPs": ["10.0.0.2"]}
ANOTHER: Json = {**CALL, "user": USERS[2]}
SEQUENCES = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        times(count), st.lists(FORMS, min_size=count, max_size=count), st.lists(EVENTS, min_size=count, max_size=count)
    )
)
# A few calls again and again: what goes on, and what does not.
REPEATING = st.tuples(st.lists(EVENTS, min_size=1, max_size=3), st.integers(4, 14)).flatmap(
    lambda drawn: st.tuples(
        times(drawn[1]),
        st.lists(FORMS, min_size=drawn[1], max_size=drawn[1]),
        st.lists(st.sampled_from(drawn[0]), min_size=drawn[1], max_size=drawn[1]),
    )
)


@settings(deadline=None, max_examples=150)
@given(SEQUENCES | REPEATING)
@example(([0, 3_000, 3_600, 3_601, 7_300], ["server"] * 5, [CALL, CALL, CALL, ELSEWHERE, CALL]))
@example(([0, 800, 900, 4_499, 4_501], ["server"] * 5, [CALL, CALL, CALL, CALL, ELSEWHERE]))
@example(([0, 800, 4_401], ["server"] * 3, [CALL, CALL, ELSEWHERE]))
@example(([0, 800, 4_399], ["server"] * 3, [CALL, CALL, ELSEWHERE]))
@example(([0, 0, 0], ["server", "none", "server"], [CALL, ANOTHER, ELSEWHERE]))
def test_the_detector_finds_what_a_plain_loop_over_all_rules_finds(
    sequence: tuple[list[float], list[str], list[Json]],
) -> None:
    events = [at(seconds, form, fields) for seconds, form, fields in zip(*sequence, strict=True)]
    now = START + timedelta(days=1)  # that of `fed`
    assert sorted(names(fed(SHIPPED, *events))) == sorted(plainly(events, now))


def plainly(events: list[Event], now: datetime) -> Iterator[str]:
    """Yield what is found by asking every rule about every event."""
    counting = {each.name: Plain(each) for each in SHIPPED.correlations}
    for event in events:
        time = datetime.fromisoformat(event.stage_timestamp) if event.stage_timestamp else now
        for rule, check in CHECKS:
            seen = Seen(event)
            if not check(seen):
                continue
            if rule.fires:
                yield rule.name
            for name, plain in counting.items():
                if rule.name in plain.correlation.rules and plain.fires(seen, rule.name, time.timestamp()):
                    yield name


class Plain:
    """A correlation that keeps everything, and looks through all of it."""

    def __init__(self, correlation: Correlation) -> None:
        self.correlation = correlation
        self.latest: dict[Any, dict[Any, float]] = {}
        self.fired: dict[Any, float] = {}
        self.requests = 0

    def fires(self, seen: Seen, rule: str, at: float) -> bool:
        correlation, span = self.correlation, self.correlation.timespan
        things = self.things(seen, rule)
        if not things:
            return False
        group = tuple(",".join(map(str, field.read(seen))) for field in correlation.groups[rule])
        latest = self.latest.setdefault(group, {})
        if at < max(latest.values(), default=at) - span - GRACE:
            return False
        latest |= {thing: max(at, latest.get(thing, at)) for thing in things}
        fired = self.fired.get(group)
        if fired is not None and abs(at - fired) < span:
            return False
        moments = [(moment, thing) for thing, moment in latest.items()]
        together = any(
            len([one for one, _ in moments if start <= one <= start + span]) >= correlation.needed
            and any(start <= latest[thing] <= start + span for thing in things)
            for start, _ in moments
        )
        if together:
            self.fired[group] = at
        return together

    def things(self, seen: Seen, rule: str) -> list[Any]:
        if self.correlation.kind is Kind.TEMPORAL:
            return [rule]
        if self.correlation.kind is Kind.VALUE_COUNT:
            return [text_of(value) for value in self.correlation.counted[rule].read(seen)]
        self.requests += 1
        return [self.requests]
