"""Stories that Hypothesis makes up: pods, people and processes come and go in any order; what is promised stays so."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clockwork import Clockwork
from fake_api import FakeApi, Obj, running_fake
from firebreak.evidence.store import EvidenceStore
from firebreak.kube.retries import DEFAULT_LIMITS
from harness import Clock, Replica, replica
from memory_store import MemoryBackend
from world import OLD_PASSWORD, approval, incident, shop, web_pod

MANY = os.environ.get("FIREBREAK_CRASH") == "all"
REPLICAS = ("one", "two")
PODS = st.sampled_from(("web-1", "web-2", "web-3"))
MOMENTS = st.sampled_from((0.0, 0.01, 0.3, 2.0, 40.0))
SETTLED = 150.0  # seconds in which whatever was undone is put right: resyncs, and the longest pauses
UNLED = 20.0  # seconds in which followers cut what nobody else does
SELECTOR = {"selector": {"matchLabels": {"app": "web"}}}


class Story(RuleBasedStateMachine):
    """Two replicas on one API server, and everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=Clockwork)
        self.objects, self.clock = MemoryBackend(), Clock()
        self.replicas: dict[str, Replica] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.opened = 0
        self.put_back = 0
        self.serving = running_fake()
        self.fake: FakeApi = self.run(self.serving.__aenter__())
        shop(self.fake)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # Processes

    @initialize()
    def begin(self) -> None:
        for name in REPLICAS:
            self._start(name)
        self._lead("one")

    def _start(self, name: str) -> None:
        there = asyncio.Event()

        async def live() -> None:
            store = EvidenceStore(self.objects)
            async with replica(
                self.fake,
                store,
                leading=False,
                name=name,
                clock=self.clock,
                limits=DEFAULT_LIMITS,
                alone=True,
                kubectl="no-such-kubectl",
            ) as running:
                self.replicas[name] = running
                there.set()
                await asyncio.Event().wait()

        async def started() -> None:
            self.tasks[name] = asyncio.create_task(live())
            await there.wait()

        self.run(started())

    def _kill(self, name: str) -> None:
        async def killed() -> None:
            self.tasks[name].cancel()
            await asyncio.gather(self.tasks[name], return_exceptions=True)

        self.run(killed())

    def _lead(self, *names: str) -> None:
        async def told() -> None:
            for name, each in self.replicas.items():
                if each.controller.leading != (name in names):
                    each.controller.lead(name in names)

        self.run(told())

    @rule(name=st.sampled_from(REPLICAS), moment=MOMENTS)
    def one_dies_and_is_started_again(self, name: str, moment: float) -> None:
        self._kill(name)
        self.passes(moment)
        self._start(name)

    @rule(name=st.sampled_from(REPLICAS), moment=MOMENTS)
    def one_leads(self, name: str, moment: float) -> None:
        self._lead(name)
        self.passes(moment)

    @rule(moment=st.sampled_from((0.0, 0.01, 0.3)))
    def both_believe_to_lead_for_a_moment(self, moment: float) -> None:
        self._lead(*REPLICAS)
        self.passes(moment)
        self._lead("two")

    @rule(moment=MOMENTS)
    def nobody_leads(self, moment: float) -> None:
        self._lead()
        self.passes(moment)

    # Pods

    @rule(name=PODS, moment=MOMENTS)
    def a_pod_appears(self, name: str, moment: float) -> None:
        if not self.fake.find("Pod", "shop", name):
            self.fake.put(web_pod(name))
        self.passes(moment)

    @rule(name=PODS)
    def a_pod_goes(self, name: str) -> None:
        if self.fake.find("Pod", "shop", name):
            self.fake.delete("Pod", "shop", name)

    @rule(name=PODS, moment=MOMENTS)
    def a_container_restarts(self, name: str, moment: float) -> None:
        if pod := self.fake.find("Pod", "shop", name):
            status = pod["status"]["containerStatuses"][0]
            again = status["restartCount"] + 1
            changed = {**status, "restartCount": again, "containerID": f"containerd://{name}-{again}"}
            self.fake.update("Pod", "shop", name, {"status": {"containerStatuses": [changed]}})
        self.passes(moment)

    # Who works against it

    @rule(name=PODS, moment=MOMENTS)
    def somebody_takes_the_labels_off(self, name: str, moment: float) -> None:
        if pod := self.fake.find("Pod", "shop", name):
            labels = {key: None for key in pod["metadata"].get("labels", {}) if key.startswith("quarantine")}
            self.fake.update("Pod", "shop", name, {"metadata": {"labels": labels}})
        self.passes(moment)

    @rule(moment=MOMENTS)
    def somebody_deletes_the_policies(self, moment: float) -> None:
        for policy in self.fake.list("NetworkPolicy"):
            self.fake.delete("NetworkPolicy", "shop", policy["metadata"]["name"])
        self.passes(moment)

    @rule()
    def somebody_gives_the_right_back(self) -> None:
        self.put_back += 1
        subjects = [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]
        self.fake.update("RoleBinding", "shop", "web-reader", {"subjects": subjects})

    # People

    @precondition(lambda self: self.opened < 3)
    @rule(
        about=st.sampled_from(({"pod": "web-1"}, {"pod": "web-2"}, SELECTOR)),
        mode=st.sampled_from(("Respond", "Respond", "Respond", "Preserve", "Plan")),
        playbook=st.sampled_from(("standard", "unattended", "contain")),
        moment=MOMENTS,
    )
    def an_incident_is_opened(self, about: Obj, mode: str, playbook: str, moment: float) -> None:
        self.opened += 1
        uid = f"{self.opened}0000000-2222-3333-4444-555555555555"
        self.fake.put(incident(f"case-{self.opened}", uid, target=about, mode=mode, playbook=playbook))
        self.passes(moment)

    @rule(number=st.integers(1, 3), mode=st.sampled_from(("Respond", "Preserve")), moment=MOMENTS)
    def a_plan_is_carried_out(self, number: int, mode: str, moment: float) -> None:
        found = self.fake.find("Incident", "shop", f"case-{number}")
        if found and found["spec"]["mode"] == "Plan":
            self.fake.update("Incident", "shop", f"case-{number}", {"spec": {"mode": mode}})
        self.passes(moment)

    @rule(moment=MOMENTS)
    def what_waits_is_approved(self, moment: float) -> None:
        for found in self.fake.list("Incident"):
            for name, step in found.get("status", {}).get("steps", {}).items():
                if step["state"] == "Waiting" and step.get("digest"):
                    self.fake.put(approval(step["digest"], step=name, about=found["metadata"]["name"]))
        self.passes(moment)

    @rule(number=st.integers(1, 3), moment=MOMENTS)
    def an_incident_is_closed(self, number: int, moment: float) -> None:
        if self.fake.find("Incident", "shop", f"case-{number}"):
            closed = {"spec": {"state": "Closed", "verdict": "Exercise"}}
            self.fake.update("Incident", "shop", f"case-{number}", closed)
        self.passes(moment)

    # What is promised

    @rule()
    def after_a_while_every_claim_is_true_and_every_target_cut(self) -> None:
        self._lead("one")
        self.passes(SETTLED)
        for found in self.fake.list("Incident"):
            if found["spec"]["state"] == "Active":
                self._claims_are_true(found)
                if found["spec"]["mode"] == "Respond":
                    self._is_cut(found)

    @rule(name=st.sampled_from(REPLICAS))
    def without_a_leader_every_target_is_cut_all_the_same(self, name: str) -> None:
        """What was cut and freed again waits for the leader, or for the next pod; what was never cut does not."""
        self._lead()
        before = {f["metadata"]["name"] for f in self.fake.list("Incident") if not self._recorded(f)}
        self.passes(UNLED)
        for found in self.fake.list("Incident"):
            if found["metadata"]["name"] in before and found["spec"]["mode"] == "Respond" and not self._over(found):
                self._is_cut(found)

    @invariant()
    def nothing_is_done_twice_that_cannot_be_repeated(self) -> None:
        secrets = [c for c in self.fake.history("Secret") if c.type == "MODIFIED"]
        responding = [f for f in self.fake.list("Incident") if f["spec"]["mode"] == "Respond"]
        assert len(secrets) <= len(responding)
        shrunk = [c for c in self.fake.history("RoleBinding") if "web" not in names(c.obj)]
        assert len(shrunk) <= 1 + self.put_back

    @staticmethod
    def _recorded(found: Obj) -> bool:
        return bool(found.get("status", {}).get("timings", {}).get("cutAt"))

    @staticmethod
    def _over(found: Obj) -> bool:
        return bool(found["spec"]["state"] == "Closed")

    def _is_cut(self, found: Obj) -> None:
        uid, met = found["metadata"]["uid"], found.get("status", {}).get("pods", {})
        target = found["spec"]["target"]
        pods = [pod for pod in self.fake.list("Pod") if meant(pod, target)]
        if "pod" in target and met:  # another pod of its name is another pod
            pods = [pod for pod in pods if pod["metadata"]["uid"] in met]
        for pod in pods:
            labels = pod["metadata"].get("labels", {})
            assert f"quarantine.firebreak.dev/{uid}" in labels, f"{pod['metadata']['name']} is at large: {found}"
        if pods:
            spec = self.fake.get("NetworkPolicy", "shop", f"firebreak-{uid}")["spec"]
            assert spec["policyTypes"] == ["Ingress", "Egress"]

    def _claims_are_true(self, found: Obj) -> None:
        claims = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions", [])}
        if claims.get("Contained") == "True":
            assert found["status"]["held"], "nobody is held"
            self._is_cut(found)
        if claims.get("IdentityContained") == "True":
            assert "web" not in names(self.fake.get("RoleBinding", "shop", "web-reader"))
        if claims.get("SecretsRotated") == "True":
            assert self.fake.get("Secret", "shop", "db")["data"]["password"] != OLD_PASSWORD
        assert claims.get("EvidencePreserved") != "True", "there is no shell and no kubectl: there are gaps"

    def teardown(self) -> None:
        try:
            if self.replicas:
                self.after_a_while_every_claim_is_true_and_every_target_cut()
        finally:
            for name in self.tasks:
                self._kill(name)
            self.run(self.serving.__aexit__(None, None, None))
            self.runner.close()


def names(binding: Obj) -> list[str]:
    return [subject["name"] for subject in binding.get("subjects") or []]


def meant(pod: Obj, target: Obj) -> bool:
    if "pod" in target:
        return bool(pod["metadata"]["name"] == target["pod"])
    return bool(pod["metadata"].get("labels", {}).get("app") == "web")


def test_whatever_happens_in_whatever_order_what_is_promised_holds() -> None:
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=1000 if MANY else 60,
            stateful_step_count=30 if MANY else 20,
            deadline=None,
            derandomize=not MANY,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=(Phase.generate, Phase.shrink),
        ),
    )
