"""A stage by itself: how long it asks the world, and what ends the asking."""

import asyncio
from dataclasses import dataclass

import pytest

from fake_api import FakeApi, Obj
from firebreak.api.playbook import STANDARD
from firebreak.engine import stage
from firebreak.engine.case import Case, Tools, pin
from firebreak.engine.journal import Journal
from firebreak.engine.notices import Notices
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


async def run(fake: FakeApi, stage_: stage.Stage) -> Obj:
    """Run a stage of an incident in the shop once; return the incident's status."""
    shop(fake)
    fake.put(incident())
    async with connect(fake) as api:
        clock, settings = Clock(), Settings(pod="one")
        notices = Notices(api, clock, "one")
        guards = Guards(api, "firebreak")
        tools = Tools(
            api=api,
            settings=settings,
            clock=clock,
            notices=notices,
            tiers=Tiers(api),
            guards=guards,
            enforcement=PROVEN,
        )
        from_api = read({"kind": "Incident", **fake.get("Incident", "shop", "shell")})
        case = Case(tools, Journal(api, from_api, STANDARD, clock, notices))
        async with asyncio.timeout(PATIENCE):
            await stage.run(case, stage_)
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
