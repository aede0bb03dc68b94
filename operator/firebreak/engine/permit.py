"""What may go on now: each Change against the playbook's rule, and what has to wait against the Approvals of people."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from firebreak.api import bounds
from firebreak.api.approval import ApprovalSpec
from firebreak.api.playbook import Approval
from firebreak.api.status import ChangeState, StepReport
from firebreak.engine.case import Case
from firebreak.engine.gather import accounts
from firebreak.kube.errors import NotFound
from firebreak.model.approving import Plan, Ruling, read, rule, sieve
from firebreak.model.change import Change
from firebreak.model.digest import differences, digest_of, digests, plan_digest

NOTHING_WAITS = Ruling(granted=True)


@dataclass(frozen=True)
class Permit:
    """Which Changes may be sent. The digest that people approved was made of these very Changes, in this very run."""

    gates: Mapping[str, ChangeState]
    plan: Plan
    ruling: Ruling = NOTHING_WAITS
    approved: frozenset[str] = frozenset()
    """The ids of the Changes that people approved just now."""
    unlike_shown: bool = False
    """Whether the plan is not the one that mode Plan showed."""

    @property
    def fields(self) -> dict[str, Any]:
        """What the step's report says of it."""
        waits = not self.ruling.granted
        fields: dict[str, Any] = {
            "digest": self.plan.digest if waits else None,
            "superseded": (waits and self.plan.superseded) or None,
            "differs": (waits and self.plan.differs[: bounds.CHANGE_WORDS]) or None,
        }
        if self.approved or waits:
            fields["approved_by"] = list(self.ruling.by)[: bounds.APPROVERS]
        if not (waits and self.unlike_shown):
            fields["shown"] = None
        return fields

    def words(self, number: int, command: str) -> str:
        """Say that a number of Changes wait, for whom, and why."""
        what = "Change waits" if number == 1 else "Changes wait"
        sentences = [f"{number} {what} for a person: {command}"]
        if self.unlike_shown:
            sentences.append(f"this is not the plan that mode Plan showed ({self.plan.differs})")
        elif self.plan.differs:
            sentences.append(f"the plan is another than before ({self.plan.differs})")
        return "; ".join([*sentences, *filter(None, [self.ruling.words])])


def gate(change: Change, approval: Approval) -> ChangeState:
    """Say what may happen to a Change now: go on, wait for a person, or be named only."""
    if change.refusal is not None:
        return ChangeState.MANUAL
    if approval is Approval.NEVER or (approval is Approval.WHEN_RISKY and change.risk.safe):
        return ChangeState.PLANNED
    return ChangeState.WAITING


def whole_plan(case: Case, name: str, changes: Sequence[Change]) -> str:
    """Return the digest of all that a step would do, whether or not it waits for a person."""
    return plan_digest(case.id.uid, name, (c for c in changes if c.refusal is None))


async def permit(case: Case, name: str, was: StepReport, changes: Sequence[Change], done: AbstractSet[str]) -> Permit:
    """Say which of a step's Changes may be sent. `was` is its report before; `done` are the ids that need nothing."""
    unlike = was.shown is not None and was.shown != whole_plan(case, name, changes)
    approval = Approval.ALWAYS if unlike else case.playbook.approval_of(name)
    gates = {c.id: gate(c, approval) for c in changes}
    kept = {c.id for c in changes if c.id in done or _approved_before(was, c)}
    waiting = [c for c in changes if gates[c.id] is ChangeState.WAITING and c.id not in kept]
    free = {key: ChangeState.PLANNED for key, state in gates.items() if state is ChangeState.WAITING}
    if not waiting:
        return Permit(gates | free, Plan(case.id.name, name, ""))
    plan = _plan(case, name, was, waiting, unlike_shown=unlike)
    ruling = rule(
        plan,
        case.playbook.approvers,
        await _given(case, plan),
        opened_by=case.incident.spec.opened_by,
        suspects=[account.user for account in accounts(case)],
    )
    ids = frozenset(c.id for c in waiting)
    if ruling.granted:
        return Permit(gates | free, plan, ruling, ids, unlike)
    return Permit(gates | {key: free[key] for key in free.keys() - ids}, plan, ruling, unlike_shown=unlike)


def _approved_before(was: StepReport, change: Change) -> bool:
    """Whether people approved this very Change, and it was begun: a restart between yes and done asks nobody again."""
    report = was.changes.get(change.id)
    return report is not None and report.approved and report.digest == digest_of(change)


def _plan(case: Case, name: str, was: StepReport, waiting: Sequence[Change], *, unlike_shown: bool) -> Plan:
    """The plan that waits, with what differs from the one that people were shown before."""
    digest = plan_digest(case.id.uid, name, waiting)
    if digest == was.digest and (was.differs or not unlike_shown):
        return Plan(case.id.name, name, digest, was.superseded or "", was.differs or "")
    first = unlike_shown and not was.differs
    shown = {ChangeState.WAITING, ChangeState.PLANNED} if first else {ChangeState.WAITING}
    before = {key: report.digest for key, report in was.changes.items() if report.state in shown}
    superseded = (was.shown if first else was.digest) or ""
    differs = differences(before, digests(waiting)) if superseded else ""
    return Plan(case.id.name, name, digest, superseded, differs)


async def _given(case: Case, plan: Plan) -> list[ApprovalSpec]:
    """Read the Approvals that matter to a plan, out of any number. A cluster whose CRDs are older has none."""
    fields = f"spec.incident={case.id.name}"
    try:
        found = await case.tools.api.list_all("Approval", case.id.namespace, fields=fields, keep=sieve(plan))
    except NotFound:
        return []
    return [approval for raw in found if (approval := read(raw))]
