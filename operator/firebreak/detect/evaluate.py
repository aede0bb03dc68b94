"""Events in, findings out.

Most events concern no rule. So the answers to all tests of the fields that repeat from event to event (who, what verb,
what resource, what answer) are found once for each combination of their values, and what is left of the rules then, for
most combinations nothing, is kept by that combination.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from firebreak.detect.allowing import not_allowed
from firebreak.detect.compile import Check, compiled
from firebreak.detect.condition import Condition, Test, all_of, decided, tests_of
from firebreak.detect.correlate import Counts, Tracker
from firebreak.detect.event import Event
from firebreak.detect.fields import Seen
from firebreak.detect.finding import Finding
from firebreak.detect.patterns import SameAs
from firebreak.detect.rules import EVERY, Named, Rule, Ruleset

REPEATING: Final = frozenset({
    "stage", "verb", "user.username", "objectRef.apiGroup", "objectRef.resource", "objectRef.subresource",
    "responseStatus.code",
})  # fmt: skip
MOST_COMBINATIONS: Final = 20_000
MOST_PLANS: Final = 2_000
LONGEST_COMBINATION: Final = 1_024  # characters; longer ones somebody makes up, and are not kept
REMEMBERED: Final = 50_000  # events, twice: the latest are known as repeats
AHEAD: Final = timedelta(minutes=5)  # that an API server's clock may be ahead of ours

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Use:
    """What is done with an event for which a condition holds: a finding, or one more for a correlation."""

    rule: Rule
    condition: Condition
    tracker: Tracker | None = None


Plan = tuple[tuple[Check | None, _Use], ...]


class Detector:
    """A ruleset at work. Feed it every event once, or more often: repeats are skipped."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.counts = Counts()
        self._uses = _uses(ruleset, self.counts)
        tests = {test: None for use in self._uses for test in tests_of(use.condition)}
        self._tests = tuple(test for test in tests if _repeats(test))
        self._checks = tuple(compiled(test) for test in self._tests)
        self._plans: dict[tuple[bool, ...], Plan] = {}
        self._by_key: dict[Key, Plan] = {}
        self._new: set[int] = set()
        self._old: set[int] = set()

    @property
    def trackers(self) -> Sequence[Tracker]:
        """The correlations at work."""
        return tuple({id(use.tracker): use.tracker for use in self._uses if use.tracker}.values())

    def feed(self, event: Event, now: datetime) -> list[Finding]:
        """Return what an event makes the rules find; `now` is the reader's time, with its zone. Never raises."""
        if event.audit_id and self._repeated(event):
            self.counts.repeats += 1
            return []
        ref, status = event.object_ref, event.response_status
        code = 0 if status is None else status.code
        key: Key
        if ref is None:
            key = (event.stage, event.verb, event.user.username, code)
        else:
            key = (event.stage, event.verb, event.user.username, code, ref.resource, ref.subresource, ref.api_group)
        plan = self._by_key.get(key)
        if plan is None:
            plan = self._planned(Seen(event), key)
        return self._found(plan, Seen(event), now) if plan else []

    def _repeated(self, event: Event) -> bool:
        """Tell whether an event came before, by 64 bits that nobody outside this process can aim at.

        Not by auditID and stage alone, as the API's documentation suggests: a caller may choose the auditID (header
        Audit-ID), and all its calls but the first would be taken for repeats. The time, to the microsecond, is the
        API server's own.
        """
        mark = hash((event.audit_id, event.stage, event.stage_timestamp, event.request_uri))
        new = self._new
        if mark in new or mark in self._old:
            return True
        new.add(mark)
        if len(new) >= REMEMBERED:
            self._old, self._new = new, set()
        return False

    def _found(self, plan: Plan, seen: Seen, now: datetime) -> list[Finding]:
        found = []
        for check, use in plan:
            if check is None or check(seen):
                time = self._time(seen.event, now)
                if use.tracker is None:
                    found.append(_finding(use.rule, time, (seen.event,)))
                    continue
                events, group = use.tracker.add(seen, use.rule.name, time.timestamp())
                if events:
                    named = zip(use.tracker.correlation.group_by, group, strict=True)
                    found.append(_finding(use.tracker.correlation, time, events, tuple(named)))
        self.counts.unreadable += seen.unreadable
        return found

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

    def _planned(self, seen: Seen, key: Key) -> Plan:
        answers = tuple(check(seen) for check in self._checks)
        plan = self._plans.get(answers)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[answers] = self._left(dict(zip(self._tests, answers, strict=True)))
        if sum(len(part) for part in key if isinstance(part, str)) <= LONGEST_COMBINATION:
            if len(self._by_key) >= MOST_COMBINATIONS:
                self._by_key.clear()
            self._by_key[key] = plan
        return plan

    def _left(self, answers: Mapping[Test, bool]) -> Plan:
        left = ((decided(use.condition, answers), use) for use in self._uses)
        return tuple(
            (None if isinstance(each, bool) else compiled(each), use) for each, use in left if each is not False
        )


def _repeats(test: Test) -> bool:
    return test.field.name in REPEATING and not any(isinstance(pattern, SameAs) for pattern in test.patterns)


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
