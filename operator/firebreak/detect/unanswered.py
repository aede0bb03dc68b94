"""Patches whose answer is never logged.

The API server writes the body of a patch into its event as it came. A body that is no JSON, such as that of an apply in
YAML, cannot be encoded there, and the event of the answer is dropped (seen on 1.35; k8s.io/apiserver,
audit.LogRequestPatch). That the request was received has no body and is logged, where the policy asks for this stage.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from firebreak.detect.correlate import request_of, slim
from firebreak.detect.event import RECEIVED, Event
from firebreak.detect.past import Past
from firebreak.detect.rules import Rule
from firebreak.detect.stamps import ZULU, stamp_of

PATCH: Final = "patch"
ANSWERED_WITHIN: Final = 150.0  # seconds: a request lasts for 60, and a webhook's batch is sent again for about as long
MOST_WAITING: Final = 10_000  # patches without an answer; then the oldest is not waited for any longer
REMEMBERED: Final = 50_000  # answers, and as many before them: they may come before what they answer


@dataclass(frozen=True, slots=True)
class Lost:
    """A patch that was received, and whose answer is not in the log."""

    rule: Rule
    event: Event
    at: float


class Unanswered:
    """The patches that were received, and what rules hold of them if they are not answered."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[Lost]] = {}
        """By request, oldest first."""
        self._answered = Past(REMEMBERED)
        self._due = ""  # before this time, as the API server writes times, the oldest is not overdue

    def asked(self, rule: Rule, event: Event, at: float) -> None:
        """Take an event that a rule matched at a moment, in seconds: it is found unless it is answered."""
        request = request_of(event)
        if event.stage == RECEIVED and event.verb == PATCH and event.audit_id and request not in self._answered:
            self.waiting.setdefault(request, []).append(Lost(rule, slim(event), at))
            if len(self.waiting) == 1 or len(self.waiting) > MOST_WAITING:
                self._due = ""

    def look(self, event: Event) -> list[Lost]:
        """Take the next event, whatever it is about; return the patches that are overdue."""
        if event.verb == PATCH and event.stage != RECEIVED:
            request = request_of(event)
            self._answered.add(request)
            self.waiting.pop(request, None)
        stamp = event.stage_timestamp
        if not self.waiting or (stamp <= self._due and stamp[-1:] == ZULU):
            return []
        return self._overdue(event)

    def _overdue(self, event: Event) -> list[Lost]:
        """Tell by the API server's clock: a log may be read long after."""
        try:
            time = datetime.fromisoformat(event.stage_timestamp).timestamp()
        except (ValueError, OverflowError, OSError):
            return []
        lost: list[Lost] = []
        while self.waiting:
            request, oldest = next(iter(self.waiting.items()))
            if oldest[0].at + ANSWERED_WITHIN >= time and len(self.waiting) <= MOST_WAITING:
                break
            lost += self.waiting.pop(request)
        self._due = stamp_of(next(iter(self.waiting.values()))[0].at + ANSWERED_WITHIN) if self.waiting else ""
        return lost
