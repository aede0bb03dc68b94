"""The outgoing webhook of a running Firebreak: what is told, once, to a server that may misbehave."""

import io
import json
from typing import Any

from yarl import URL

from fake_api import FakeApi
from firebreak.engine.metrics import Metrics
from firebreak.engine.notices import Notices, changed, wait_of
from firebreak.engine.webhook import MOST_WAITING, Address, Webhook, address
from firebreak.evidence.store import EvidenceStore
from firebreak.model.notice import Format, Notice
from firebreak.outward.posting import PostLimits
from firebreak.settings import Settings
from harness import Replica, replica
from receiver import Receiver, Reply, receiving
from world import incident, shop

QUICK = PostLimits(timeout=0.5, budget=0.0, longest_pause=0.05)


def webhook(url: URL, metrics: Metrics | None = None) -> Webhook:
    return Webhook(Address(url, Format.JSON, "$message"), metrics or Metrics(), QUICK)


def not_posted(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("firebreak_notifications_total", {"result": "failed"})


def attach(firebreak: Replica, receiver: Receiver) -> None:
    """Give a replica's notices a webhook, as the settings would."""
    tools = firebreak.tools
    tools.notices = Notices(tools.api, tools.clock, "one", webhook(receiver.url, tools.metrics), "prod")


def notice(uid: str = "1", **fields: Any) -> Notice:
    text = dict.fromkeys(("cluster", "phase", "message", "waiting_for", "command"), "")
    return Notice(incident="web-shell", namespace="shop", uid=uid, **{**text, **fields})


def ignore(_: bool) -> None:  # noqa: FBT001 - a callback
    pass


def heard(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for body in receiver.bodies]


async def told(receiver: Receiver, *wanted: str) -> dict[str, Any]:
    """Wait until these were told, as TYPE=STATUS; return the last post."""
    number = 1
    while True:
        await receiver.posts(number)
        seen = {f"{c['type']}={c['status']}" for post in heard(receiver) for c in post["conditions"]}
        if set(wanted) <= seen:
            return heard(receiver)[-1]
        number = len(receiver.bodies) + 1


async def test_people_hear_of_an_incident_what_was_done_and_what_waits_for_them(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with receiving() as receiver, replica(fake, store) as firebreak:
        attach(firebreak, receiver)
        fake.put(incident())
        await firebreak.until("shell", lambda s: s.get("phase") == "Waiting")
        last = await told(receiver, "Contained=True", "EvidencePreserved=False", "ActionRequired=True")
        first = heard(receiver)[0]
        await firebreak.tools.notices.close()
    assert (first["event"], first["incident"]["name"], first["cluster"]) == ("opened", "shell", "prod")
    assert [post["event"] for post in heard(receiver)[1:]] == ["turned"] * (len(receiver.bodies) - 1)
    assert "firebreak approve shell " in last["command"]
    assert last["command"].endswith(" -n shop")


async def test_a_wait_for_a_person_is_told_again_after_a_restart_only_when_nobody_took_it(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    async with receiving(otherwise=Reply(500)) as broken, replica(fake, store) as firebreak:
        attach(firebreak, broken)
        fake.put(incident())
        await firebreak.until("shell", lambda s: s.get("phase") == "Waiting")
        await told(broken, "ActionRequired=True")
        assert "notified" not in {k for k, v in firebreak.incident("shell")["status"].items() if v}
    async with receiving() as receiver, replica(fake, store, name="two") as second:
        attach(second, receiver)
        second.controller.wake_all()
        await told(receiver, "ActionRequired=True")
        taken = wait_of(second.incident("shell")["status"])
        second.controller.wake_all()
        await second.until("shell", lambda s: s.get("notified") == taken)
    async with receiving() as quiet, replica(fake, store, name="three") as third:
        attach(third, quiet)
        third.controller.wake_all()
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        await told(quiet, "ActionRequired=False")
        assert [c for post in heard(quiet) for c in post["conditions"] if c["status"] == "True"] == []


async def test_a_server_that_hangs_holds_nothing_up(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    async with receiving(otherwise=Reply(hang=True)) as receiver, replica(fake, store) as firebreak:
        attach(firebreak, receiver)
        fake.put(incident(playbook="unattended"))
        await firebreak.until("shell", lambda s: s.get("phase") == "Responded")
        await firebreak.tools.notices.close()


async def test_what_waits_for_its_turn_becomes_one_notice(fake: FakeApi) -> None:
    async with receiving(Reply(hang=True)) as receiver:
        hook = webhook(receiver.url)
        hook.offer(notice("first"), ignore)
        await receiver.posts(1)
        taken: list[bool] = []
        for number in range(3):
            hook.offer(notice("second", phase=f"phase {number}", opened=number == 0), taken.append)
        receiver.gave_up.set()
        await receiver.posts(2)
        await hook.close()
    posted = heard(receiver)[-1]
    assert (len(receiver.bodies), posted["phase"], posted["event"]) == (2, "phase 2", "opened")


async def test_what_is_too_much_is_dropped_counted_and_said(lines: io.StringIO) -> None:
    metrics, taken = Metrics(), list[bool]()
    async with receiving(otherwise=Reply(hang=True)) as receiver:
        hook = webhook(receiver.url, metrics)
        for number in range(MOST_WAITING + 1):
            hook.offer(notice(str(number)), taken.append)
        await hook.close()
    assert taken == [False]
    assert not_posted(metrics) == 1
    (line,) = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (line["event"], line["error"]) == ("notification not posted", "more than 500 were waiting")


async def test_what_a_server_refuses_is_counted_and_its_url_is_not_logged(
    lines: io.StringIO,
) -> None:
    metrics, taken = Metrics(), list[bool]()
    async with receiving(Reply(404)) as receiver:
        hook = webhook(receiver.url, metrics)
        hook.offer(notice("1"), taken.append)
        hook.offer(notice("2"), taken.append)
        await receiver.posts(2)
        await hook.close()
    assert taken[0] is False
    assert not_posted(metrics) == 1
    assert "127.0.0.1 answered 404" in lines.getvalue()
    assert "SECRET" not in lines.getvalue()


async def test_a_notice_that_cannot_be_made_is_counted_and_the_next_one_goes_out() -> None:
    metrics, taken = Metrics(), list[bool]()
    async with receiving() as receiver:
        hook = webhook(receiver.url, metrics)
        hook.offer(notice("1", message=b"no text"), taken.append)
        hook.offer(notice("2"), taken.append)
        await receiver.posts(1)
        await hook.close()
    assert taken[0] is False
    assert not_posted(metrics) == 1
    assert metrics.registry.get_sample_value("firebreak_background_failures_total", {"work": "webhook"}) == 1


def turned(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-21T02:00Z"}


def test_repeats_and_what_is_no_news_are_not_told() -> None:
    cut, held = turned("Contained", "True", "Enforced"), turned("EvidencePreserved", "False", "Capturing")
    before, after = {"conditions": [cut]}, {"conditions": [cut, held, turned("ActionRequired", "False", "Nothing")]}
    assert changed({}, before) == [cut]
    assert changed(before, after) == []


def test_a_wait_is_another_one_when_another_step_waits() -> None:
    action = turned("ActionRequired", "True", "WaitingForPerson")
    one = {"conditions": [action], "steps": {"revoke": {"state": "Waiting"}, "rotate": {"state": "Running"}}}
    two = {"conditions": [action], "steps": {"revoke": {"state": "Waiting"}, "rotate": {"state": "Waiting"}}}
    assert wait_of({"conditions": [turned("ActionRequired", "False", "Nothing")]}) == ""
    assert len({wait_of(one), wait_of(two), ""}) == 3
    assert wait_of(one) == wait_of(json.loads(json.dumps(one)))


def test_the_settings_say_where_notices_go() -> None:
    assert address(Settings()) is None
    settings = Settings(notify_url="https://hooks.example/x", notify_header="X-Token:  a:b", notify_format="json")
    found = address(settings)
    assert found
    assert (found.url, found.form, dict(found.headers)) == (
        URL("https://hooks.example/x"),
        Format.JSON,
        {"X-Token": "a:b"},
    )
