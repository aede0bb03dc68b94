"""The enforcement probe: what its rounds mean, the program in its pods, and how it behaves when it cannot be tried."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fake_api import Answer, Call, FakeApi, Fault
from firebreak.kube.client import Api
from firebreak.kube.configuration import Configuration
from firebreak.kube.probe import load, own_image, prove_enforcement, save
from firebreak.kube.probe_objects import CUT, FREE, Run
from firebreak.model.enforcement import Enforcement, Round, Sight, State, judge

AT = "2026-11-21T02:00:00Z"
RUN = Run("0a1b2c3d", "firebreak", "firebreak:dev")


def rounds(first: int, *, new: str, established: str = "", node: bool = True) -> tuple[Round, ...]:
    """Rounds as a row of signs: `+` got through, `-` did not."""
    pairs = zip(new, established or new, strict=True)
    return tuple(Round(first + n, a == "+", b == "+", node) for n, (a, b) in enumerate(pairs))


FLOWING = Sight(rounds(1, new="++"), rounds(1, new="++"))
SILENT = Sight(rounds(3, new="+--"), rounds(3, new="---"))
BACK = Sight(rounds(9, new="-++"), rounds(9, new="++"))


OF_LATER = (
    "the proof is of 2026-11-21T12:05:01Z, a time to come: a clock is wrong, or somebody wrote it; "
    "run `firebreak preflight --probe`"
)


@pytest.mark.parametrize(
    ("at", "detail"),
    [
        ("2026-11-20T12:00:00Z", "seen"),
        ("2026-11-21T12:05:00Z", "seen"),  # another clock, a little ahead
        ("2026-11-20T11:59:59Z", "the proof is too old, of 2026-11-20T11:59:59Z; run `firebreak preflight --probe`"),
        ("2026-11-21T12:05:01Z", OF_LATER),
        ("2026-11-21T12:00:00", "the proof has no time that can be read; run `firebreak preflight --probe`"),
        ("soon", "the proof has no time that can be read; run `firebreak preflight --probe`"),
    ],
)
def test_a_proof_counts_for_a_while_from_its_time_on(at: str, detail: str) -> None:
    state = State.PROVEN if detail == "seen" else State.UNPROVEN
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    counted = Enforcement(State.PROVEN, at, "seen").counted(noon, timedelta(hours=24))
    assert (counted.state, counted.detail) == (state, detail)


def test_what_is_no_proof_needs_no_time() -> None:
    seen = Enforcement(State.NOT_ENFORCED, "9999-01-01T00:00:00Z", "this still got through: all")
    assert seen.counted(datetime(2026, 11, 21, 12, tzinfo=UTC), timedelta(hours=24)) == seen


def test_cut_and_back_on_every_path_is_proof() -> None:
    found = judge(SILENT, BACK, at=AT, waited=15, nodes=("a", "b"))
    assert found.state is State.PROVEN
    assert found.at == AT
    assert found.detail == (
        "a deny-all policy cut new and established connections between a and b, in both directions; "
        "they came back after it"
    )
    assert found.directions == {
        "new connection out of the cut pod": "cut, came back",
        "established connection out of the cut pod": "cut, came back",
        "new connection into the cut pod": "cut, came back",
        "established connection into the cut pod": "cut, came back",
        "cut pod to its own node": "reachable (for information: a NetworkPolicy does not promise to cut this)",
    }


def test_an_established_connection_that_lives_on_is_named() -> None:
    leaking = Sight(rounds(3, new="---"), rounds(3, new="---", established="-++"))
    found = judge(leaking, BACK, at=AT, waited=15, nodes=("a", "a"))
    assert found.state is State.NOT_ENFORCED
    assert found.detail == (
        "15 s after a deny-all policy was applied this still got through on a: established connection into the cut pod"
    )
    assert found.directions["established connection into the cut pod"] == "still flows"


def test_pods_that_stop_reporting_prove_nothing() -> None:
    found = judge(Sight(), Sight(), at=AT, waited=15, nodes=("a", "a"))
    assert found.state is State.UNPROVEN
    assert "stopped reporting" in found.detail


def test_silence_that_does_not_end_with_the_policy_proves_nothing() -> None:
    still = Sight(rounds(9, new="--"), rounds(9, new="++"))
    found = judge(SILENT, still, at=AT, waited=15, nodes=("a", "a"))
    assert found.state is State.UNPROVEN
    assert "did not come back" in found.detail


def test_one_lost_packet_is_no_cut_and_one_that_got_through_is_no_return() -> None:
    assert not Sight(rounds(1, new="+-"), rounds(1, new="--")).is_cut
    assert not Sight(rounds(1, new="-+"), rounds(1, new="++")).flows
    assert FLOWING.flows
    assert SILENT.is_cut


def test_only_rounds_after_the_policy_count() -> None:
    later = Sight(rounds(1, new="++--"), rounds(2, new="+-"))
    assert later.since(FLOWING) == Sight(rounds(3, new="--"), rounds(3, new="-"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        '{"run": "other", "round": 1, "new": true, "established": true, "node": true}',
        '{"run": "mine", "round": "x", "new": true, "established": true, "node": true}',
        '{"run": "mine"}',
        "[]",
        "[" * 100_000,
    ],
)
def test_a_line_that_is_no_report_of_the_run_is_passed_over(line: str) -> None:
    assert Round.parse(line, "mine") is None


def test_what_is_not_plainly_true_did_not_get_through() -> None:
    line = '{"run": "mine", "round": 4, "new": "true", "established": 1, "node": true}'
    assert Round.parse(line, "mine") == Round(4, new=False, established=False, node=True)


def test_a_record_survives_being_stored() -> None:
    found = judge(SILENT, BACK, at=AT, waited=15, nodes=("a", "b"))
    assert Enforcement.from_json(found.to_json()) == found


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"state": "Perfect", "at": "", "detail": "", "directions": {}}'])
def test_a_record_that_cannot_be_read_proves_nothing(text: str) -> None:
    found = Enforcement.from_json(text)
    assert found.state is State.UNPROVEN
    assert "cannot be read" in found.detail


def test_the_probe_s_pods_meet_restricted_pod_security_and_have_no_token() -> None:
    spec = RUN.pod_body(CUT)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_policy_selects_one_pod_of_its_own_run_only() -> None:
    selected = RUN.policy_body()["spec"]["podSelector"]["matchLabels"].items()
    assert selected <= RUN.pod_body(CUT)["metadata"]["labels"].items()
    assert not selected <= RUN.pod_body(FREE)["metadata"]["labels"].items()
    assert not selected <= Run("other", "firebreak", "i").pod_body(CUT)["metadata"]["labels"].items()


# The program in the pods, really run, on loopback


@asynccontextmanager
async def probe_pod(run: str, address: str, port: int, peer: str | None = None) -> AsyncIterator[Any]:
    told = [f"--peer={peer}"] if peer else []
    options = [f"--run={run}", f"--address={address}", f"--port={port}", "--node=127.0.0.1", *told]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "firebreak.kube.probe_pod", *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


async def until(program: Any, run: str, *, new: bool, established: bool) -> Round:
    """The first round that is as wanted."""
    async with asyncio.timeout(20):
        while True:
            report = Round.parse((await program.stdout.readline()).decode(), run)
            if report and (report.new, report.established) == (new, established):
                return report


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_two_probe_pods_find_and_report_each_other_and_notice_silence(port: int) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(probe_pod("r1", "127.0.0.2", port))
        second = await stack.enter_async_context(probe_pod("r1", "127.0.0.3", port, peer="127.0.0.2"))
        assert (await until(first, "r1", new=True, established=True)).node is True
        await until(second, "r1", new=True, established=True)

        second.send_signal(signal.SIGSTOP)  # silent as under a policy, and alive
        await until(first, "r1", new=False, established=False)
        second.send_signal(signal.SIGCONT)
        await until(first, "r1", new=True, established=True)


async def test_a_probe_pod_takes_no_peer_from_another_run(port: int) -> None:
    async with probe_pod("r1", "127.0.0.2", port), probe_pod("r2", "127.0.0.3", port, peer="127.0.0.2") as stranger:
        report = Round.parse((await stranger.stdout.readline()).decode(), "r2")
        assert report is not None
        assert (report.new, report.established) == (False, False)


async def test_a_probe_pod_ends_at_once_when_told(port: int) -> None:
    async with probe_pod("r1", "127.0.0.3", port, peer="127.0.0.2") as program:
        await program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await program.wait() == 0


# The trial, when it cannot be carried out


@pytest.fixture
async def api(fake: FakeApi) -> AsyncIterator[Api]:
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "firebreak"}})
    async with Api(Configuration(fake.url)) as connected:
        yield connected


def creates_pod(call: Call) -> bool:
    return call.verb == "create" and call.resource == "pods"


async def test_an_image_that_cannot_be_pulled_leaves_enforcement_unproven_and_nothing_behind(
    fake: FakeApi, api: Api
) -> None:
    trial = asyncio.create_task(prove_enforcement(api, namespace="firebreak", image="nowhere:1"))
    async with asyncio.timeout(10):
        await fake.called(lambda call: (call.verb, call.resource) == ("get", "pods"))
        name = fake.list("Pod")[0]["metadata"]["name"]
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        status = {"phase": "Pending", "containerStatuses": [{"name": "probe", "state": {"waiting": waiting}}]}
        fake.update("Pod", "firebreak", name, {"status": status})
        found = await trial
    assert found.state is State.UNPROVEN
    assert found.detail == (
        f"could not be tried: Pod firebreak/{name} with image nowhere:1 does not run: "
        "ImagePullBackOff: Back-off pulling image"
    )
    assert fake.list("Pod") == []
    assert fake.list("NetworkPolicy") == []


async def test_a_refused_pod_leaves_enforcement_unproven_with_the_reason(fake: FakeApi, api: Api) -> None:
    fake.faults.add(Fault(when=creates_pod, how=Answer(403, message="violates PodSecurity")))
    found = await prove_enforcement(api, namespace="firebreak", image="firebreak:dev")
    assert found.state is State.UNPROVEN
    assert found.detail == ("could not be tried: POST /api/v1/namespaces/firebreak/pods: violates PodSecurity")


async def test_what_a_killed_run_left_is_removed_and_a_run_under_way_is_not(fake: FakeApi, api: Api) -> None:
    killed, under_way = Run("11111111", "firebreak", "i"), Run("22222222", "firebreak", "i")
    for run, created in ((killed, "2026-11-21T01:30:00Z"), (under_way, "2026-11-21T01:50:00Z")):
        for body in (run.pod_body(CUT), run.policy_body()):
            body["metadata"]["creationTimestamp"] = created
            fake.put(body)
    fake.faults.add(Fault(when=creates_pod, how=Answer(403)))
    clock = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    await prove_enforcement(api, namespace="firebreak", image="firebreak:dev", clock=lambda: clock)
    assert [pod["metadata"]["name"] for pod in fake.list("Pod")] == ["firebreak-probe-22222222-cut"]
    assert [policy["metadata"]["name"] for policy in fake.list("NetworkPolicy")] == ["firebreak-probe-22222222"]


async def test_an_outcome_is_recorded_and_a_later_one_replaces_it(fake: FakeApi, api: Api) -> None:
    assert await load(api, "firebreak") == Enforcement(State.UNPROVEN, "", "never probed; run `firebreak preflight`")
    first = Enforcement(State.NOT_ENFORCED, AT, "it got through", {"a": "still flows"})
    await save(api, "firebreak", first)
    assert await load(api, "firebreak") == first
    second = judge(SILENT, BACK, at=AT, waited=15, nodes=("a", "b"))
    await save(api, "firebreak", second)
    assert await load(api, "firebreak") == second
    record = fake.get("ConfigMap", "firebreak", "firebreak-enforcement")
    assert json.loads(record["data"]["enforcement.json"])["state"] == "Proven"


async def test_a_pod_knows_the_image_that_it_runs_and_how_it_was_pulled(fake: FakeApi, api: Api) -> None:
    spec = {"containers": [{"name": "firebreak", "image": "team/firebreak:7"}], "imagePullSecrets": [{"name": "pull"}]}
    metadata = {"name": "firebreak-abc", "namespace": "firebreak"}
    fake.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    assert await own_image(api, "firebreak", "firebreak-abc") == ("team/firebreak:7", ("pull",))
