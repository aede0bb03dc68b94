"""`firebreak approve`, the real command against the fake API server: who says yes to what, and when it is refused."""

from pathlib import Path
from typing import Any

import pytest

from cli_harness import Cli, incident, write_kubeconfig
from fake_api import Answer, FakeApi, Fault

PLAN, OTHER_PLAN = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def waiting(digest: str = PLAN, **fields: Any) -> dict[str, Any]:
    change = {
        "object": "Secret shop/db",
        "verb": "patch",
        "why": "in reach",
        "risk": "not reversible, own namespace, also touches Deployment web",
        "undo": "none",
        "state": "Waiting",
    }
    step = {
        "state": "Waiting",
        "counts": {"Waiting": 1},
        "digest": digest,
        "message": "1 Change waits for a person",
        "changes": {"patch Secret shop/db": change},
        **fields,
    }
    return {"phase": "Waiting", "steps": {"rotate": step, "revoke": {"state": "Done"}}}


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path) -> Cli:
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


async def test_the_plan_is_shown_and_approved_in_the_caller_s_own_name(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    ran = await cli("approve", "shell", "rotate", "--yes")
    assert (ran.code, ran.out) == (0, f"approved as ann: rotate of shop/shell, plan {PLAN}\n")
    shown = [line.rstrip() for line in ran.err.splitlines()]
    assert shown[:6] == [
        f"shop/shell: rotate, plan {PLAN}",
        "1 Change waits for a person",
        "patch Secret shop/db: Waiting",
        "  why   in reach",
        "  risk  not reversible, own namespace, also touches Deployment web",
        "  undo  none",
    ]
    (approval,) = fake.list("Approval")
    assert approval["spec"] == {"incident": "shell", "step": "rotate", "digest": PLAN, "approver": "ann"}


async def test_json_is_the_approval(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    ran = await cli("approve", "shell", "rotate", "--yes", "--digest", PLAN, "-o", "json")
    assert (ran.code, ran.json["kind"], ran.json["spec"]["digest"]) == (0, "Approval", PLAN)


async def test_without_a_person_s_yes_nothing_is_approved(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    ran = await cli("approve", "shell", "rotate")
    assert (ran.code, fake.list("Approval")) == (1, [])
    assert "error: this needs a person's yes, and nobody is at the terminal\nnext:  add --yes" in ran.err


@pytest.mark.parametrize(
    ("status", "arguments", "error"),
    [
        (
            waiting(),
            ("revoke",),
            (
                "error: nothing of step revoke of shop/shell waits for a person: it is Done\n"
                "next:  see what there is: firebreak plan shell -n shop\n"
            ),
        ),
        (
            waiting(),
            ("burn",),
            (
                "error: incident shop/shell has no step burn; its steps are: rotate, revoke\n"
                "next:  see what there is: firebreak plan shell -n shop\n"
            ),
        ),
        (
            waiting(),
            ("rotate", "--digest", OTHER_PLAN),
            (
                f"error: the plan of step rotate of shop/shell is {PLAN} by now, not {OTHER_PLAN}; "
                "nothing was approved\n"
                "next:  look at it again: firebreak approve shell rotate -n shop\n"
            ),
        ),
        (
            waiting(counts={"Waiting": 3}),
            ("rotate",),
            (
                "error: 2 of the Changes that wait find no room in the status of shop/shell: "
                "you cannot read them here\n"
                f"next:  to approve unseen, name the plan: firebreak approve shell rotate -n shop --digest {PLAN}\n"
            ),
        ),
    ],
)
async def test_what_cannot_be_approved_is_refused_with_the_reason(
    fake: FakeApi, cli: Cli, status: dict[str, Any], arguments: tuple[str, ...], error: str
) -> None:
    fake.put(incident(status=status))
    ran = await cli("approve", "shell", *arguments, "--yes")
    assert (ran.code, ran.out, ran.err) == (1, "", error)
    assert fake.list("Approval") == []


async def test_nothing_of_a_closed_incident_is_approved(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting(), state="Closed", verdict="Exercise"))
    ran = await cli("approve", "shell", "rotate", "--yes")
    assert (ran.code, fake.list("Approval")) == (1, [])
    assert ran.err.startswith("error: incident shop/shell is closed; nothing of it is carried out any more\n")


async def test_a_plan_that_moved_while_the_person_read_is_not_approved(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))

    def is_trial(call: Any) -> bool:
        if call.resource != "approvals" or call.query.get("dryRun") != "All":
            return False
        fake.update("Incident", "shop", "shell", {"status": waiting(OTHER_PLAN)})
        return False

    fake.faults.add(Fault(when=is_trial, how=Answer(500)))
    ran = await cli("approve", "shell", "rotate", "--yes")
    assert (ran.code, fake.list("Approval")) == (1, [])
    assert f"the plan of step rotate of shop/shell is {OTHER_PLAN} by now, not {PLAN}; nothing was approved" in ran.err


async def test_who_may_not_approve_is_told_before_being_asked(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    refusal = Answer(403, message="approvals is forbidden")
    fake.faults.add(Fault(when=lambda call: call.resource == "approvals", how=refusal))
    ran = await cli("approve", "shell", "rotate")
    assert (ran.code, ran.err) == (
        4,
        (
            "error: ann may not approve in namespace shop: approvals is forbidden\n"
            "next:  ask for `create` on approvals.firebreak.dev (sample role firebreak-approver), "
            "or ask somebody who has it\n"
        ),
    )


async def test_one_person_s_second_yes_is_no_second_person(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    await cli("approve", "shell", "rotate", "--yes")
    ran = await cli("approve", "shell", "rotate", "--yes")
    assert (ran.code, len(fake.list("Approval"))) == (1, 1)
    assert ran.err == (
        "error: ann approved this plan of step rotate already; it still waits: 1 Change waits for a person\n"
        "next:  firebreak status shell -n shop\n"
    )


async def test_nobody_keeps_a_person_from_approving_by_taking_the_name_of_the_approval(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting()))
    await cli("approve", "shell", "rotate", "--yes")
    (taken,) = fake.list("Approval")
    fake.delete("Approval", "shop", taken["metadata"]["name"])
    fake.put({**taken, "spec": {**taken["spec"], "approver": "mallory"}})
    ran = await cli("approve", "shell", "rotate", "--yes")
    assert (ran.code, ran.out) == (0, f"approved as ann: rotate of shop/shell, plan {PLAN}\n")
    assert sorted(each["spec"]["approver"] for each in fake.list("Approval")) == ["ann", "mallory"]


async def test_the_plan_names_what_waits_and_who_approved(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=waiting(approvedBy=["ben"])))
    ran = await cli("plan", "shell")
    assert f"  waits as plan {PLAN}\n  approved by ben\n" in ran.out
