"""What becomes of a body of alerts: parsed, then opened before the answer or accepted into the backlog.

- Alertmanager and our own shape: the answer comes after the Incident. Alertmanager sends again what was answered with
  5xx, so an alert is lost only if both are.
- Falco and Falcosidekick never send again and Falco waits for the answer with its other alerts: they are answered when
  the alert is in the backlog, which tries until the API server takes it.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from firebreak.api.base import Json
from firebreak.intake.alert import Alert
from firebreak.intake.backlog import Backlog
from firebreak.intake.desk import Desk
from firebreak.intake.formats.parsed import Parse, Parsed
from firebreak.intake.metrics import Metrics
from firebreak.intake.refusal import SOON, UNAVAILABLE, Refused, overloaded
from firebreak.intake.server import Letter, Reply
from firebreak.intake.taken import Outcome, Taken
from firebreak.kube.errors import ApiError
from firebreak.model.clock import Clock

ANSWER = 8.0  # seconds: Alertmanager gives up after ten or more
MOST_TOLD = 20  # refusals that the answer repeats


@dataclass(frozen=True)
class Alerts:
    """Takes the bodies of one format. `patient` senders get their answer after the Incident."""

    parse: Parse
    patient: bool
    desk: Desk
    backlog: Backlog
    metrics: Metrics
    clock: Clock

    async def take(self, letter: Letter) -> Reply:
        """Return what the sender is told. Raises `Refused`."""
        parsed = self.parse(letter.body, letter.headers, self.clock())
        if parsed.refusals and not (parsed.alerts or parsed.passed):
            raise Refused(400, "malformed", "; ".join(map(str, parsed.refusals[:MOST_TOLD])))
        taken = await self._opened(parsed, letter) if self.patient else self._accepted(parsed, letter)
        if parsed.refusals:
            taken["refused"] = [str(each) for each in parsed.refusals[:MOST_TOLD]]
            self.metrics.alerts.labels("unreadable", "refused").inc(len(parsed.refusals))
        if parsed.passed:
            taken["passed"] = len(parsed.passed)
        return Reply(200 if self.patient else 202, taken)

    def _accepted(self, parsed: Parsed, letter: Letter) -> Json:
        lost = sum(not self.backlog.put(alert, letter.sender.name) for alert in parsed.alerts)
        if lost:
            raise overloaded(
                f"{lost} of {len(parsed.alerts)} alerts found no room, for too many wait for the API server"
            )
        return {"accepted": len(parsed.alerts)}

    async def _opened(self, parsed: Parsed, letter: Letter) -> Json:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER):
                found = await asyncio.gather(*(self._open(alert, letter, begun) for alert in parsed.alerts))
        except TimeoutError:
            words = "the API server did not take it in time; send it again"
            raise Refused(503, UNAVAILABLE, words, SOON) from None
        except ApiError as error:
            words = f"the API server does not take it now ({type(error).__name__}); send it again"
            raise Refused(503, UNAVAILABLE, words, SOON) from error
        if all(taken.outcome is Outcome.LOST for taken in found) and found:
            raise Refused(500, "lost", found[0].why)
        counts = Counter(str(taken.outcome) for taken in found)
        return {**counts, "alerts": [taken.to_json() for taken in found[:MOST_TOLD]]}

    async def _open(self, alert: Alert, letter: Letter, begun: float) -> Taken:
        taken = await self.desk.take(alert, letter.sender.name)
        if taken.outcome is Outcome.OPENED:
            self.metrics.open_seconds.observe(time.monotonic() - begun)
        return taken
