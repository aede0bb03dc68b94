"""The `Approval`: a named person says yes to one plan of one step of one incident.

A resource of its own, so that RBAC can separate who opens an incident from who approves, and so that GitOps that
applies an Incident again approves nothing. Admission forces `approver` to be the caller.
"""

from typing import Annotated

from pydantic import Field

from firebreak.api import bounds
from firebreak.api.base import ObjectName, Written

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]

APPROVAL_RULES = (("self == oldSelf", "an Approval cannot be changed; delete it and write another"),)


class ApprovalSpec(Written):
    """What is approved, and by whom."""

    incident: ObjectName = Field(description="The incident in this namespace.")
    step: str = Field(max_length=63, pattern=r"^[a-z][A-Za-z0-9]*$", description="The step that waits.")
    digest: Digest = Field(description="The plan that is approved: `status.steps.STEP.digest` of the incident.")
    approver: str = Field(
        min_length=1, max_length=bounds.USER, description="Your user name; admission refuses any other."
    )
