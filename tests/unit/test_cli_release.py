"""`firebreak release`, the real command against the fake API server."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli_harness import (
    BINDING,
    KEY,
    OTHER,
    OTHER_KEY,
    REVOKED,
    UID,
    WEB_ACCOUNT,
    Cli,
    closed_status,
    condition,
    cut_pod,
    incident,
    policy,
    write_kubeconfig,
)  # fmt: skip
from fake_api import Answer, Call, FakeApi, Fault
from firebreak import __version__
from firebreak.cli.cluster import open_api
from firebreak.cli.session import Options
from firebreak.kube.client import Api

CLOSED: dict[str, Any] = {"state": "Closed", "verdict": "TruePositive"}
POLICY = f"firebreak-{UID}"


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path) -> Cli:
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


def labels(fake: FakeApi, name: str = "web") -> dict[str, str]:
    found: dict[str, str] = fake.get("Pod", "shop", name)["metadata"].get("labels") or {}
    return found


async def test_what_a_person_writes_stands_under_another_name_than_what_the_operator_writes(cli: Cli) -> None:
    async with await open_api(Options(kubeconfig=str(cli.kubeconfig))) as persons:
        assert persons.session.headers["User-Agent"] == f"firebreak-cli/{__version__}"
    async with await Api.connect(str(cli.kubeconfig)) as operators:
        assert operators.session.headers["User-Agent"] == f"firebreak/{__version__}"


async def test_a_closed_incident_is_released_pods_first_and_the_policy_last(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    contained = {
        "type": "Contained",
        "status": "True",
        "reason": "Enforced",
        "lastTransitionTime": "2026-01-05T10:00:01Z",
    }
    fake.put(incident(status=closed_status() | {"conditions": [contained], "held": ["web"]}, **CLOSED))
    ran = await cli("release", "shell", "--yes")
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["CHANGE", "RESULT", "NOTE"],
        ["patch", "Pod", "shop/web", "Done"],
        ["delete", "NetworkPolicy", f"shop/{POLICY}", "Done"],
    ]
    assert "its ReplicaSet may adopt it and delete a surplus pod" in ran.err
    assert [call.line for call in fake.writes] == [
        "PATCH /api/v1/namespaces/shop/pods/web",
        f"DELETE /apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/{POLICY}",
        "PATCH /apis/firebreak.dev/v1alpha1/namespaces/shop/incidents/shell/status",
    ]
    assert fake.writes[0].body["metadata"]["uid"] == "uid-web"
    assert fake.writes[1].body == {"preconditions": {"uid": "policy-of-shell"}}
    assert labels(fake) == {"app": "web"}
    assert fake.get("Pod", "shop", "web")["metadata"].get("annotations", {}) == {}
    status = fake.get("Incident", "shop", "shell")["status"]
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [("Contained", "False", "Released")]
    assert (status["message"], status["held"]) == ("NOT cut off: a person lifted the quarantine", [])


async def test_every_label_that_a_pod_gets_back_is_shown_before_it_is_asked(fake: FakeApi, cli: Cli) -> None:
    """The record is the pod's own: who could write it before the cut may have put labels there that Services select."""
    raw = cut_pod()
    record = {"app": "payments"} | {f"z{number:02}": "1" for number in range(46)}
    raw["metadata"]["annotations"]["firebreak.dev/original-labels"] = json.dumps(record)
    fake.put(raw)
    fake.put(policy())
    fake.put(incident(status=closed_status(), **CLOSED))
    ran = await cli("release", "shell")
    assert (ran.code, fake.writes) == (1, ())  # nobody is at the terminal
    lines = [line.split() for line in ran.err.splitlines()]
    start = lines.index(["POD", "LABEL", "GIVEN", "BACK", "VALUE"])
    assert lines[start + 1 : start + 4] == [["web", "app", "payments"], ["web", "z00", "1"], ["web", "z01", "1"]]
    assert " ".join(lines[start + 41]) == "web and 7 more in the pod's annotation firebreak.dev/original-labels"
    assert lines[start + 42][:2] == ["Read", "them:"]
    assert f"delete NetworkPolicy shop/{POLICY}: Planned" in ran.err


async def test_labels_that_were_not_shown_are_not_given_back(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident(status=closed_status(), **CLOSED))

    def rewritten(call: Call) -> bool:
        """Somebody writes the record between the plan and the release."""
        lists = [c for c in fake.calls if c.line == "GET /api/v1/namespaces/shop/pods"]
        if lists[-1:] == [call] and len(lists) == 2:
            record = {"firebreak.dev/original-labels": '{"app": "payments"}'}
            fake.update("Pod", "shop", "web", {"metadata": {"annotations": record}})
        return False

    fake.faults.add(Fault(when=rewritten, how=Answer(500)))
    ran = await cli("release", "shell", "--yes")
    assert (ran.code, [call.line for call in fake.writes]) == (1, [])
    assert "its record of labels gives back others than were shown, for somebody wrote it since" in ran.err
    assert KEY in labels(fake)
    assert (await cli("release", "shell", "--yes")).code == 0
    assert labels(fake) == {"app": "payments"}


async def test_releasing_twice_is_harmless(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=closed_status(), **CLOSED))
    ran = await cli("release", "shell")
    assert (ran.code, ran.out, fake.writes) == (0, "nothing of shop/shell is left to release\n", ())


async def test_an_active_incident_is_refused_before_anything_is_done(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident())
    ran = await cli("release", "shell", "--yes")
    assert (ran.code, ran.out, fake.writes) == (1, "", ())
    assert ran.err == (
        "error: incident shop/shell is active: it would be cut off again\n"
        "next:  close it first (firebreak close shell -n shop --verdict VERDICT), "
        "or add --verdict VERDICT to close and release in one go\n"
    )


async def test_without_a_person_or_yes_nothing_is_released(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(status=closed_status(), **CLOSED))
    ran = await cli("release", "shell")
    assert (ran.code, fake.writes) == (1, ())
    assert ran.err.endswith(
        "error: this needs a person's yes, and nobody is at the terminal\nnext:  add --yes if you mean it\n"
    )


async def test_a_pod_of_two_incidents_stays_cut_by_the_other(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod(**{OTHER_KEY: "true"}))
    fake.put(policy())
    fake.put(policy("other", OTHER))
    fake.put(incident(status=closed_status(), **CLOSED))
    ran = await cli("release", "shell", "--yes")
    assert ran.code == 0
    assert labels(fake) == {OTHER_KEY: "true", "quarantine": "true"}
    assert [p["metadata"]["name"] for p in fake.list("NetworkPolicy")] == [f"firebreak-{OTHER}"]


async def test_a_pod_that_cannot_be_freed_keeps_the_policy_and_is_named(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident(status=closed_status(), **CLOSED))
    fake.faults.add(Fault(when=lambda call: call.verb == "patch", how=Answer(403, message="ann may not patch pods")))
    ran = await cli("release", "shell", "--yes")
    assert ran.code == 1
    assert "1 of 1 Changes were not made; Pod shop/web: ann may not patch pods" in ran.err
    assert KEY in labels(fake)
    assert fake.find("NetworkPolicy", "shop", POLICY)


async def test_a_pod_that_changes_at_the_same_moment_is_judged_again(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident(status=closed_status(), **CLOSED))
    first = Fault(when=lambda call: call.verb == "patch", how=Answer(409, message="modified"), times=1)
    fake.faults.add(first)
    ran = await cli("release", "shell", "--yes")
    assert ran.code == 0
    assert labels(fake) == {"app": "web"}


async def test_a_pod_that_its_replicaset_deletes_at_once_counts_as_released(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(status=closed_status(), **CLOSED))

    def delete_surplus(call: Call) -> bool:
        if call.verb == "get" and call.resource == "pods" and fake.find("Pod", "shop", "web"):
            fake.delete("Pod", "shop", "web")
        return False

    fake.faults.add(Fault(when=delete_surplus, how=Answer(500)))
    ran = await cli("release", "shell", "--yes", "-o", "json")
    assert ran.code == 0
    assert [change["message"] for change in ran.json["changes"]] == [
        "the pod was deleted, by its ReplicaSet as surplus or by a person"
    ]


async def test_a_quarantine_whose_incident_is_gone_is_found_by_its_policy(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    ran = await cli("release", "shell", "--yes")
    assert ran.code == 0
    assert labels(fake) == {"app": "web"}
    assert fake.list("NetworkPolicy") == []


async def test_a_quarantine_of_an_older_namesake_is_released_by_uid_only(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident(uid=OTHER))
    ran = await cli("release", "shell", "--yes", "--uid", UID)
    assert ran.code == 0
    assert labels(fake) == {"app": "web"}


async def test_two_gone_incidents_of_one_name_are_told_apart_by_uid(fake: FakeApi, cli: Cli) -> None:
    fake.put(policy())
    fake.put(policy("shell", OTHER))
    ran = await cli("release", "shell", "--yes")
    assert (ran.code, fake.writes) == (1, ())
    assert ran.err == (
        f"error: 2 incidents named shell left a quarantine: {UID}, {OTHER}\nnext:  name one with --uid UID\n"
    )


async def test_a_uid_of_an_incident_that_is_there_does_not_go_around_its_state(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident())
    ran = await cli("release", "mistyped", "--yes", "--uid", UID)
    assert (ran.code, fake.writes) == (1, ())
    assert f"{UID} is the uid of incident shop/shell, which is there" in ran.err


async def test_nothing_known_by_that_name_is_said_so(cli: Cli) -> None:
    ran = await cli("release", "shell")
    assert ran.code == 1
    assert ran.err.startswith("error: there is no incident shell in namespace shop, and no quarantine of one\n")


async def test_rights_are_given_back_beside_who_is_there_now(fake: FakeApi, cli: Cli) -> None:
    fake.put(BINDING)
    fake.put(incident(status=closed_status(revoke=REVOKED), **CLOSED))
    ran = await cli("release", "shell", "--rights", "--yes")
    assert ran.code == 0
    late = BINDING["subjects"][0]
    assert fake.get("RoleBinding", "shop", "edit")["subjects"] == [late, WEB_ACCOUNT]


async def test_what_a_person_does_not_hold_is_explained(fake: FakeApi, cli: Cli) -> None:
    fake.put(BINDING)
    fake.put(incident(status=closed_status(revoke=REVOKED), **CLOSED))
    words = 'user "ann" is attempting to grant RBAC permissions not currently held'
    fake.faults.add(Fault(when=lambda call: call.verb == "patch", how=Answer(403, message=words)))
    ran = await cli("release", "shell", "--rights", "--yes", "-o", "json")
    assert ran.code == 1
    (change,) = ran.json["changes"]
    assert change["result"] == "Failed"
    assert change["message"] == (f"you may not give back what you do not hold yourself; ask somebody who does. {words}")


async def test_the_network_is_on_record_as_released_although_the_rights_are_refused(fake: FakeApi, cli: Cli) -> None:
    """Else admission would keep locked what is free."""
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(BINDING)
    identity = condition("IdentityContained", "True", "Revoked")
    fake.put(incident(status=closed_status(revoke=REVOKED) | {"held": ["web"], "conditions": [identity]}, **CLOSED))
    fake.faults.add(Fault(when=lambda c: c.resource == "rolebindings" and c.is_write, how=Answer(403, message="no")))
    assert (await cli("release", "shell", "--rights", "--yes")).code == 1
    status = fake.get("Incident", "shop", "shell")["status"]
    assert (status["held"], [c["reason"] for c in status["conditions"]]) == ([], ["Revoked"])


async def test_a_binding_that_somebody_edits_meanwhile_is_read_again(fake: FakeApi, cli: Cli) -> None:
    fake.put(BINDING)
    fake.put(incident(status=closed_status(revoke=REVOKED), **CLOSED))
    fake.faults.add(Fault(when=lambda call: call.verb == "patch", how=Answer(409, message="modified"), times=1))
    ran = await cli("release", "shell", "--rights", "--yes")
    assert ran.code == 0
    assert WEB_ACCOUNT in fake.get("RoleBinding", "shop", "edit")["subjects"]


async def test_rights_of_an_incident_that_is_gone_cannot_be_given_back(fake: FakeApi, cli: Cli) -> None:
    fake.put(policy())
    ran = await cli("release", "shell", "--rights", "--yes")
    assert (ran.code, fake.writes) == (1, ())
    assert "is gone, and with it the record of what was revoked" in ran.err


async def test_a_verdict_closes_first_and_releases_when_the_operator_has_said_so(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(policy())
    fake.put(incident())

    def operator(call: Call) -> bool:
        if call.verb == "watch":
            fake.update("Incident", "shop", "shell", {"status": {"phase": "Closed"}})
        return False

    fake.faults.add(Fault(when=operator, how=Answer(500)))
    ran = await cli("release", "shell", "--yes", "--verdict", "Exercise")
    assert ran.code == 0
    assert fake.writes[0].body["spec"] == {"state": "Closed", "verdict": "Exercise"}
    assert labels(fake) == {"app": "web"}


async def test_a_close_that_no_operator_confirms_releases_nothing(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident(**CLOSED))
    ran = await cli("release", "shell", "--yes", "--timeout", "0.2")
    assert (ran.code, fake.writes) == (3, ())
    assert ran.err.endswith("next:  if no operator runs any more, add --unconfirmed; nothing was released\n")
    assert (await cli("release", "shell", "--yes", "--unconfirmed")).code == 0
    assert labels(fake) == {"app": "web"}


def writes_status(call: Call) -> bool:
    return call.verb == "patch" and call.resource == "incidents/status"


async def test_what_others_write_into_the_status_meanwhile_is_kept(fake: FakeApi, cli: Cli) -> None:
    contained, sealed = condition("Contained", "True", "Enforced"), condition("EvidencePreserved", "True", "Sealed")
    fake.put(incident(status=closed_status() | {"conditions": [contained]}, **CLOSED))

    def somebody_else(call: Call) -> bool:
        if writes_status(call) and len([each for each in fake.calls if writes_status(each)]) == 1:
            fake.update("Incident", "shop", "shell", {"status": {"conditions": [contained, sealed]}})
        return False

    fake.faults.add(Fault(when=somebody_else, how=Answer(500)))
    ran = await cli("release", "shell", "--yes")
    assert (ran.code, ran.err) == (0, "")
    conditions = fake.get("Incident", "shop", "shell")["status"]["conditions"]
    assert [(c["type"], c["status"]) for c in conditions] == [("Contained", "False"), ("EvidencePreserved", "True")]


@pytest.mark.parametrize(("status", "why"), [(403, "ann may not"), (409, "it kept changing")])
async def test_a_release_that_cannot_be_put_on_record_stands_and_says_so(
    fake: FakeApi, cli: Cli, status: int, why: str
) -> None:
    fake.put(incident(status=closed_status() | {"conditions": [condition("Contained", "True", "Enforced")]}, **CLOSED))
    fake.faults.add(Fault(when=writes_status, how=Answer(status, message="ann may not")))
    ran = await cli("release", "shell", "--yes")
    words = (
        f"the incident's status still tells of the time before the release ({why}), and evictions of its pods and "
        "execs into them stay refused; the same command says it again"
    )
    assert (ran.code, ran.err) == (0, f"{words}\n")


async def test_an_active_incident_can_be_released_when_no_operator_runs(fake: FakeApi, cli: Cli) -> None:
    fake.put(cut_pod())
    fake.put(incident())
    ran = await cli("release", "shell", "--yes", "--verdict", "Exercise", "--timeout", "0.2")
    assert (ran.code, KEY in labels(fake)) == (3, True)
    assert ran.err.endswith("next:  if no operator runs any more, add --unconfirmed; nothing was released\n")
    assert (await cli("release", "shell", "--yes", "--verdict", "Exercise", "--unconfirmed")).code == 0
    assert labels(fake) == {"app": "web"}


async def test_asking_for_nothing_is_a_usage_error(cli: Cli) -> None:
    assert (await cli("release", "shell", "--no-network")).code == 2
