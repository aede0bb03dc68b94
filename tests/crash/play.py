"""One run of a scenario, disturbed or not: after a process that dies comes another, until the incident is through."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clockwork import run
from fake_api import Call, FakeApi, Fault, Hold, Obj, running_fake
from fake_api.faults import Crash, How
from faulty_store import Fault as StoreFault
from faulty_store import FaultyBackend, StoreCall
from firebreak.evidence.errors import StoreUnavailable
from firebreak.evidence.keys import Key
from firebreak.evidence.store import EvidenceStore
from firebreak.evidence.verify import verify
from firebreak.kube.client import DEFAULT_LIMITS
from harness import Clock, replica
from memory_store import MemoryBackend
from outside import Outside, standing_outside
from scene import Scenario, Scene
from state import changes, state
from trouble import Kind, Point, Tally, how

STUCK = 900.0  # seconds on the leaping clock after which an incident counts as stuck: three slow looks
OPENED = 1.0  # seconds after the start of the first process
QUIET = 3.0  # seconds without anything new after which a run is over: longer than any short pause
PROCESSES = ("one", "two", "three", "four")
Plan = Mapping[Point, Kind]


@dataclass(frozen=True)
class Report:
    """What came of a run. `points`: its calls, in order. `met`: what of the plan befell it.

    `ended`: how often the hook was asked to end which identity. `repeated`: what people were told once more.
    """

    points: tuple[Point, ...]
    met: frozenset[Point]
    state: Obj
    changes: Counter[str]
    ended: Counter[str]
    repeated: Counter[str]
    captured_again: tuple[str, ...]
    problems: tuple[str, ...]


class Run:
    """One run: the plan of what befalls it, and the processes, one after the other."""

    def __init__(self, scenario: Scenario, plan: Plan, fake: FakeApi, outside: Outside) -> None:
        self.scenario, self.plan, self.fake, self.outside = scenario, plan, fake, outside
        self.objects = MemoryBackend()
        self.scene = Scene(scenario, fake, self.objects)
        self.tally, self.clock = Tally(), Clock()
        self.met: set[Point] = set()
        self.dead: set[str] = set()
        self.name, self.died = "", asyncio.Event()
        gone = Hold(asyncio.Event())
        fake.faults.add(Fault(when=lambda call: call.user in self.dead, how=gone))
        fake.faults.add(Fault(when=lambda call: self._counts(call.user) and not self.tally.call(call), how=gone))
        for point, kind in plan.items():
            fake.faults.add(Fault(when=self._meets(point), how=self._how(kind)))
        outside.befalls = lambda path: self._befalls(self.tally.next("outside", f"post {path}", "write"))

    def _counts(self, process: str) -> bool:
        return process in PROCESSES and process not in self.dead

    def _meets(self, point: Point) -> Callable[[Call], bool]:
        return lambda call: self._counts(call.user) and self.tally.call(call) == point and bool(self._befalls(point))

    def _befalls(self, point: Point) -> Kind | None:
        """What the plan has for a call that is made now."""
        kind = self.plan.get(point) if self._counts(self.name) else None
        if kind:
            self.met.add(point)
        if kind and kind.deadly and point.where != "api":
            self._die()
        return kind

    def _how(self, kind: Kind) -> How:
        if kind.deadly:
            return Crash(lambda _: self._die(), after_effect=kind is Kind.DIES_AFTER)
        return how(kind, self.fake)

    def _die(self) -> None:
        self.dead.add(self.name)
        self.died.set()

    def _store(self, process: str) -> EvidenceStore:
        """The evidence, as one process reaches it."""

        def choose(call: StoreCall) -> StoreFault | None:
            if process in self.dead:
                return StoreFault(lambda _: True, None, after=False)
            if not self._counts(process):
                return None
            kind = self._befalls(self.tally.next("store", f"{call.operation} {call.key}", call.operation))
            error = None if kind and kind.deadly else StoreUnavailable("the store is down, as the test told it")
            return StoreFault(lambda _: True, error, after=kind in {Kind.DIES_AFTER, Kind.LOST}) if kind else None

        return EvidenceStore(FaultyBackend(self.objects, choose))

    async def _live(self, process: str) -> None:
        """One process, until it is killed."""
        settings: Obj = {"kubectl": "no-such-kubectl", "notify_format": "json", "cluster": "prod"}
        settings |= {"notify_url": f"{self.outside.url}/notify", "cloud_hook_url": f"{self.outside.url}/hook"}
        settings |= {"cloud_hook_key": "a key of the tests alone"}
        async with replica(
            self.fake,
            self._store(process),
            name=process,
            clock=self.clock,
            limits=DEFAULT_LIMITS,
            alone=True,
            **settings,
        ):
            await asyncio.Event().wait()

    async def through(self, ended: Callable[[], bool]) -> None:
        """Let processes live and die until the incident is through, and nothing happens any more."""
        beside = [asyncio.create_task(work) for work in (self.scene.controllers(), self.scene.people(), self._opened())]
        try:
            for self.name in PROCESSES:
                self.died = asyncio.Event()
                process = asyncio.create_task(self._live(self.name))
                try:
                    if await self._survives(ended):
                        return
                finally:
                    process.cancel()
                    await asyncio.gather(process, return_exceptions=True)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        raise AssertionError(f"all of {PROCESSES} died")

    async def _opened(self) -> None:
        await asyncio.sleep(OPENED)
        self.scene.opened()

    async def _survives(self, ended: Callable[[], bool]) -> bool:
        """Whether the process is alive when the incident is through. Raises TimeoutError when it never is."""
        died = asyncio.create_task(self.died.wait())
        done = asyncio.create_task(self.fake.until(ended))
        try:
            async with asyncio.timeout(STUCK):
                await asyncio.wait({died, done}, return_when=asyncio.FIRST_COMPLETED)
                if not died.done():
                    await asyncio.wait({died}, timeout=QUIET)
                return not died.done()
        finally:
            for task in (died, done):
                task.cancel()
            await asyncio.gather(died, done, return_exceptions=True)

    async def report(self) -> Report:
        sealed = [key for key in self.objects.objects if key.endswith("/manifest.json")]
        store = EvidenceStore(self.objects)
        found = [await verify(store, Key(key.removesuffix("/manifest.json"))) for key in sealed]
        problems = tuple(str(problem) for verification in found for problem in verification.problems)
        return Report(
            tuple(self.tally.points),
            frozenset(self.met),
            state(self.fake, self.objects),
            changes(self.fake),
            self.outside.ended,
            self.outside.repeated,
            tuple(self.scene.captured_again),
            problems,
        )


async def _play(scenario: Scenario, plan: Plan, wanted: Obj | None) -> Report:
    async with running_fake() as fake, standing_outside() as outside:
        playing = Run(scenario, plan, fake, outside)

        def ended() -> bool:
            found = (fake.find("Incident", "shop", "shell") or {}).get("status") or {}
            if found.get("phase") != (wanted["status"]["phase"] if wanted else scenario.phase):
                return False
            return wanted is None or state(fake, playing.objects) == wanted

        with contextlib.suppress(TimeoutError):  # the report shows where it is stuck
            await playing.through(ended)
        return await playing.report()


def play(scenario: Scenario, plan: Plan | None = None, wanted: Obj | None = None, seed: int = 0) -> Report:
    """Run until the end state is the wanted one, or stuck; without a wanted one, until the scenario's phase."""
    random.seed(seed)  # jitter
    return run(_play(scenario, plan or {}, wanted))
