"""A stage by itself: how long it asks the world, and what ends the asking."""

import asyncio
from dataclasses import dataclass, field

import pytest

from fake_api import FakeApi, Obj
from firebreak.api.playbook import STANDARD
from firebreak.engine import stage
from firebreak.engine.case import SURVEYS, Case, Tools, pin
from firebreak.engine.journal import Journal
from firebreak.engine.notices import Notices
from firebreak.kube.client import Api
from firebreak.kube.guard import Guards
from firebreak.kube.tiers import Tiers
from firebreak.model.change import Change
from firebreak.model.incident import read
from firebreak.model.pod import Pod
from firebreak.model.verdict import IDENTITY, Verdict
from firebreak.settings import Settings
from harness import PATIENCE, PROVEN, Clock, connect
from world import incident, shop, web_pod


@dataclass
class NeverSettles:
    """A stage that the world does not answer; at the first question another pod joins."""

    name = "revoke"
    condition = IDENTITY
    lasting = False
    alone = False
    asked: int = 0

    async def plan(self, case: Case) -> tuple[Change, ...]:
        assert case.status
        return ()

    async def confirm(self, case: Case) -> Verdict | None:
        self.asked += 1
        case.journal.note(lambda s: pin(s, (Pod(web_pod("web-9")),)))
        return None

    def patience(self, case: Case) -> float:
        assert case.status
        return PATIENCE * 10


@dataclass
class OnItsWay:
    """A stage whose workloads do not come back, or about which the API server does not answer."""

    answers: bool
    name = "revoke"
    condition = IDENTITY
    lasting = False
    alone = False

    async def plan(self, case: Case) -> tuple[Change, ...]:
        assert case.status
        return ()

    async def confirm(self, case: Case) -> Verdict | None:
        assert case.status
        if not self.answers:
            await asyncio.Event().wait()
        return None

    def patience(self, case: Case) -> float:
        assert case.status
        return 0.01


def tools_of(api: Api) -> Tools:
    clock = Clock()
    return Tools(
        api=api,
        settings=Settings(pod="one"),
        clock=clock,
        notices=Notices(api, clock, "one"),
        tiers=Tiers(api),
        guards=Guards(api, "firebreak"),
        enforcement=PROVEN,
    )


def case_of(tools: Tools, fake: FakeApi, name: str) -> Case:
    from_api = read({"kind": "Incident", **fake.get("Incident", "shop", name)})
    return Case(tools, Journal(tools.api, from_api, STANDARD, tools.clock, tools.notices))


async def run(fake: FakeApi, stage_: stage.Stage) -> Obj:
    """Run a stage of an incident in the shop once; return the incident's status."""
    shop(fake)
    fake.put(incident())
    async with connect(fake) as api, asyncio.timeout(PATIENCE):
        await stage.run(case_of(tools_of(api), fake, "shell"), stage_)
    found: Obj = fake.get("Incident", "shop", "shell")["status"]
    return found


async def test_a_stage_stops_asking_when_pods_join_that_it_has_to_run_for_again(fake: FakeApi) -> None:
    never = NeverSettles()
    report = (await run(fake, never))["steps"]["revoke"]
    assert (never.asked, report["state"], report.get("pods", 0)) == (1, "Partial", 0)
    assert report["message"] == "pods joined before it was settled; it runs again for them"


ON_ITS_WAY = (
    "not all workloads are back after 0.01 s; `kubectl describe` of their pods tells why; "
    "it is looked at again every 300 s"
)
UNTOLD = (
    "the API server did not answer within 0.01 s how it is now; it is looked at again every 300 s. "
    "If that stays so, find out what keeps the API server busy"
)


@pytest.mark.parametrize(
    ("answers", "said"), [(True, ("False", "TimedOut", ON_ITS_WAY)), (False, ("Unknown", "CannotVerify", UNTOLD))]
)
async def test_what_patience_waited_for_in_vain_is_said(
    said: tuple[str, str, str], fake: FakeApi, *, answers: bool
) -> None:
    conditions = (await run(fake, OnItsWay(answers)))["conditions"]
    (found,) = [condition for condition in conditions if condition["type"] == IDENTITY]
    assert (found["status"], found["reason"], found["message"]) == said


@dataclass
class Survey(NeverSettles):
    """A stage that reads until it is told to stop; knows how many read at once, and how many did at most."""

    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    reading: int = 0
    most: int = 0

    async def plan(self, case: Case) -> tuple[Change, ...]:
        assert case.status
        self.reading += 1
        self.most = max(self.most, self.reading)
        if self.most == SURVEYS:
            self.full.set()
        await self.goes_on.wait()
        self.reading -= 1
        return ()

    async def confirm(self, case: Case) -> Verdict | None:
        assert case.status
        return Verdict(IDENTITY, "True", "Revoked", "")


async def test_the_facts_of_a_few_incidents_are_in_memory_at_once_however_many_there_are(fake: FakeApi) -> None:
    survey = Survey()
    shop(fake)
    names = [f"i{number}" for number in range(SURVEYS * 3)]
    for name in names:
        fake.put(incident(name, f"uid-{name}"))
    async with connect(fake) as api:
        tools = tools_of(api)
        tasks = [asyncio.create_task(stage.run(case_of(tools, fake, name), survey)) for name in names]
        async with asyncio.timeout(PATIENCE):
            await survey.full.wait()
            for _ in range(100):  # the others come as far as they may
                await asyncio.sleep(0)
            survey.goes_on.set()
            await asyncio.gather(*tasks)
    assert survey.most == SURVEYS
