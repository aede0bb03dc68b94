"""Whose yes counts: the Approvals of a plan, against what the playbook asks for."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from firebreak.api.approval import ApprovalSpec
from firebreak.api.base import Json
from firebreak.api.playbook import Approvers
from firebreak.model.loose import mapping
from firebreak.model.words import listed

NAMED = 20  # people whose approvals of another plan are told apart
OPERATOR = "system:serviceaccount:firebreak:firebreak"


@dataclass(frozen=True)
class Plan:
    """What is to be approved: the plan of one step of one incident, by its digest."""

    incident: str
    step: str
    digest: str
    superseded: str = ""
    """The digest of the plan before."""
    differs: str = ""
    """How the two differ, in words."""


@dataclass(frozen=True)
class Ruling:
    """Whether enough people said yes, who they are, and in words what is still missing."""

    granted: bool
    by: tuple[str, ...] = ()
    words: str = ""


def read(raw: Json) -> ApprovalSpec | None:
    """Parse an Approval object; None for one that says nothing that could count."""
    try:
        return ApprovalSpec.model_validate(mapping(raw.get("spec")))
    except ValidationError:
        return None


def sieve(plan: Plan) -> Callable[[Json], Json | None]:
    """Return what picks out of a crowd of Approvals those that matter to a plan, and drops the rest one by one.

    Whoever may approve may write any number: of one person one is kept, and of other plans only some to be named.
    """
    kept: dict[str, set[str]] = defaultdict(set)

    def pick(raw: Json) -> Json | None:
        approval = read(raw)
        if approval is None or (approval.incident, approval.step) != (plan.incident, plan.step):
            return None
        which = approval.digest if approval.digest in {plan.digest, plan.superseded} else ""
        full = which != plan.digest and len(kept[which]) >= NAMED
        if full or approval.approver in kept[which]:
            return None
        kept[which].add(approval.approver)
        return {"spec": approval.model_dump(by_alias=True)}

    return pick


def rule(
    plan: Plan,
    wanted: Approvers,
    given: Iterable[ApprovalSpec],
    *,
    opened_by: str | None,
    suspects: Collection[str] = (),
) -> Ruling:
    """Say whether a plan may go on. `suspects` are users whose yes is worth nothing: the incident's own accounts."""
    about = [a for a in given if (a.incident, a.step) == (plan.incident, plan.step)]
    names = {a.approver for a in about if a.digest == plan.digest} - {OPERATOR, *suspects}
    words: list[str] = []
    if wanted.not_opener and not opened_by:
        names = set()
        words.append(
            "the playbook wants another person than who opened the incident, and spec.openedBy does not say who did: "
            "open a new one with `firebreak contain`, which sets it"
        )
    elif wanted.not_opener and opened_by in names:
        names.discard(opened_by)
        words.append(f"the approval of {opened_by}, who opened the incident, does not count")
    by = tuple(sorted(names))
    if len(by) >= wanted.persons:
        return Ruling(granted=True, by=by)
    if by:
        words.append(f"approved by {listed(by)}, and one more person has to")
    if others := sorted({a.approver for a in about if a.digest != plan.digest}):
        was = plan.differs if any(a.digest == plan.superseded for a in about) else ""
        words.append(f"the approval of {listed(others)} is for another plan ({was or 'what differs is not on record'})")
    return Ruling(granted=False, by=by, words="; ".join(words))
