"""Detection on audit events: events per second and core, as a multiple of the bare decoder's time; and its memory.

The floor decodes each line into the same typed struct and throws it away. What is measured also evaluates rules with
their correlations: those of `rules.yaml`, a yardstick that stays, and those that are shipped. Of two logs: an ordinary
one, made up here, and that of `mix`, with attacks in it. By the events that are not timed a detector has seen what
kinds there are, as one has that runs for a while. No cluster is needed.
"""

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure, Section
from benchmarks.mix import ATTACKS, recorded
from benchmarks.replicas import resident
from firebreak.detect.evaluate import Detector
from firebreak.detect.event import Event
from firebreak.detect.rules import Ruleset

RULES = Path(__file__).parent / "rules.yaml"
BEFORE, EVENTS, SLICE = 20_000, 50_000, 1_000
ENDLESS = 10_000_000
AIM = 2.0  # times the bare decoder's
GROWTH_AIM = 16.0  # MiB between the first million events and the last
START = datetime(2026, 11, 21, tzinfo=UTC)
STATUS = "/proc/self/status"

Json = dict[str, Any]


async def measure(rounds: int) -> Section:
    """Time the floor and the whole in turns of a thousand events, so that all see the same machine."""
    shipped, yardstick = Ruleset.load(), Ruleset.load([RULES])
    ordinary, mixed = log(random.Random(1)), recorded(1, START)  # noqa: S311 - the same events in every run
    figures = []
    for name, lines, rulesets in (
        ("ordinary", ordinary, {"yardstick": yardstick, "shipped": shipped}),
        ("recorded", mixed, {"shipped": shipped}),
    ):
        taken = list(itertools.islice(lines, BEFORE + EVENTS))
        found = [await asyncio.to_thread(timed, taken, list(rulesets.values())) for _ in range(rounds)]
        floors, *wholes = zip(*found, strict=True)
        size = sum(map(len, taken)) / len(taken)
        figures.append(Figure(f"{name}, {size:,.0f} bytes: decoded", "/s", [EVENTS / each for each in floors]))
        for (rules, ruleset), whole in zip(rulesets.items(), wholes, strict=True):
            words = f"{name}, {rules} {len(ruleset.named)} rules"
            ratios = [took / floor for floor, took in zip(floors, whole, strict=True)]
            figures.append(Figure(words, "/s", [EVENTS / took for took in whole]))
            figures.append(Figure(f"{words}: times the floor", "", ratios, AIM))
    title = f"Detection, events by one core; of the recorded log {ATTACKS:.0%} are attacks"
    return Section("detect", title, tuple(figures))


async def measure_endless(rounds: int) -> Section:
    """Feed it ten million events, and look at the process's memory after each million."""
    grown = [await asyncio.to_thread(growth) for _ in range(rounds)]
    title = f"Memory of detection after {ENDLESS:,} events, the shipped rules"
    return Section("detect-endless", title, (Figure("more than after the first million", "MiB", grown, GROWTH_AIM),))


def timed(lines: Sequence[bytes], rulesets: Sequence[Ruleset]) -> list[float]:
    """Seconds of CPU for EVENTS lines: of the bare decoder, then of decoding and detecting by each ruleset."""
    decode, now = msgspec.json.Decoder(Event).decode, START + timedelta(days=365)
    detectors = [Detector(ruleset) for ruleset in rulesets]
    for line in lines[:BEFORE]:
        for detector in detectors:
            detector.feed(decode(line), now)

    spent = [0.0] * (1 + len(detectors))
    gc.collect()
    for start in range(BEFORE, len(lines), SLICE):
        part = lines[start : start + SLICE]
        began = time.thread_time()
        for line in part:
            decode(line)
        spent[0] += time.thread_time() - began
        for number, detector in enumerate(detectors, 1):
            feed = detector.feed
            began = time.thread_time()
            for line in part:
                feed(decode(line), now)
            spent[number] += time.thread_time() - began
    return spent


def growth() -> float:
    """MiB that the process grew by from the first million events to the last."""
    decode, detector, now = msgspec.json.Decoder(Event).decode, Detector(Ruleset.load()), START + timedelta(days=365)
    after = []
    for number, line in enumerate(itertools.islice(recorded(2, START), ENDLESS), 1):
        detector.feed(decode(line), now)
        if number % (ENDLESS // 10) == 0:
            after.append(resident(Path(STATUS).read_text(encoding="utf-8"), "VmRSS"))
    return after[-1] - after[0]


def log(chance: random.Random) -> Iterator[bytes]:
    """An API server's audit log, line by line: what a cluster of 50 nodes does all day, and now and then a person.

    One event in about two hundred is of the kind that rules look at closely.
    """
    kinds, weights = zip(*KINDS, strict=True)
    for number in itertools.count():
        (kind,) = chance.choices(kinds, weights)
        at = (START + timedelta(milliseconds=2 * number)).isoformat(timespec="microseconds")
        stamp = at.replace("+00:00", "Z")
        event = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": f"{chance.getrandbits(128):032x}",
            "stage": "ResponseComplete",
            **kind(chance),
            "requestReceivedTimestamp": stamp,
            "stageTimestamp": stamp,
            "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": REASON},
        }
        yield msgspec.json.encode(event)


REASON = 'RBAC: allowed by ClusterRoleBinding "system:controllers" of ClusterRole "system:controllers" to an account'
NODE_AGENT = "kubelet/v1.35.4 (linux/amd64) kubernetes/3a2b1c0"
CONTROLLER = "kube-controller-manager/v1.35.4 (linux/amd64) kubernetes/3a2b1c0/system:serviceaccount:kube-system:x"
CONTAINER = {
    "name": "app",
    "image": "registry.example/shop/app:1.4.2",
    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    "env": [{"name": f"SETTING_{number}", "value": "x" * 20} for number in range(8)],
}


def call(verb: str, resource: str, namespace: str, name: str, group: str = "", sub: str = "", code: int = 200) -> Json:
    """What a call is about."""
    ref = {"resource": resource, "namespace": namespace, "name": name, "apiGroup": group, "subresource": sub}
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return {
        "verb": verb,
        "requestURI": f"{root}/namespaces/{namespace}/{resource}/{name}{'/' + sub if sub else ''}?timeout=10s",
        "objectRef": {"apiVersion": "v1", **{key: value for key, value in ref.items() if value}},
        "responseStatus": {"metadata": {}, "code": code},
    }


def node(chance: random.Random) -> Json:
    """Who a kubelet is."""
    number = chance.randrange(50)
    return {
        "user": {"username": f"system:node:node-{number}", "groups": ["system:nodes", "system:authenticated"]},
        "sourceIPs": [f"10.0.0.{number}"],
        "userAgent": NODE_AGENT,
    }


def account(chance: random.Random) -> Json:
    """Who an operator's pod is."""
    number = chance.randrange(40)
    extra = {
        "authentication.kubernetes.io/credential-id": [f"JTI={chance.getrandbits(128):032x}"],
        "authentication.kubernetes.io/node-name": [f"node-{number}"],
        "authentication.kubernetes.io/pod-name": [f"operator-{number}-7d9f8b6c5-x2x9k"],
        "authentication.kubernetes.io/pod-uid": [f"{number:032x}"],
    }
    name = f"system:serviceaccount:team-{number}:operator"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:team-{number}", "system:authenticated"]
    return {
        "user": {"username": name, "uid": f"{number:032x}", "groups": groups, "extra": extra},
        "sourceIPs": [f"10.1.{number}.7"],
        "userAgent": f"operator/v0.{number}.0 (linux/amd64) kubernetes/$Format/leader-election",
    }


def controller(_: random.Random) -> Json:
    """Who a controller of the control plane is."""
    groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
    name = "system:serviceaccount:kube-system:replicaset-controller"
    return {"user": {"username": name, "groups": groups}, "sourceIPs": ["10.0.0.2"], "userAgent": CONTROLLER}


def person(chance: random.Random) -> Json:
    """Who a person is."""
    user = {"username": f"person-{chance.randrange(20)}@example.org", "groups": ["developers", "system:authenticated"]}
    return {"user": user, "sourceIPs": ["10.9.0.9"], "userAgent": "kubectl/v1.35.4 (linux/amd64) kubernetes/3a2b1c0"}


def creation(chance: random.Random) -> Json:
    """A pod of a ReplicaSet, with its body."""
    namespace = f"team-{chance.randrange(40)}"
    body = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"generateName": "app-7d9f8b6c5-", "namespace": namespace, "labels": {"app": "app"}},
        "spec": {"containers": [CONTAINER], "serviceAccountName": "app", "volumes": [{"name": "tmp", "emptyDir": {}}]},
    }
    asked = call("create", "pods", namespace, "", code=201)
    return {"level": "Request", "requestObject": body, **controller(chance), **asked}


def status(chance: random.Random) -> Json:
    """A pod's status, patched by its node."""
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "Initialized", "ContainersReady")]
    body = {"metadata": {"uid": f"{chance.getrandbits(128):032x}"}, "status": {"conditions": conditions}}
    asked = call("patch", "pods", f"team-{chance.randrange(40)}", f"app-{chance.randrange(900)}", sub="status")
    return {"level": "Request", "requestObject": body, **node(chance), **asked}


def team(chance: random.Random) -> str:
    """A namespace."""
    return f"team-{chance.randrange(40)}"


KINDS = (
    (lambda c: {**node(c), **call("update", "leases", "kube-node-lease", f"node-{c.randrange(50)}", COORDINATION)}, 25),
    (lambda c: {**account(c), **call("update", "leases", team(c), "operator-lock", COORDINATION)}, 20),
    (lambda c: {**account(c), **call("get", "leases", team(c), "operator-lock", COORDINATION)}, 15),
    (lambda c: {**account(c), **call("watch", "configmaps", team(c), "")}, 6),
    (lambda c: {**account(c), **call("list", "pods", team(c), "")}, 6),
    (lambda c: {**account(c), **call("patch", "events", team(c), f"app.{c.getrandbits(64):x}")}, 5),
    (lambda c: {**node(c), **call("get", "pods", team(c), f"app-{c.randrange(900)}")}, 5),
    (status, 7),
    (lambda c: {**controller(c), **call("update", "replicasets", team(c), "app-7d9f8b6c5", "apps", "status")}, 4),
    (lambda c: {**node(c), **call("create", "serviceaccounts", team(c), "app", "", "token", 201)}, 2),
    (lambda c: {**person(c), **call("get", "pods", team(c), f"app-{c.randrange(900)}")}, 2),
    (lambda c: {**person(c), **call("list", "deployments", team(c), "", "apps")}, 1),
    (creation, 1.5),
    (lambda c: {**account(c), **call("get", "secrets", team(c), "certificate")}, 0.3),
    (lambda c: {**person(c), **call("get", "secrets", team(c), "password", code=403)}, 0.1),
    (lambda c: {**person(c), **call("get", "pods", team(c), f"app-{c.randrange(900)}", sub="exec", code=101)}, 0.1),
)
COORDINATION = "coordination.k8s.io"
