"""What becomes of a body of alerts: parsed, put into the backlog, and opened before the answer or after it.

- Alertmanager and our own shape: the answer comes after the Incident. Alertmanager sends again what was answered with
  5xx, so an alert is lost only if both are.
- Falco and Falcosidekick never send again and Falco waits for the answer with its other alerts: they are answered when
  the alert is in the backlog, which tries until the API server takes it.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog

from firebreak.api.base import Json
from firebreak.intake.backlog import Answer, Backlog
from firebreak.intake.formats.parsed import Parse, Parsed
from firebreak.intake.metrics import Metrics
from firebreak.intake.refusal import SOON, UNAVAILABLE, Refused, overloaded
from firebreak.intake.server import Letter, Reply
from firebreak.intake.taken import Outcome
from firebreak.kube.errors import ApiError
from firebreak.model.clock import Clock

log = structlog.get_logger()

AT_ONCE = 50  # alerts of a body before others have their turn: some milliseconds
ANSWER = 8.0  # seconds: Alertmanager gives up after ten or more
MOST_TOLD = 20  # refusals that the answer repeats


@dataclass(frozen=True)
class Alerts:
    """Takes the bodies of one format. `patient` senders get their answer after the Incident."""

    parse: Parse
    patient: bool
    backlog: Backlog
    metrics: Metrics
    clock: Clock

    async def take(self, letter: Letter) -> Reply:
        """Return what the sender is told. Raises `Refused`."""
        parsed = self.parse(letter.body, letter.headers, self.clock())
        if parsed.refusals and not (parsed.alerts or parsed.passed):
            raise Refused(400, "malformed", "; ".join(map(str, parsed.refusals[:MOST_TOLD])))
        taken = await (self._opened(parsed, letter) if self.patient else self._accepted(parsed, letter))
        if parsed.refusals:
            taken["refused"] = why = [str(each) for each in parsed.refusals[:MOST_TOLD]]
            log.warning("alerts refused", sender=letter.sender.name, number=len(parsed.refusals), why=why)
            self.metrics.alerts.labels("unreadable", "refused").inc(len(parsed.refusals))
        if parsed.passed:
            taken["passed"] = len(parsed.passed)
        return Reply(200 if self.patient else 202, taken)

    async def _accepted(self, parsed: Parsed, letter: Letter) -> Json:
        lost = 0
        for number, alert in enumerate(parsed.alerts):
            lost += not self.backlog.put(alert, letter.sender.name)
            await _turn(number)
        if lost:
            raise self._no_room(lost, parsed)
        return {"accepted": len(parsed.alerts)}

    async def _opened(self, parsed: Parsed, letter: Letter) -> Json:
        there: list[Answer] = []
        for number, alert in enumerate(parsed.alerts):
            answer: Answer = asyncio.get_running_loop().create_future()
            if not self.backlog.put(alert, letter.sender.name, answer):
                break  # the whole group comes again, and what is here by then takes no room
            there.append(answer)
            await _turn(number)
        if there:
            await asyncio.wait(there, timeout=ANSWER)
        found = [answer.result() for answer in there if answer.done()]
        if error := next((each for each in found if isinstance(each, ApiError)), None):
            words = f"the API server does not take it now ({type(error).__name__}); send it again"
            raise Refused(503, UNAVAILABLE, words, SOON) from error
        if len(found) < len(there):
            words = "the API server did not take it in time; send it again"
            raise Refused(503, UNAVAILABLE, words, SOON)
        if len(there) < len(parsed.alerts):
            raise self._no_room(len(parsed.alerts) - len(there), parsed)
        taken = [each for each in found if not isinstance(each, ApiError)]
        if all(each.outcome is Outcome.LOST for each in taken) and taken:
            raise Refused(500, "lost", taken[0].why)
        counts = Counter(str(each.outcome) for each in taken)
        return {**counts, "alerts": [each.to_json() for each in taken[:MOST_TOLD]]}

    @staticmethod
    def _no_room(lost: int, parsed: Parsed) -> Refused:
        return overloaded(f"{lost} of {len(parsed.alerts)} alerts found no room, for too many wait for the API server")


async def _turn(number: int) -> None:
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
