"""What a notification says, for Slack and for programs, whoever chose the names in it."""

import pytest
from pydantic import ValidationError

from firebreak.model.notice import DEFAULT_TEMPLATE, Format, Notice, Turned, body, checked, for_slack, text
from firebreak.settings import Settings

CUT = Turned("Contained", "True", "Enforced", "cut")
WAITS = Turned("ActionRequired", "True", "WaitingForPerson", "approve revoke (1 Change)")
NOTICE = Notice(
    incident="web-shell",
    namespace="shop",
    uid="11111111-aaaa",
    cluster="prod",
    phase="Waiting",
    message="Cut off since 02:00. Waits for you.",
    waiting_for="approval: revoke",
    command="firebreak approve web-shell revoke -n shop",
    opened=True,
    turned=(CUT, WAITS),
)


def test_slack_gets_text_with_the_status_message_and_the_command_that_is_waited_for() -> None:
    assert body(NOTICE, Format.SLACK, DEFAULT_TEMPLATE) == {
        "text": "Firebreak: incident shop/web-shell on prod: opened, Contained True (Enforced), "
        "ActionRequired True (WaitingForPerson). Cut off since 02:00. Waits for you. "
        "Next: firebreak approve web-shell revoke -n shop",
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_programs_get_a_stable_object() -> None:
    assert body(NOTICE, Format.JSON, "$incident") == {
        "version": 1,
        "incident": {"namespace": "shop", "name": "web-shell", "uid": "11111111-aaaa"},
        "cluster": "prod",
        "event": "opened",
        "phase": "Waiting",
        "message": "Cut off since 02:00. Waits for you.",
        "conditions": [
            {"type": "Contained", "status": "True", "reason": "Enforced", "message": "cut"},
            {
                "type": "ActionRequired",
                "status": "True",
                "reason": "WaitingForPerson",
                "message": "approve revoke (1 Change)",
            },
        ],
        "waitingFor": "approval: revoke",
        "command": "firebreak approve web-shell revoke -n shop",
        "text": "web-shell",
    }


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<!channel> & <https://evil.example|log in>", "&lt;!channel&gt; &amp; &lt;https://evil.example|log in&gt;"),
        ("@channel @here @everyone @ALL", "@ channel @ here @ everyone @ ALL"),
        ("changed by @channel.", "changed by @ channel."),
        ("disable web@all.iam.example.com", "disable web@all.iam.example.com"),
        ("[log in](https://evil.example)", "[log in] (https://evil.example)"),
        ("a\x1b[2Jb\nc\u202ed\u200be", "a?[2Jb c?d?e"),
    ],
)
def test_names_that_somebody_made_up_call_nobody_and_link_nowhere(hostile: str, shown: str) -> None:
    assert for_slack(hostile) == shown


def test_a_long_message_is_cut() -> None:
    long = Notice(**{**vars(NOTICE), "message": "x" * 9000})
    assert text(long, "$message") == "x" * 3000


def test_a_later_notice_says_what_an_earlier_one_had_no_time_to_say() -> None:
    lost = Turned("Contained", "False", "NotCut", "lost")
    later = Notice(**{**vars(NOTICE), "phase": "Containing", "opened": False, "turned": (lost,)})
    merged = later.after(NOTICE)
    assert (merged.opened, merged.phase, merged.turned) == (True, "Containing", (WAITS, lost))


def test_a_template_of_known_fields_is_taken() -> None:
    whole = "$incident $namespace $cluster $phase $message $waitingFor $command $conditions $where $event $next $$5"
    assert checked(whole) == whole
    assert text(NOTICE, "${conditions} in ${phase} costs $$5") == (
        "Contained=True (Enforced); ActionRequired=True (WaitingForPerson) in Waiting costs $5"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("$incident costs 5$", "a `$` begins the name of a field; write `$$` for the character itself"),
        ("$password", "no such field: password; there are incident, namespace, cluster, phase, message, waitingFor"),
        ("${message.__class__}", "a `$` begins the name of a field"),
    ],
)
def test_a_template_that_is_wrong_stops_the_start_and_says_why(wrong: str, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(notify_template=wrong)
    assert words in raised.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize("url", ["hooks.example/SECRET", "file:///SECRET", "https://", "http://[::SECRET", ""])
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(notify_url=url)
    (problem,) = raised.value.errors(include_input=False)
    assert problem["msg"] == "Value error, want https://HOST/PATH, or http:// inside the cluster"


@pytest.mark.parametrize("header", ["Bearer x", "A: b\r\nEvil: c", "A:", ": b", "Ä: b"])
def test_a_header_is_one_line_of_name_and_value(header: str) -> None:
    with pytest.raises(ValidationError, match="want one header as NAME: VALUE"):
        Settings(notify_header=header)


def test_settings_do_not_show_what_is_secret() -> None:
    settings = Settings(notify_url="https://hooks.example/SECRET", notify_header="Authorization: Bearer SECRET")
    assert "SECRET" not in repr(settings)
