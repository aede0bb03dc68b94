"""A stage by itself: how long it asks the world, and what ends the asking."""

import asyncio
from dataclasses import dataclass

from fake_api import FakeApi
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


async def test_a_stage_stops_asking_when_pods_join_that_it_has_to_run_for_again(fake: FakeApi) -> None:
    shop(fake)
    fake.put(incident())
    never = NeverSettles()
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
            await stage.run(case, never)
    report = fake.get("Incident", "shop", "shell")["status"]["steps"]["revoke"]
    assert (never.asked, report["state"], report.get("pods", 0)) == (1, "Partial", 0)
    assert report["message"] == "pods joined before it was settled; it runs again for them"
