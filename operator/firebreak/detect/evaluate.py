"""Events in, findings out.

Most events concern no rule: what is left of the rules once the remembered tests are answered (`detect.answers`) is, for
most answers, nothing. What is left is compiled once for each combination of answers.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from firebreak.detect.allowing import not_allowed
from firebreak.detect.answers import Answers
from firebreak.detect.compile import Check, compiled
from firebreak.detect.condition import Condition, Test, all_of, decided, tests_of
from firebreak.detect.correlate import Counts, Tracker, request_of
from firebreak.detect.event import COMPLETE, STARTED, Event
from firebreak.detect.fields import Seen
from firebreak.detect.finding import Finding
from firebreak.detect.past import Past
from firebreak.detect.rules import EVERY, Named, Rule, Ruleset

MOST_PLANS: Final = 2_000
REMEMBERED: Final = 50_000  # events that a rule matched, and as many before them
AHEAD: Final = timedelta(minutes=5)  # that an API server's clock may be ahead of ours


def NEVER(_: Seen) -> bool:  # noqa: N802 - a value of its own, told from others by identity
    """What is left of a condition that cannot hold."""
    return False


class _Use:
    """What is done with an event for which a condition holds: a finding, or one more for a correlation."""

    def __init__(self, rule: Rule, condition: Condition, tracker: Tracker | None = None) -> None:
        self.rule = rule
        self.condition = condition
        self.tracker = tracker
        self._bits: dict[int, Test] = {}
        self._left: dict[int, Check | None] = {}

    def number(self, tests: Sequence[Test]) -> None:
        """Learn which bit is the answer to which test."""
        own = set(tests_of(self.condition))
        self._bits = {1 << position: test for position, test in enumerate(tests) if test in own}

    def left(self, answers: int) -> Check | None:
        """Return what is left to ask: None when it holds already, NEVER when it cannot."""
        mine = sum(bit for bit in self._bits if answers & bit)
        if mine not in self._left:
            left = decided(self.condition, {test: bool(mine & bit) for bit, test in self._bits.items()})
            if len(self._left) >= MOST_PLANS:
                self._left.clear()
            self._left[mine] = (None if left else NEVER) if isinstance(left, bool) else compiled(left)
        return self._left[mine]


Plan = tuple[tuple[Check | None, _Use], ...]


class Detector:
    """A ruleset at work. Feed it every event once, or more often: repeats are skipped."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.counts = Counts()
        self._uses = _uses(ruleset, self.counts)
        self._answers = Answers(test for use in self._uses for test in tests_of(use.condition))
        for use in self._uses:
            use.number(self._answers.tests)
        self._plans: dict[int, Plan] = {}
        self._past = Past(REMEMBERED)
        self._told = Past(REMEMBERED)

    @property
    def trackers(self) -> Sequence[Tracker]:
        """The correlations at work."""
        return tuple({id(use.tracker): use.tracker for use in self._uses if use.tracker}.values())

    def feed(self, event: Event, now: datetime) -> list[Finding]:
        """Return what an event makes the rules find; `now` is the reader's time, with its zone. Never raises."""
        answers = self._answers.of(event)
        plan = self._plans.get(answers)
        if plan is None:
            plan = self._planned(answers)
        return self._found(plan, Seen(event), now) if plan else []

    def _found(self, plan: Plan, seen: Seen, now: datetime) -> list[Finding]:
        uses = [use for check, use in plan if check is None or check(seen)]
        self.counts.unreadable += seen.unreadable
        if not uses:
            return []
        event, time = seen.event, self._time(seen.event, now)
        repeated: bool | None = None  # asked only when a rule fires: what nobody tells may come as often as it likes
        found = []
        for use in uses:
            if use.tracker is not None:  # counts nothing twice, by itself
                events, group = use.tracker.add(seen, use.rule.name, time.timestamp())
                if events:
                    correlation = use.tracker.correlation
                    named = tuple(zip(correlation.group_by, group, strict=True))
                    found.append(_finding(correlation, time, events, named))
                continue
            repeated = self._repeats(event) if repeated is None else repeated
            if not repeated and not self._was_told(use.rule, event):
                found.append(_finding(use.rule, time, (event,)))
        self.counts.repeats += repeated is True
        return found

    def _repeats(self, event: Event) -> bool:
        """Tell whether an event came before: it has its auditID, its stage, and the stage's time to the microsecond.

        Not by auditID and stage alone, as the API's documentation suggests: a caller may choose the auditID (header
        Audit-ID, seen on 1.35), and all its calls but the first would be taken for repeats. The time is the API
        server's own.
        """
        key = (event.audit_id, event.stage, event.stage_timestamp)
        if not event.audit_id or key in self._past:
            return bool(event.audit_id)
        self._past.add(key)
        return False

    def _was_told(self, rule: Rule, event: Event) -> bool:
        """Tell whether a rule found this call, an exec or a watch, when it began."""
        if not event.audit_id or event.stage not in {STARTED, COMPLETE}:
            return False
        key = (rule.name, request_of(event))
        if event.stage == STARTED:
            self._told.add(key)
        return event.stage == COMPLETE and key in self._told

    def _time(self, event: Event, now: datetime) -> datetime:
        for stamp in (event.stage_timestamp, event.request_received_timestamp):
            try:
                time = datetime.fromisoformat(stamp)
                time = time if time.tzinfo else time.replace(tzinfo=UTC)
                if time - now <= AHEAD:
                    return time
            except (ValueError, OverflowError):
                continue
        self.counts.misdated += 1
        return now

    def _planned(self, answers: int) -> Plan:
        """Return what is left to do with events of such answers."""
        left = ((use.left(answers), use) for use in self._uses)
        plan = tuple((check, use) for check, use in left if check is not NEVER)
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        self._plans[answers] = plan
        return plan


def _uses(ruleset: Ruleset, counts: Counts) -> tuple[_Use, ...]:
    """All that may come of an event; nobody's own calls that an administrator allows."""
    allowed = ruleset.allowed
    own = {rule.name: all_of([rule.condition, *not_allowed(allowed, (rule.name, EVERY))]) for rule in ruleset.rules}
    uses = [_Use(rule, own[rule.name]) for rule in ruleset.rules if rule.fires]
    for correlation in ruleset.correlations:
        tracker, besides = Tracker(correlation, counts), not_allowed(allowed, (correlation.name,))
        uses += (
            _Use(rule, all_of([own[rule.name], *besides]), tracker)
            for rule in ruleset.rules
            if rule.name in correlation.rules
        )
    return tuple(uses)


def _finding(
    rule: Named, time: datetime, events: tuple[Event, ...], group: tuple[tuple[str, str], ...] = ()
) -> Finding:
    return Finding(rule.name, rule.title, rule.level, rule.aim, rule.tags, time, events, group)
