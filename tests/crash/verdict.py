"""What a disturbed run must have in common with the undisturbed one."""

import difflib
import json
from collections.abc import Iterator

from fake_api import Obj
from play import Plan, Report


def complaints(calm: Report, disturbed: Report, plan: Plan) -> Iterator[str]:
    """Say what is wrong, nothing when all is well."""
    if unmet := plan.keys() - disturbed.met:
        yield f"never met, so that nothing is proven: {', '.join(map(str, unmet))}"
    if calm.state != disturbed.state:
        yield f"another end state:\n{_difference(calm.state, disturbed.state)}"
    if calm.changes != disturbed.changes:
        more, less = disturbed.changes - calm.changes, calm.changes - disturbed.changes
        yield f"changed more often: {dict(more)}, less often: {dict(less)}"
    if disturbed.captured_again:
        yield f"captured again although received: {disturbed.captured_again}"
    if disturbed.problems:
        yield f"the evidence does not verify: {disturbed.problems}"
    if max(disturbed.repeated.values(), default=0) > len(plan):
        yield f"told more often than once more: {disturbed.repeated}"
    if calm.ended.keys() != disturbed.ended.keys() or max(disturbed.ended.values(), default=0) > 1 + len(plan):
        yield f"the hook was asked to end {disturbed.ended}, and not {calm.ended}"


def _difference(calm: Obj, disturbed: Obj) -> str:
    before, after = (json.dumps(each, indent=1, sort_keys=True).splitlines() for each in (calm, disturbed))
    return "\n".join(difflib.unified_diff(before, after, "undisturbed", "disturbed", lineterm="", n=2))
