"""Events in, findings out.

Most events concern no rule: what is left of the rules once the remembered tests are answered (`detect.answers`) is, for
most answers, nothing. What is left is compiled once for each combination of answers.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from firebreak.detect.allowing import not_allowed
from firebreak.detect.answers import MOST_LEFT, Answers, Ask, Left
from firebreak.detect.compile import Check, compiled
from firebreak.detect.condition import Condition, all_of
from firebreak.detect.correlate import Counts, Tracker, request_of
from firebreak.detect.event import COMPLETE, Event
from firebreak.detect.fields import Seen
from firebreak.detect.finding import Finding
from firebreak.detect.past import Past
from firebreak.detect.rules import EVERY, Named, Rule, Ruleset
from firebreak.detect.unanswered import PATCH, Lost, Unanswered

REMEMBERED: Final = 50_000  # events that a rule matched, and as many before them
AHEAD: Final = 300.0  # seconds that an API server's clock may be ahead of ours


def NEVER(_: Seen) -> bool:  # noqa: N802 - a value of its own, told from others by identity
    """What is left of a condition that cannot hold."""
    return False


class _Use:
    """What is done with an event for which a condition holds: a finding, or one more for a correlation."""

    def __init__(self, rule: Rule, condition: Condition, tracker: Tracker | None = None) -> None:
        self.rule = rule
        self.condition = condition
        self.tracker = tracker
        self.steady = None if tracker is None else tracker.steady(rule.name)


def _check(left: Condition | bool) -> Check | None:  # noqa: FBT001 - what is left of a condition may be its answer
    """Return what is left to ask: None when it holds already, NEVER when it cannot."""
    if isinstance(left, bool):
        return None if left else NEVER
    return compiled(left)


class _Plan:
    """What is done with events that answer alike."""

    __slots__ = ("asks", "goes_on", "uses")

    def __init__(self, uses: Sequence[tuple[Check | None, _Use]], asks: Sequence[Ask] = ()) -> None:
        self.uses = uses
        """What may come of them, and what has to be asked before."""
        self.asks = asks
        """What else they have to answer first: then another plan is made."""
        alone = uses[0][1].steady if len(uses) == 1 and uses[0][0] is None else None
        self.goes_on = None if alone is None else alone.goes_on
        """Tells that nothing at all comes of one."""


class Detector:
    """A ruleset at work. Feed it every event once, or more often: repeats are skipped."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.counts = Counts()
        self._uses = _uses(ruleset, self.counts)
        self._answers = Answers(use.condition for use in self._uses)
        self._of = self._answers.of
        self._left = [(Left(use.condition, self._answers.bits, _check), use) for use in self._uses]
        self._plans: dict[int, _Plan] = {}
        self._plans_later: dict[int, _Plan] = {}
        self._past = Past(REMEMBERED)
        self._told = Past(REMEMBERED)
        self._unanswered = Unanswered()
        self._waiting = self._unanswered.waiting

    @property
    def trackers(self) -> Sequence[Tracker]:
        """The correlations at work."""
        return tuple({id(use.tracker): use.tracker for use in self._uses if use.tracker}.values())

    def feed(self, event: Event, now: datetime) -> list[Finding]:
        """Return what an event makes the rules find; `now` is the reader's time, with its zone. Never raises."""
        lost = self._unanswered.look(event) if event.verb == PATCH or self._waiting else ()
        answers = self._of(event)
        plan = self._plans.get(answers)
        if plan is None:
            plan = self._planned(answers)
        if plan.asks:
            for read, known in plan.asks:
                answers |= known[read(event)]
            plan = self._plans_later.get(answers)
            if plan is None:
                plan = self._planned_later(answers)
        quiet = not plan.uses or (plan.goes_on is not None and plan.goes_on(event))
        found = [] if quiet else self._found(plan, event, now)
        return [*map(_unanswered, lost), *found] if lost else found

    def _found(self, plan: _Plan, event: Event, now: datetime) -> list[Finding]:
        seen: Seen | None = None
        uses = []
        for check, use in plan.uses:
            if check is not None:
                seen = seen or Seen(event)
                if not check(seen):
                    continue
            if use.steady is None or not use.steady.goes_on(event):
                uses.append(use)
        if seen is not None:
            self.counts.unreadable += seen.unreadable
        return self._used(uses, seen or Seen(event), now) if uses else []

    def _used(self, uses: Sequence[_Use], seen: Seen, now: datetime) -> list[Finding]:
        event, dated = seen.event, self._dated(seen.event, now)
        time, latest = dated or now, now.timestamp() + AHEAD
        repeated: bool | None = None  # asked only when a rule fires: what nobody tells may come as often as it likes
        found = []
        for use in uses:
            if use.tracker is not None:  # counts nothing twice, by itself
                at, undated = time.timestamp(), dated is None
                events, group = use.tracker.add(seen, use.rule.name, at, latest, undated=undated)
                if events:
                    correlation = use.tracker.correlation
                    named = tuple(zip(correlation.group_by, group, strict=True))
                    found.append(_finding(correlation, time, events, named))
                continue
            repeated = self._repeats(event) if repeated is None else repeated
            if repeated:
                continue
            if use.rule.unanswered:
                self._unanswered.asked(use.rule, event, time.timestamp())
            elif not self._was_told(use.rule, event):
                found.append(_finding(use.rule, time, (event,)))
        self.counts.repeats += repeated is True
        return found

    def _repeats(self, event: Event) -> bool:
        """Tell whether an event came before: the same request, its stage, and the stage's time to the microsecond.

        Not by auditID and stage alone, as the API's documentation suggests: a caller may choose the auditID (header
        Audit-ID, seen on 1.35), and all its calls but the first would be taken for repeats. The time is the API
        server's own; but of a thousand harmless calls at once one may end in the same microsecond, so it takes the same
        call, too.
        """
        key = (request_of(event), event.stage, event.stage_timestamp)
        if not event.audit_id or key in self._past:
            return bool(event.audit_id)
        self._past.add(key)
        return False

    def _was_told(self, rule: Rule, event: Event) -> bool:
        """Tell whether a rule found this call at an earlier stage: an exec or a watch when it began."""
        if not event.audit_id:
            return False
        key = (rule.name, request_of(event))
        told = key in self._told
        if event.stage != COMPLETE:
            self._told.add(key)
        return told

    def _dated(self, event: Event, now: datetime) -> datetime | None:
        """Return when an event happened, by its own words; None when it does not say, or names the future."""
        for stamp in (event.stage_timestamp, event.request_received_timestamp):
            try:
                time = datetime.fromisoformat(stamp)
                time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
                if (time - now).total_seconds() <= AHEAD:
                    return time
            except (ValueError, OverflowError):
                continue
        self.counts.misdated += 1
        return None

    def _planned(self, answers: int) -> _Plan:
        """Return what to do with events of such answers."""
        asks = self._answers.asks(answers)
        return _keep(self._plans, answers, _Plan((), asks) if asks else _Plan(self._uses_after(answers)))

    def _planned_later(self, answers: int) -> _Plan:
        """Return what to do with events of such answers that have answered the rest as well."""
        return _keep(self._plans_later, answers, _Plan(self._uses_after(answers)))

    def _uses_after(self, answers: int) -> Sequence[tuple[Check | None, _Use]]:
        left = ((each.after(answers), use) for each, use in self._left)
        return tuple((check, use) for check, use in left if check is not NEVER)


def _keep(plans: dict[int, _Plan], answers: int, plan: _Plan) -> _Plan:
    if len(plans) >= MOST_LEFT:
        plans.clear()
    plans[answers] = plan
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


def _unanswered(lost: Lost) -> Finding:
    return _finding(lost.rule, datetime.fromtimestamp(lost.at, UTC), (lost.event,))


def _finding(
    rule: Named, time: datetime, events: tuple[Event, ...], group: tuple[tuple[str, str], ...] = ()
) -> Finding:
    return Finding(rule.name, rule.title, rule.level, rule.aim, rule.tags, time, events, group)
